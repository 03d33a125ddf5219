//! Building a graph.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;

use crate::definition::{Definition, Location, SourceInfo};
use crate::metadata::OpMetadata;
use crate::op::{Op, WireInput};
use crate::wire;

/// A vertex of a graph under construction. It is encoded once, when it is made.
#[derive(Debug)]
pub struct Node {
    digest: Digest,
    bytes: Bytes,
    op: Op,
    inputs: Vec<Output>,
    metadata: OpMetadata,
    location: Option<(Arc<SourceInfo>, Vec<errdefs::Range>)>,
}

/// One output of a node.
#[derive(Debug, Clone)]
pub struct Output {
    node: Arc<Node>,
    index: i64,
}

impl Node {
    pub fn new(op: Op, inputs: Vec<Output>, metadata: OpMetadata) -> Self {
        let wired: Vec<_> =
            inputs.iter().map(|i| WireInput { digest: i.node.digest.clone(), index: i.index }).collect();
        let bytes = wire::encode_op(&op, &wired);
        Node { digest: Digest::of(&bytes), bytes, op, inputs, metadata, location: None }
    }

    /// Says which lines of which file the vertex comes from.
    #[must_use]
    pub fn at(mut self, source: Arc<SourceInfo>, ranges: Vec<errdefs::Range>) -> Self {
        self.location = Some((source, ranges));
        self
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn op(&self) -> &Op {
        &self.op
    }

    pub fn inputs(&self) -> &[Output] {
        &self.inputs
    }

    pub fn metadata(&self) -> &OpMetadata {
        &self.metadata
    }

    /// The lines that it comes from; empty where that was not said.
    pub fn ranges(&self) -> &[errdefs::Range] {
        self.location.as_ref().map_or(&[], |(_, ranges)| ranges)
    }

    /// The output of this index.
    pub fn output(self: &Arc<Self>, index: i64) -> Output {
        Output { node: Arc::clone(self), index }
    }
}

impl Drop for Node {
    /// Takes long chains apart one by one: the derived way recurses and overflows the stack.
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.inputs);
        while let Some(output) = rest.pop() {
            if let Some(mut node) = Arc::into_inner(output.node) {
                rest.append(&mut node.inputs);
            }
        }
    }
}

impl Output {
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn index(&self) -> i64 {
        self.index
    }

    /// The part of the graph that this output needs, inputs first. Iterative: a chain may be thousands of steps long.
    pub fn marshal(&self) -> Definition {
        enum Visit<'a> {
            Enter(&'a Node),
            Leave(&'a Node),
        }
        let mut definition = Definition::default();
        let mut files = HashMap::new();
        let mut seen = HashSet::new();
        let mut stack = vec![Visit::Enter(&self.node)];
        while let Some(visit) = stack.pop() {
            match visit {
                Visit::Enter(node) => {
                    if seen.insert(std::ptr::from_ref(node)) {
                        stack.push(Visit::Leave(node));
                        stack.extend(node.inputs.iter().rev().map(|i| Visit::Enter(&i.node)));
                    }
                }
                Visit::Leave(node) => add(&mut definition, &mut files, node),
            }
        }
        definition
            .ops
            .push(wire::encode_pointer(&WireInput { digest: self.node.digest.clone(), index: self.index }));
        let last = definition.ops.last().map(Digest::of).expect("the pointer was just pushed");
        let mut pointer = OpMetadata::default();
        pointer.need(crate::caps::CONSTRAINTS);
        pointer.need(crate::caps::PLATFORM);
        definition.metadata.insert(last, pointer);
        definition
    }
}

/// Equal vertices become one, of which is said what is said of any. `files` has the places of those infos that were met:
/// to compare two means to compare whole files.
fn add(definition: &mut Definition, files: &mut HashMap<*const SourceInfo, usize>, node: &Node) {
    match definition.metadata.get_mut(&node.digest) {
        Some(known) => known.merge(&node.metadata),
        None => {
            definition.ops.push(node.bytes.clone());
            definition.metadata.insert(node.digest.clone(), node.metadata.clone());
        }
    }
    // BuildKit tells those without a place too, and provenance shows it.
    let places = definition.source.locations.entry(node.digest.clone()).or_default();
    if let Some((info, ranges)) = &node.location {
        let infos = &mut definition.source.infos;
        let source = *files.entry(Arc::as_ptr(info)).or_insert_with(|| {
            infos.iter().position(|known| known == &**info).unwrap_or_else(|| {
                infos.push((**info).clone());
                infos.len() - 1
            })
        });
        places.push(Location { source, ranges: ranges.clone() });
    }
}
