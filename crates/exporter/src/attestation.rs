//! What is said about a result, as exporters see it.

mod files;
mod predicate;
mod spdx;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use frontend::{AttestationKind, LateBody};
use refs::ImmutableRef;

pub(crate) use files::of_files;
pub(crate) use predicate::{Predicate, predicates};
pub(crate) use spdx::{LayerFinder, supplement};
pub(crate) use statement::{Artifact, PREDICATE_TYPE, statement};

use crate::Exportable;
use crate::exportable::ResultPlatform;

/// A statement about a result, or many, with what holds it computed.
#[derive(Debug, Clone)]
pub struct Attestation {
    pub kind: AttestationKind,
    /// Keys as `inline-only`, `sbom-core`, `filename`.
    pub metadata: BTreeMap<String, Bytes>,
    pub body: AttestationBody,
}

#[derive(Debug, Clone)]
pub enum AttestationBody {
    /// A file, or for bundles a directory; `None` holds nothing.
    File {
        reference: Option<ImmutableRef>,
        path: String,
    },
    Inline(Bytes),
    Late(Arc<dyn LateBody>),
}

impl Attestation {
    /// Whether it is for images in registries and stores alone.
    pub(crate) fn is_inline_only(&self) -> bool {
        self.metadata.get("inline-only").is_some_and(|value| value == "true")
    }
}

impl Exportable {
    /// What is said about a platform. Of a result with one ref, that may stand under the empty name.
    pub(crate) fn attestations_of(&self, platform: &ResultPlatform) -> Vec<&Attestation> {
        let of_all = self.attestations.get("").filter(|_| !self.is_map());
        let own = self.attestations.get(&platform.id);
        of_all.into_iter().chain(own).flatten().collect()
    }
}
