//! A graph that is computed when somebody needs its result.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use errdefs::{Detail, Error, Result};
use llb::{Definition, Graph, SourceMap};
use oci::Digest;
use ops::{BuildDomain, Value};
use refs::Refs;
use solver::{Edge, Job, RemoteCache};
use tokio::sync::OnceCell;

use crate::caches::{self, Pending};

/// One graph of one build. All who need the result share one computation.
pub struct Promise {
    edge: Option<Edge<BuildDomain>>,
    source: SourceMap,
    /// Cache mounts that begin anew.
    renewed: BTreeSet<(String, bool)>,
    /// Caches of others to be looked into.
    caches: Vec<Pending>,
    value: OnceCell<Value>,
}

impl Promise {
    /// Checks a graph and makes its vertices; an empty definition is scratch.
    pub fn new(
        ops: &ops::Ops,
        definition: &Definition,
        entitlements: &BTreeSet<String>,
        caches: Vec<Pending>,
    ) -> Result<Arc<Self>> {
        let (mut edge, mut renewed) = (None, BTreeSet::new());
        if !definition.is_empty() {
            let graph = Graph::load(definition).map_err(|e| locate(&definition.source, None, e))?;
            renewed = ops::renewed_cache_mounts(&graph);
            edge = Some(ops.vertex(graph, entitlements)?);
        }
        let (source, value) = (definition.source.clone(), OnceCell::new());
        Ok(Arc::new(Promise { edge, source, renewed, caches, value }))
    }

    /// The edge that gives the result; `None` is scratch.
    pub fn edge(&self) -> Option<&Edge<BuildDomain>> {
        self.edge.as_ref()
    }

    /// Whether somebody has asked for the result, and it is there.
    pub fn is_computed(&self) -> bool {
        self.value.get().is_some()
    }

    /// The result. A failure is not kept: the next who asks tries again.
    ///
    /// # Errors
    /// That of the vertex which failed, with its place in the source.
    pub async fn value(&self, refs: &Refs, job: &Job<BuildDomain>) -> Result<Value> {
        let Some(edge) = &self.edge else { return Ok(None) };
        let compute = || async {
            let caches = caches::ready(&self.caches).await;
            for (name, on_base) in &self.renewed {
                refs.forget_cache_mounts(name, *on_base);
            }
            let caches = caches.into_iter().map(|cache| cache as Arc<dyn RemoteCache<BuildDomain>>);
            job.build_with(edge.clone(), caches.collect()).await
        };
        let value = self.value.get_or_try_init(compute).await;
        value.cloned().map_err(|e| locate(&self.source, Some(edge), e))
    }
}

/// Says where in the source the vertex that failed comes from; where that is not known, as for what an `ADD` fetches,
/// where the first that uses it does.
fn locate(source: &SourceMap, graph: Option<&Edge<BuildDomain>>, error: Error) -> Error {
    if error.source_location().is_some() {
        return error;
    }
    let failed = error.details().iter().rev().find_map(|d| match d {
        Detail::Vertex { digest } => digest.parse::<Digest>().ok(),
        _ => None,
    });
    let Some(failed) = failed else { return error };
    let locations = graph.map_or_else(|| source.locations(&failed), |graph| places(source, graph, &failed));
    locations.into_iter().fold(error, |error, location| error.with_detail(Detail::Source(location)))
}

/// The places of a vertex; where none are known, those of the first that uses it.
pub fn places(
    source: &SourceMap,
    graph: &Edge<BuildDomain>,
    vertex: &Digest,
) -> Vec<errdefs::SourceLocation> {
    let own = source.locations(vertex);
    if own.is_empty() { of_user(source, graph, vertex) } else { own }
}

fn of_user(source: &SourceMap, graph: &Edge<BuildDomain>, failed: &Digest) -> Vec<errdefs::SourceLocation> {
    let (mut seen, mut todo) = (HashSet::new(), vec![&graph.vertex]);
    while let Some(vertex) = todo.pop() {
        if vertex.inputs.iter().any(|input| input.vertex.digest == *failed) {
            let locations = source.locations(&vertex.digest);
            if !locations.is_empty() {
                return locations;
            }
        }
        todo.extend(vertex.inputs.iter().map(|input| &input.vertex).filter(|v| seen.insert(&v.digest)));
    }
    Vec::new()
}
