//! Reading a definition back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use errdefs::{Detail, Error, Result};
use oci::Digest;

use crate::caps;
use crate::definition::{Definition, SourceMap};
use crate::exec::NetMode;
use crate::metadata::OpMetadata;
use crate::node::{Node, Output};
use crate::op::{Op, OpKind, SourceOp};
use crate::wire;

/// One input of a loaded op.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    pub digest: Digest,
    pub index: usize,
}

#[derive(Debug, Clone)]
pub struct LoadedOp {
    pub op: Op,
    pub inputs: Vec<Input>,
    pub metadata: OpMetadata,
}

/// A verified graph: every input is there, the order has inputs before users, all caps are known.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Each op by its digest.
    pub ops: HashMap<Digest, LoadedOp>,
    /// Digests, inputs before users.
    pub order: Vec<Digest>,
    /// The result.
    pub root: Input,
}

impl Graph {
    /// Decodes and verifies. The digest of each vertex is that of the bytes received.
    ///
    /// # Errors
    /// User errors for a definition that is damaged, not complete, or needs a capability that is not there.
    pub fn load(definition: &Definition) -> Result<Graph> {
        let (pointer, ops) =
            definition.ops.split_last().ok_or_else(|| Error::user("invalid empty definition"))?;
        if ops.is_empty() {
            return Err(Error::user(format!("invalid LLB with {} vertexes", definition.ops.len())));
        }
        let mut decoded = BTreeMap::new();
        for bytes in ops {
            let located = |e: Error| e.with_detail(Detail::Vertex { digest: Digest::of(bytes).to_string() });
            let (op, inputs) = wire::decode_op(bytes).map_err(located)?;
            let op =
                op.ok_or_else(|| Error::user("invalid LLB: an op without a kind that is not the last"))?;
            decoded.insert(Digest::of(bytes), (op, inputs));
        }
        let root = match wire::decode_op(pointer)? {
            (None, inputs) if inputs.len() == 1 => inputs.into_iter().next().expect("one input"),
            _ => return Err(Error::user("invalid LLB: the last op must be a pointer to the result")),
        };
        let root = Input { digest: root.digest, index: index(root.index)? };
        let mut checked = Vec::with_capacity(decoded.len());
        for (digest, (_, inputs)) in &decoded {
            let inputs = inputs
                .iter()
                .map(|i| {
                    if !decoded.contains_key(&i.digest) {
                        return Err(Error::user(format!("invalid missing input digest {}", i.digest)));
                    }
                    Ok(Input { digest: i.digest.clone(), index: index(i.index)? })
                })
                .collect::<Result<Vec<_>>>()?;
            let metadata = definition.metadata.get(digest).cloned().unwrap_or_default();
            caps::check(metadata.caps.keys().map(|cap| &**cap))?;
            checked.push((inputs, metadata));
        }
        let loaded = decoded
            .into_iter()
            .zip(checked)
            .map(|((digest, (op, _)), (inputs, metadata))| (digest, LoadedOp { op, inputs, metadata }));
        let loaded: HashMap<_, _> = loaded.collect();
        if !loaded.contains_key(&root.digest) {
            return Err(Error::user(format!("invalid missing input digest {}", root.digest)));
        }
        let order = order(&loaded, &root.digest);
        Ok(Graph { ops: loaded, order, root })
    }
}

impl Graph {
    /// The graph as one under construction, with each op as `change` leaves it. Told besides: what became of each vertex.
    pub fn rebuild(
        mut self,
        mut change: impl FnMut(&Digest, &mut Op),
    ) -> Result<(Output, HashMap<Digest, Digest>)> {
        let mut nodes: HashMap<Digest, Arc<Node>> = HashMap::new();
        let known = |nodes: &HashMap<_, Arc<Node>>, input: &Input| {
            let node =
                nodes.get(&input.digest).ok_or_else(|| Error::internal("an input comes after its user"))?;
            Ok::<_, Error>(node.output(input.index as i64))
        };
        for digest in &self.order {
            let Some(mut loaded) = self.ops.remove(digest) else { continue };
            change(digest, &mut loaded.op);
            let inputs = loaded.inputs.iter().map(|input| known(&nodes, input)).collect::<Result<_>>()?;
            nodes.insert(digest.clone(), Arc::new(Node::new(loaded.op, inputs, loaded.metadata)));
        }
        let root = known(&nodes, &self.root)?;
        let became = nodes.iter().map(|(old, node)| (old.clone(), node.digest().clone())).collect();
        Ok((root, became))
    }
}

impl Definition {
    /// The same graph with other sources in the place of some, which their vertices name.
    pub fn with_sources(&self, mut others: HashMap<Digest, SourceOp>) -> Result<Definition> {
        self.changed(|digest, op| {
            if let Some(other) = others.remove(digest) {
                op.kind = OpKind::Source(other);
            }
        })
    }

    /// The same graph whose steps reach the network, where they may, through a proxy. Their vertices have other digests,
    /// so that they are not taken for those of a build that does without.
    pub fn proxied(&self) -> Result<Definition> {
        self.changed(|_, op| {
            if let OpKind::Exec(exec) = &mut op.kind {
                exec.proxied = exec.network != NetMode::None;
            }
        })
    }

    fn changed(&self, change: impl FnMut(&Digest, &mut Op)) -> Result<Definition> {
        let (root, became) = Graph::load(self)?.rebuild(change)?;
        let moved =
            |(digest, places): (&Digest, &Vec<_>)| Some((became.get(digest)?.clone(), places.clone()));
        let locations = self.source.locations.iter().filter_map(moved).collect();
        let source = SourceMap { infos: self.source.infos.clone(), locations };
        Ok(Definition { source, ..root.marshal() })
    }
}

fn index(wire: i64) -> Result<usize> {
    usize::try_from(wire).map_err(|_| Error::user(format!("invalid LLB: input index {wire}")))
}

/// Inputs before users, reachable ones only. A digest covers the digests of the inputs, so there are no cycles.
fn order(ops: &HashMap<Digest, LoadedOp>, root: &Digest) -> Vec<Digest> {
    let mut order = Vec::with_capacity(ops.len());
    let mut seen = std::collections::HashSet::new();
    let mut stack = vec![(root, false)];
    while let Some((digest, leave)) = stack.pop() {
        if leave {
            order.push(digest.clone());
        } else if seen.insert(digest) {
            stack.push((digest, true));
            stack.extend(ops[digest].inputs.iter().rev().map(|i| (&i.digest, false)));
        }
    }
    order
}
