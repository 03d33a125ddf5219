//! A graph whose local sources are settled last.
//!
//! Which paths of the build context are needed is known only when every stage has been read, but stages refer to the
//! context from the first COPY on. So stages draft vertices that refer to each other by number, and the draft becomes
//! an `llb` graph when nothing is open any more. Inputs with equal digests become one input, so indexes too are given
//! out only then.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::Range;
use llb::{Definition, Location, Node, OpMetadata, Output, SourceInfo, SourceOp};
use oci::{Digest, Platform};

mod exec;
mod file;

pub(crate) use exec::{ExecDraft, MountDraft, MountUse, SecretDraft, SshDraft};
pub(crate) use file::{Action, ActionKind};

/// One output of a drafted vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    vertex: usize,
    index: i64,
}

/// What is said of a vertex beside its op.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub metadata: OpMetadata,
    /// Lines of the Dockerfile.
    pub ranges: Vec<Range>,
}

#[derive(Debug)]
enum Kind {
    Source(SourceOp, Option<Platform>),
    /// A source that is not known yet.
    Open,
    Exec(Box<ExecDraft>),
    File {
        base: Option<Port>,
        actions: Vec<Action>,
    },
    Merge(Vec<Port>),
    /// A finished graph that stands in for a source.
    Finished(Output),
}

#[derive(Debug)]
struct Vertex {
    kind: Kind,
    about: About,
}

/// Vertices, each after those that it uses.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    vertices: Vec<Vertex>,
}

impl Draft {
    fn add(&mut self, kind: Kind, about: About) -> Port {
        self.vertices.push(Vertex { kind, about });
        Port { vertex: self.vertices.len() - 1, index: 0 }
    }

    pub fn source(&mut self, op: SourceOp, platform: Option<Platform>, about: About) -> Port {
        self.add(Kind::Source(op, platform), about)
    }

    /// A source to be settled later.
    pub fn open(&mut self) -> Port {
        self.add(Kind::Open, About::default())
    }

    pub fn settle(&mut self, port: Port, op: SourceOp, about: About) {
        self.vertices[port.vertex] = Vertex { kind: Kind::Source(op, None), about };
    }

    pub fn finished(&mut self, output: Output) -> Port {
        let index = output.index();
        Port { index, ..self.add(Kind::Finished(output), About::default()) }
    }

    pub fn exec(&mut self, exec: ExecDraft, about: About) -> Port {
        let index = exec.root_index();
        let port = self.add(Kind::Exec(Box::new(exec)), about);
        Port { index, ..port }
    }

    /// Actions on top of `base`.
    pub fn file(&mut self, base: Option<Port>, actions: Vec<Action>, mut about: About) -> Port {
        about.metadata.need(llb::caps::FILE_BASE);
        self.add(Kind::File { base, actions }, about)
    }

    /// Stacks two trees; nothing below is nothing.
    pub fn merge(&mut self, lower: Option<Port>, upper: Port, mut about: About) -> Port {
        let Some(lower) = lower else { return upper };
        about.metadata.need(llb::caps::MERGE_OP);
        self.add(Kind::Merge(vec![lower, upper]), about)
    }

    /// The part of the draft that `root` needs; an empty definition for scratch. Ops without a platform of their own
    /// get `platform`.
    pub fn finish(self, root: Option<Port>, platform: &Platform, source: &Arc<SourceInfo>) -> Definition {
        self.finish_all(root, &[], platform, source).0
    }

    /// The same, with other trees for whoever builds on them.
    pub fn finish_all(
        self,
        root: Option<Port>,
        others: &[Option<Port>],
        platform: &Platform,
        source: &Arc<SourceInfo>,
    ) -> (Definition, Vec<Option<Output>>) {
        let needed = self.needed(root.iter().chain(others.iter().flatten()));
        let order = root.map_or_else(Vec::new, |root| self.order(root));
        let mut nodes: Vec<Option<Arc<Node>>> = Vec::with_capacity(self.vertices.len());
        for (vertex, needed) in self.vertices.into_iter().zip(needed) {
            let node = needed.then(|| vertex.build(&nodes, platform, source));
            nodes.push(node);
        }
        let built = Built(&nodes);
        let mut definition = root.map_or_else(Definition::default, |root| built.output(root).marshal());
        tell_of_twins(&mut definition, order.iter().filter_map(|&at| nodes[at].as_deref()));
        (definition, others.iter().map(|other| other.map(|port| built.output(port))).collect())
    }

    /// The vertices that `root` needs, inputs first, in the order in which BuildKit's client visits them.
    fn order(&self, root: Port) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = vec![false; self.vertices.len()];
        let mut stack = vec![(root.vertex, false)];
        while let Some((at, leave)) = stack.pop() {
            if leave {
                order.push(at);
            } else if !std::mem::replace(&mut seen[at], true) {
                stack.push((at, true));
                let inputs = self.vertices[at].kind.ports();
                stack.extend(inputs.into_iter().rev().map(|port| (port.vertex, false)));
            }
        }
        order
    }

    fn needed<'a>(&self, roots: impl Iterator<Item = &'a Port>) -> Vec<bool> {
        let mut needed = vec![false; self.vertices.len()];
        roots.for_each(|root| needed[root.vertex] = true);
        for (at, vertex) in self.vertices.iter().enumerate().rev() {
            if needed[at] {
                vertex.kind.ports().into_iter().for_each(|port| needed[port.vertex] = true);
            }
        }
        needed
    }
}

