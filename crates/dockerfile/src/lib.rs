//! Text to tokens to instructions: parser, word expansion, heredocs, ignore files, lint.
//!
//! [`parse`] reads a whole file and gives what it understood together with every fault that it met, each with its
//! place. [`Lexer`] expands variables in the words of one instruction, which the caller does when it knows the
//! environment. Texts of messages are those that BuildKit's clients and tests know.
//!
//! Never: do I/O or start a task.

pub mod answer;
pub mod csv;
mod directive;
mod error;
mod expand;
pub mod explain;
pub mod format;
pub mod go;
mod heredoc;
pub mod ignore;
pub mod instruction;
mod json;
pub mod lint;
mod parse;
mod place;
mod statement;
pub mod suggest;
pub mod syntax;
mod ulimit;
mod words;

pub use directive::{Directive, detect_syntax, find_directive};
pub use error::Error;
pub use expand::{Environment, Expansion, Lexer, NoEnvironment};
pub use heredoc::{Heredoc, chomp};
pub use instruction::{Dockerfile, Instruction, Kind, Stage};
pub use parse::{Parsed, parse, parse_trigger};
pub use place::Place;
pub use ulimit::ULIMITS;

/// Escapes characters and continues lines unless the `escape` directive says otherwise.
pub const DEFAULT_ESCAPE: char = '\\';

#[cfg(test)]
mod tests;

pub type Result<T, E = Error> = std::result::Result<T, E>;
