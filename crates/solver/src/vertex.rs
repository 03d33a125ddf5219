//! The graph as callers hand it in.

use std::collections::BTreeMap;
use std::sync::Arc;

use oci::Digest;
use progress::ProgressGroup;

use crate::op::{Domain, Op};

/// One node of a build graph. The digest names the op and, through it, everything below: vertices of one digest are
/// one vertex while they are active, whichever job brought them.
pub struct Vertex<D: Domain> {
    pub digest: Digest,
    /// What progress shows, as "[2/3] RUN make".
    pub name: String,
    pub inputs: Vec<Edge<D>>,
    pub op: Arc<dyn Op<D>>,
    pub options: VertexOptions,
}

/// One output of a vertex. Outputs count from 0.
pub struct Edge<D: Domain> {
    pub vertex: Arc<Vertex<D>>,
    pub index: usize,
}

/// What does not change the result of a vertex, and so is in no digest and no key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VertexOptions {
    /// No record is looked up; the result is recorded all the same, and what consumes it misses too.
    pub ignore_cache: bool,
    /// Whether a cache export may hold the result; `None` leaves it to the exporter.
    pub export_cache: Option<bool>,
    pub progress_group: Option<ProgressGroup>,
    /// Free text for tools; the solver does not look at it.
    pub description: BTreeMap<String, String>,
}

impl<D: Domain> Clone for Edge<D> {
    fn clone(&self) -> Self {
        Edge { vertex: self.vertex.clone(), index: self.index }
    }
}

impl<D: Domain> Drop for Vertex<D> {
    /// Takes long chains apart one by one: the derived way recurses and overflows the stack.
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.inputs);
        while let Some(edge) = rest.pop() {
            if let Some(mut vertex) = Arc::into_inner(edge.vertex) {
                rest.append(&mut vertex.inputs);
            }
        }
    }
}