impl Kind {
    fn ports(&self) -> Vec<Port> {
        match self {
            Kind::Source(..) | Kind::Open | Kind::Finished(_) => Vec::new(),
            Kind::Exec(exec) => {
                let mut mounts: Vec<_> = exec.mounts.iter().collect();
                mounts.sort_by(|a, b| a.target.cmp(&b.target));
                mounts.into_iter().filter_map(|m| m.source).collect()
            }
            Kind::File { base, actions } => {
                base.iter().copied().chain(actions.iter().rev().filter_map(Action::source)).collect()
            }
            Kind::Merge(inputs) => inputs.clone(),
        }
    }
}

/// Vertices may turn out equal: the same step in two stages. One is left in the graph, and of that one is said what was
/// said of each; where they differ, the last is heard.
fn tell_of_twins<'a>(definition: &mut Definition, vertices: impl Iterator<Item = &'a Node>) {
    let mut twins: BTreeMap<&Digest, Vec<&Node>> = BTreeMap::new();
    for node in vertices {
        twins.entry(node.digest()).or_default().push(node);
    }
    for (digest, twins) in twins {
        if let Some(metadata) = definition.metadata.get_mut(digest).filter(|_| twins.len() > 1) {
            twins.iter().for_each(|node| metadata.merge(node.metadata()));
        }
        // Imported graphs have places of their own, in other files; these stay.
        let ranges = twins.iter().map(|node| node.ranges()).filter(|ranges| !ranges.is_empty());
        if let Some(known) = definition.source.locations.get_mut(digest).filter(|_| twins.len() > 1) {
            let source = known.first().map_or(0, |l| l.source);
            *known = ranges.map(|ranges| Location { source, ranges: ranges.to_vec() }).collect();
        }
    }
}

/// The vertices that are built already.
struct Built<'a>(&'a [Option<Arc<Node>>]);

impl Built<'_> {
    fn output(&self, port: Port) -> Output {
        self.0[port.vertex]
            .as_ref()
            .expect("inputs are drafted and needed before their users")
            .output(port.index)
    }
}

/// The inputs of an op; equal ones share an index.
struct Inputs<'a> {
    built: Built<'a>,
    list: Vec<Output>,
}

impl<'a> Inputs<'a> {
    fn new(nodes: &'a [Option<Arc<Node>>]) -> Self {
        Inputs { built: Built(nodes), list: Vec::new() }
    }

    fn index(&mut self, port: Option<Port>) -> i64 {
        let Some(port) = port else { return llb::NONE };
        let output = self.built.output(port);
        let same = |known: &Output| {
            known.index() == output.index() && known.node().digest() == output.node().digest()
        };
        let at = self.list.iter().position(same).unwrap_or_else(|| {
            self.list.push(output);
            self.list.len() - 1
        });
        at as i64
    }
}

impl Vertex {
    fn build(self, nodes: &[Option<Arc<Node>>], platform: &Platform, source: &Arc<SourceInfo>) -> Arc<Node> {
        let mut inputs = Inputs::new(nodes);
        let mut metadata = self.about.metadata;
        let (kind, platform) = match self.kind {
            Kind::Finished(output) => return Arc::clone(output.node()),
            Kind::Open => unreachable!("every open source is settled before the draft is finished"),
            Kind::Source(op, own) => {
                let own = is_of_platform(&op).then(|| own.unwrap_or_else(|| platform.clone()));
                (llb::OpKind::Source(op), own)
            }
            Kind::Exec(exec) => {
                let own = exec.platform.clone().unwrap_or_else(|| platform.clone());
                (llb::OpKind::Exec(Box::new(exec.build(&mut inputs, &mut metadata))), Some(own))
            }
            Kind::File { base, actions } => {
                (llb::OpKind::File(file::build(base, actions, &mut inputs)), None)
            }
            Kind::Merge(ports) => {
                inputs.list = ports.into_iter().map(|port| inputs.built.output(port)).collect();
                let inputs = (0..inputs.list.len() as i64).collect();
                (llb::OpKind::Merge(llb::MergeOp { inputs }), None)
            }
        };
        let op = llb::Op { kind, platform, constraints: Vec::new() };
        let node = Node::new(op, inputs.list, metadata);
        Arc::new(if self.about.ranges.is_empty() { node } else { node.at(source.clone(), self.about.ranges) })
    }
}

/// Whether a source gives something else on another platform.
fn is_of_platform(op: &SourceOp) -> bool {
    ["docker-image://", "oci-layout://"].iter().any(|scheme| op.identifier.starts_with(scheme))
}
