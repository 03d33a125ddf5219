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
mod machine;
mod producers;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::MissingMaterial;
use llb::{Definition, ExecOp};
use network::Traffic;
use oci::Digest;
use provenance::Capture;

/// Why nothing is known of what a step fetched.
const NOT_RUN: &str = "result_from_cache";

pub use capture::Captured;
pub use frame::{Asked, Frame, each_ref};
pub use machine::Machine;
pub use producers::{Producers, Registered};

/// Adds what a step fetched through its proxy. Where its result was known, nobody knows that.
pub fn add_traffic(used: &mut Capture, vertex: &Digest, exec: &ExecOp, traffic: Option<Traffic>) {
    let missing = |method: String, uri: String, reason: &str| {
        let (op, name, reason) = (vertex.to_string(), exec.meta.args.join(" "), reason.to_owned());
        MissingMaterial { op, name, method, uri, reason }
    };
    let Some(traffic) = traffic else {
        return used.add_missing(missing(String::new(), String::new(), NOT_RUN));
    };
    traffic.materials.into_iter().for_each(|page| used.add_page(&page.url, page.digest));
    traffic.missing.into_iter().for_each(|m| used.add_missing(missing(m.method, m.url, m.reason)));
}

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
