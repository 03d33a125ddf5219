//! The program as a user starts it. Needs root: a real engine runs.

mod engine;
mod usage;
