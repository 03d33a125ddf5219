//! One error value for the whole program: class, code, typed detail, source ranges, hints.
//!
//! An [`Error`] has two readers. A program looks at [`Error::class`], [`Error::code`] and [`Error::details`]; a
//! person reads the message, the place in the source and the hints. Nobody ever parses the message.
//!
//! Never: prints, or knows what failed.

mod detail;
mod error;

pub use detail::{Detail, Fault, MissingMaterial, Position, Range, SourceInfo, SourceLocation, Subject};
pub use error::{Class, Code, Error, Result, ResultExt};
