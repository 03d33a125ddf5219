//! From a checked graph to vertices of the solver.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cdi::{Devices, Rights};
use errdefs::{Class, Code, Error, Result};
use executor::Executor;
use llb::{CdiDevice, Graph, LoadedOp, NetMode, OpKind, SecurityMode};
use network::Networks;
use oci::{Digest, Platform};
use refs::Refs;
use solver::{Edge, Op, Vertex, VertexOptions};

use crate::domain::BuildDomain;
use crate::recopy::Copies;
use crate::{build, diff, exec, file, merge, name, passthrough, source};

/// What ops work with.
pub struct Parts {
    pub refs: Refs,
    pub sources: Arc<::source::Sources>,
    pub executor: Executor,
    pub devices: Devices,
    pub networks: Networks,
}

/// Makes vertices.
#[derive(Clone)]
pub struct Ops(Arc<Inner>);

struct Inner {
    parts: Parts,
    copies: Copies,
}

impl Ops {
    pub fn new(parts: Parts) -> Self {
        Ops(Arc::new(Inner { parts, copies: Copies::default() }))
    }

    pub fn parts(&self) -> &Parts {
        &self.0.parts
    }

    pub(crate) fn copies(&self) -> &Copies {
        &self.0.copies
    }

    /// The result edge of a graph.
    ///
    /// # Errors
    /// A step that asks for more than `entitlements` allow, or a source that does not exist.
    pub fn vertex(&self, graph: Graph, entitlements: &BTreeSet<String>) -> Result<Edge<BuildDomain>> {
        let Graph { mut ops, order, root } = graph;
        let mut made: HashMap<Digest, Arc<Vertex<BuildDomain>>> = HashMap::with_capacity(order.len());
        for digest in order {
            let mut loaded = ops.remove(&digest).expect("the order names each op of the graph once");
            if let OpKind::Exec(exec) = &mut loaded.op.kind {
                allow(exec.network, exec.security, entitlements)?;
                if !exec.cdi_devices.is_empty() {
                    exec.cdi_devices = self.granted(&exec.cdi_devices, entitlements)?;
                }
            }
            let inputs: Vec<_> = loaded
                .inputs
                .iter()
                .map(|i| Edge { vertex: Arc::clone(&made[&i.digest]), index: i.index })
                .collect();
            made.insert(digest.clone(), Arc::new(self.one(digest, loaded, inputs)?));
        }
        let vertex = Arc::clone(&made[&root.digest]);
        Ok(Edge { vertex, index: root.index })
    }

    /// The devices that a step gets of those that it asks for.
    fn granted(&self, asked: &[CdiDevice], entitlements: &BTreeSet<String>) -> Result<Vec<CdiDevice>> {
        let rights = Rights::of(entitlements)?;
        let granted = self.parts().devices.look().grant(&exec::wanted(asked), &rights)?;
        Ok(granted.into_iter().map(|d| CdiDevice { name: d.name, optional: d.optional }).collect())
    }

    fn one(
        &self,
        digest: Digest,
        loaded: LoadedOp,
        inputs: Vec<Edge<BuildDomain>>,
    ) -> Result<Vertex<BuildDomain>> {
        let LoadedOp { op, metadata, .. } = loaded;
        let mut description = metadata.description;
        let name = description.remove("llb.customname").unwrap_or_else(|| {
            name::of(&op, &inputs.iter().map(|i| i.vertex.name.as_str()).collect::<Vec<_>>())
        });
        let platform = op.platform.as_ref().map_or_else(Platform::host, Platform::normalize);
        let count = inputs.len();
        let op: Arc<dyn Op<BuildDomain>> = match op.kind {
            OpKind::Source(s) => Arc::new(source::SourceOp::new(self, &s, &platform)?),
            OpKind::Exec(e) => {
                let resources = metadata.linux_resources;
                Arc::new(exec::ExecOp::new(self.clone(), *e, platform, count, name.clone(), resources))
            }
            OpKind::File(f) => Arc::new(file::FileOp::new(self.clone(), f, count, name.clone())),
            OpKind::Merge(m) => Arc::new(merge::MergeOp::new(self.clone(), m, name.clone())),
            OpKind::Diff(d) => Arc::new(diff::DiffOp::new(self.clone(), d, name.clone())),
            OpKind::Build(b) => Arc::new(build::BuildOp::new(self.clone(), b, count)),
            OpKind::Passthrough(p) => Arc::new(passthrough::PassthroughOp::new(p, count)),
        };
        let options = VertexOptions {
            ignore_cache: metadata.ignore_cache,
            export_cache: metadata.export_cache,
            progress_group: metadata.progress_group.map(|g| progress::ProgressGroup {
                id: g.id,
                name: g.name,
                weak: g.weak,
            }),
            description,
        };
        Ok(Vertex { digest, name, inputs, op, options })
    }
}

/// Refuses a step that wants out of the sandbox without leave.
pub fn allow(network: NetMode, security: SecurityMode, entitlements: &BTreeSet<String>) -> Result<()> {
    let wanted = [
        (network == NetMode::Host, "network.host"),
        (security == SecurityMode::Insecure, "security.insecure"),
    ];
    match wanted.into_iter().find(|&(wanted, name)| wanted && !entitlements.contains(name)) {
        None => Ok(()),
        Some((_, name)) => {
            Err(Error::new(Class::User, Code::PermissionDenied, format!("{name} is not allowed"))
                .hint(format!("allow it with `--allow {name}`")))
        }
    }
}
