//! Bake's language: files in, resolved targets out.
//!
//! [`Definition::load`] reads HCL, JSON and Compose files and evaluates them; [`Definition::resolve`] picks targets, with
//! what they inherit and what the command line says; [`Resolved::print`] shows them.
//!
//! Never: reads files, the environment or the clock.

mod check;
mod compose;
mod constraint;
mod convert;
mod definition;
mod diagnostic;
mod entries;
mod eval;
mod explain;
mod flags;
mod functions;
mod list;
mod module;
mod number;
mod origin;
mod overrides;
mod path;
mod print;
mod remote;
mod resolve;
mod schema;
mod syntax;
mod target;
mod types;
mod value;
mod variable;

pub use definition::{DEFAULT, DEFAULT_FILES, Definition, Given, ReadFile, require_files};
pub use diagnostic::{File, Warning};
pub use entries::{Attestation, Attributes, Cache, Entry, Limit, Output, Policy, Resources, Secret, Ssh};
pub use eval::Budget;
pub use flags::Flags;
pub use functions::Context;
pub use module::{Source, VariableInfo};
pub use origin::{Origin, Origins};
pub use path::clean as clean_path;
pub use remote::Remote;
pub use resolve::Resolved;
pub use target::{Group, Target, TextMap};
