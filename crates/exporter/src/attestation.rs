//! What is said about a result, as exporters see it.

mod files;
mod predicate;
mod spdx;
mod statement;

use refs::ImmutableRef;

pub(crate) use files::of_files;
pub(crate) use predicate::{Predicate, predicates};
pub(crate) use spdx::{LayerFinder, supplement};
pub(crate) use statement::{Artifact, statement};

use crate::Exportable;
use crate::exportable::ResultPlatform;

/// A statement about a result, or many; `None` holds no files.
pub type Attestation = frontend::Attestation<Option<ImmutableRef>>;
pub type AttestationBody = frontend::AttestationBody<Option<ImmutableRef>>;

impl Exportable {
    /// What is said about a platform. Of a result with one ref, that may stand under the empty name.
    pub(crate) fn attestations_of(&self, platform: &ResultPlatform) -> Vec<&Attestation> {
        let of_all = self.attestations.get("").filter(|_| !self.is_map());
        let own = self.attestations.get(&platform.id);
        of_all.into_iter().chain(own).flatten().collect()
    }
}
