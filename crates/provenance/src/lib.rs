//! What a build was made from, in the words of SLSA.
//!
//! ```text
//! Options::of(attrs)                what is to be told, and how
//! Capture::of_graph(graph, pins)    what one graph used; captures add up
//! Request::new(frontend, opts)      who was asked for what, without what is nobody's business
//! Predicate::new(capture, request)  the statement, of SLSA v1; written in the form that the options name
//! ```
//!
//! [`as_v02`] turns a statement of v1 into the older form.
//!
//! Never: finds anything out. It is given what was used.

mod address;
mod capture;
mod material;
mod options;
mod predicate;
mod request;
mod steps;
mod v02;

pub use address::without_login;
pub use capture::{Capture, ImageSource};
pub use options::{Mode, Options, Version, attestations};
pub use predicate::{Layers, Predicate, Run};
pub use request::{ConfigSource, NamedRequest, Request};
pub use v02::as_v02;

/// The predicate types of all versions begin so.
pub const PREDICATE_TYPES: &str = "https://slsa.dev/provenance/";

#[cfg(test)]
mod tests;
