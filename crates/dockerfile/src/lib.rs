//! Text to tokens to instructions: parser, word expansion, heredocs, ignore files, lint.
//!
//! Never: do I/O or start a task.
