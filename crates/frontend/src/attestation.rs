//! What is said about a result: where it came from, what is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::Result;
use oci::{Descriptor, Digest};

use crate::Ref;

/// A statement about a result, as in-toto words it, or many of them. `R` is what holds files: a promise of them, or what
/// came of it.
#[derive(Debug, Clone)]
pub struct Attestation<R = Ref> {
    pub kind: AttestationKind,
    /// Keys as `reason`, `inline-only`, `sbom-core`, `filename`.
    pub metadata: BTreeMap<String, Bytes>,
    pub body: AttestationBody<R>,
}

#[derive(Debug, Clone)]
pub enum AttestationKind {
    /// The body is a predicate.
    InToto { predicate_type: String, subjects: Vec<Subject> },
    /// The body is a directory of statements, each in a file of JSON. All are of this type, unless it is empty.
    Bundle { predicate_type: String },
}

#[derive(Debug, Clone)]
pub enum AttestationBody<R = Ref> {
    /// A file, or for bundles a directory.
    File {
        reference: R,
        path: String,
    },
    Inline(Bytes),
    /// Tells of what exporters make, and so is made when one writes it.
    Late(Arc<dyn LateBody>),
}

/// Makes a body.
#[async_trait]
pub trait LateBody: fmt::Debug + Send + Sync {
    async fn make(&self) -> Result<Bytes>;
}

impl<R> Attestation<R> {
    /// Whether it is for images in registries and stores alone.
    pub fn is_inline_only(&self) -> bool {
        self.metadata.get("inline-only").is_some_and(|value| value == "true")
    }
}

impl AttestationKind {
    /// What is stated; empty for statements of any type.
    pub fn predicate_type(&self) -> &str {
        match self {
            AttestationKind::InToto { predicate_type, .. } | AttestationKind::Bundle { predicate_type } => {
                predicate_type
            }
        }
    }
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The artifact that the attestation hangs on.
    Result,
    /// The same by this name also.
    NamedResult(String),
    /// Something else, by name and digests.
    Other { name: String, digests: Vec<String> },
}

/// What is said of an image that lies somewhere, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationChain {
    /// The index.
    pub root: Digest,
    /// The image of the platform.
    pub image_manifest: Digest,
    /// What is said of that.
    pub attestation_manifest: Option<Digest>,
    /// Signatures of that.
    pub signature_manifests: Vec<Digest>,
    /// All that is needed to check it: not the image itself.
    pub blobs: Vec<(Descriptor, Bytes)>,
}

impl AttestationChain {
    /// An image of which nothing is said.
    pub fn of(root: Digest, image_manifest: Digest) -> Self {
        AttestationChain {
            root,
            image_manifest,
            attestation_manifest: None,
            signature_manifests: Vec::new(),
            blobs: Vec::new(),
        }
    }
}
