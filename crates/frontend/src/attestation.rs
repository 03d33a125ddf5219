//! What is said about a result: where it came from, what is in it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Ref;

/// A statement about a result, as in-toto words it, or many of them.
#[derive(Debug, Clone)]
pub struct Attestation {
    pub kind: AttestationKind,
    /// Keys as `reason`, `inline-only`, `filename`.
    pub metadata: BTreeMap<String, Bytes>,
    pub body: AttestationBody,
}

#[derive(Debug, Clone)]
pub enum AttestationKind {
    /// The body is a predicate.
    InToto { predicate_type: String, subjects: Vec<Subject> },
    /// The body is a directory of statements, each in a file of JSON.
    Bundle,
}

#[derive(Debug, Clone)]
pub enum AttestationBody {
    /// A file, or for bundles a directory, of a ref.
    File {
        reference: Ref,
        path: String,
    },
    Inline(Bytes),
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The artifact that the attestation hangs on.
    Result,
    /// Something else, by name and digests.
    Other { name: String, digests: Vec<String> },
}
