//! The program: picks a face by its name or first argument.
//!
//! Never: hold logic.

fn main() {}
