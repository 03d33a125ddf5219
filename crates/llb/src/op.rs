//! What one vertex does (`pb.Op`).

use std::collections::BTreeMap;

use oci::Digest;
use serde::Serialize;

use crate::definition::Definition;
use crate::exec::ExecOp;
use crate::file::FileOp;

/// A vertex without its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    pub kind: OpKind,
    pub platform: Option<oci::Platform>,
    /// containerd filters that choose a worker.
    pub constraints: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OpKind {
    Exec(Box<ExecOp>),
    Source(SourceOp),
    File(FileOp),
    Build(BuildOp),
    Merge(MergeOp),
    Diff(DiffOp),
    Passthrough(PassthroughOp),
}

/// Fetches bytes from somewhere: `scheme://identifier`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SourceOp {
    pub identifier: String,
    pub attrs: BTreeMap<String, String>,
}

/// Runs a definition that an input holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BuildOp {
    pub builder: i64,
    pub inputs: BTreeMap<String, i64>,
    pub definition: Option<Definition>,
    pub attrs: BTreeMap<String, String>,
}

/// Stacks its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergeOp {
    pub inputs: Vec<i64>,
}

/// What `upper` has beyond `lower`; [`crate::NONE`] is scratch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffOp {
    pub lower: i64,
    pub upper: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassthroughOp {
    pub id: String,
    pub outputs: Vec<i64>,
}

/// An input of an encoded op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WireInput {
    pub digest: Digest,
    pub index: i64,
}

pub(crate) fn is_zero<T: Default + PartialEq>(v: &T) -> bool {
    *v == T::default()
}

pub(crate) fn is_false(v: &bool) -> bool {
    !*v
}
