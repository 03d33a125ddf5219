//! What a build was made from: for attestations, and for the record of every build.
//!
//! ```text
//! Frame             who asked for what: one for the build, one for each frontend in it, each with the refs it made
//! Captured::of      after all refs are computed: what each of them used, and which frame it belongs to
//! Captured::attest  the attestation that the client asks for; Captured::record, what the history keeps
//! ```
//!
//! Nothing is gathered while steps run: sources keep what they stood for, and are asked in the end.

mod capture;
mod frame;
mod producers;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;

use llb::Definition;

pub use capture::Captured;
pub use frame::{Asked, Frame, each_ref};
pub use producers::{Producers, Registered};

/// What a build starts from.
pub struct Start {
    pub asked: Asked,
    /// Named graphs that the client gave along.
    pub inputs: BTreeMap<String, Definition>,
    pub producers: Arc<Producers>,
}

/// What the owner of an engine tells with all provenance.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// That of the built-in frontend.
    pub dockerfile_version: String,
    /// Fields of the owner's own.
    pub env: BTreeMap<String, serde_json::Value>,
}
