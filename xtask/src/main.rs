//! Tasks of the project itself: tidy, docs, generated code.

fn main() {}
