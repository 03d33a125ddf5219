//! A graph that is computed when somebody needs its result.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use errdefs::{Detail, Error, Result};
use llb::{Definition, Graph, SourceMap};
use oci::Digest;
use ops::{BuildDomain, Value};
use refs::Refs;
use solver::{Edge, Job};
use tokio::sync::OnceCell;

/// One graph of one build. All who need the result share one computation.
pub struct Promise {
    edge: Option<Edge<BuildDomain>>,
    source: SourceMap,
    /// Cache mounts that begin anew.
    renewed: BTreeSet<(String, bool)>,
    value: OnceCell<Value>,
}

impl Promise {
    /// Checks a graph and makes its vertices; an empty definition is scratch.
    pub fn new(
        ops: &ops::Ops,
        definition: &Definition,
        entitlements: &BTreeSet<String>,
    ) -> Result<Arc<Self>> {
        let (mut edge, mut renewed) = (None, BTreeSet::new());
        if !definition.is_empty() {
            let graph = Graph::load(definition).map_err(|e| locate(&definition.source, None, e))?;
            renewed = ops::renewed_cache_mounts(&graph);
            edge = Some(ops.vertex(graph, entitlements)?);
        }
        Ok(Arc::new(Promise { edge, source: definition.source.clone(), renewed, value: OnceCell::new() }))
    }

    /// The result. A failure is not kept: the next who asks tries again.
    ///
    /// # Errors
    /// That of the vertex which failed, with its place in the source.
    pub async fn value(&self, refs: &Refs, job: &Job<BuildDomain>) -> Result<Value> {
        let Some(edge) = &self.edge else { return Ok(None) };
        let compute = || {
            for (name, on_base) in &self.renewed {
                refs.forget_cache_mounts(name, *on_base);
            }
            job.build(edge.clone())
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
    let location = source.location(&failed).or_else(|| of_user(source, graph?, &failed));
    match location {
        Some(location) => error.with_detail(Detail::Source(location)),
        None => error,
    }
}

fn of_user(
    source: &SourceMap,
    graph: &Edge<BuildDomain>,
    failed: &Digest,
) -> Option<errdefs::SourceLocation> {
    let (mut seen, mut todo) = (HashSet::new(), vec![&graph.vertex]);
    while let Some(vertex) = todo.pop() {
        if vertex.inputs.iter().any(|input| input.vertex.digest == *failed)
            && let Some(location) = source.location(&vertex.digest)
        {
            return Some(location);
        }
        todo.extend(vertex.inputs.iter().map(|input| &input.vertex).filter(|v| seen.insert(&v.digest)));
    }
    None
}
