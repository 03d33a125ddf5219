//! Whole builds against a bridge that knows a few files and images.

mod answers;
mod bridge;
mod diagnosis;
mod epoch;
mod faults;
mod golden;
mod scan;
mod windows;
