//! Bake's language: files in, resolved targets out.
//!
//! Never: reads files, the environment or the clock.

mod constraint;
mod convert;
mod diagnostic;
mod eval;
mod functions;
mod number;
mod path;
mod syntax;
mod types;
mod value;
mod entries;
mod module;
mod origin;
mod schema;
mod target;
mod variable;
