//! The second run of a build.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Result, ResultExt as _};
use exporter::{Exportable, Refs};
use frontend::{BuildResult, Ref};
use llb::{Definition, Graph};
use oci::Digest;
use ops::{BuildDomain, Value};
use progress::{Event, Sink};
use solver::{Edge, Job, MemoryKeys, MemoryResults, Options, Scheduler};

use crate::bridge::BuildBridge;
use crate::origins::each_ref;
use crate::scan::definition;

pub struct Second {
    scheduler: Scheduler<BuildDomain>,
    job: Job<BuildDomain>,
}

impl Second {
    pub fn start(bridge: &BuildBridge, sink: &Arc<dyn Sink>) -> Self {
        let scheduler = Scheduler::new(
            Arc::new(MemoryKeys::default()),
            Arc::new(MemoryResults::default()),
            Options::default(),
        );
        let sink = Arc::new(Again(Arc::clone(sink)));
        let job = scheduler.job(format!("{} again", bridge.build_id()), bridge.shared_context(), sink);
        Second { scheduler, job }
    }

    pub fn job(&self) -> &Job<BuildDomain> {
        &self.job
    }

    /// Runs all steps. What is said of the result is that of the first run.
    pub async fn build(
        &self,
        bridge: &BuildBridge,
        built: &BuildResult,
        first: &Exportable,
    ) -> Result<Exportable> {
        let mut made = BTreeMap::new();
        for reference in each_ref(built) {
            if let Some((_, edge)) = graph(bridge, reference)? {
                let value = self.job.build(edge).await.context("the build fails when it runs again")?;
                made.insert(reference.id.clone(), value);
            }
        }
        let value = |reference: &Ref| -> Value { made.get(&reference.id).cloned().flatten() };
        let refs = match &built.refs {
            frontend::Refs::None => Refs::Single(None),
            frontend::Refs::Single(one) => Refs::Single(value(one)),
            frontend::Refs::Map(map) => {
                Refs::Map(map.iter().map(|(id, one)| (id.clone(), value(one))).collect())
            }
        };
        Ok(Exportable { refs, metadata: first.metadata.clone(), attestations: BTreeMap::new() })
    }

    pub async fn close(self) {
        self.job.close().await;
        self.scheduler.drain().await;
    }
}

/// The graph of a ref, with vertices of its own; nothing for scratch.
pub fn graph(bridge: &BuildBridge, reference: &Ref) -> Result<Option<(Arc<Definition>, Edge<BuildDomain>)>> {
    let definition = definition(bridge, reference);
    if definition.is_empty() {
        return Ok(None);
    }
    let graph = Graph::load(&definition)?;
    let edge = bridge.parts().ops.vertex(graph, &bridge.context().entitlements)?;
    Ok(Some((definition, edge)))
}

/// Shows steps beside those of the first run.
struct Again(Arc<dyn Sink>);

impl Sink for Again {
    fn emit(&self, event: Event) {
        let again = |digest: &Digest| Digest::of(format!("again {digest}"));
        self.0.emit(match event {
            Event::Vertex(mut vertex) => {
                vertex.digest = again(&vertex.digest);
                vertex.inputs = vertex.inputs.iter().map(again).collect();
                vertex.name = format!("again: {}", vertex.name);
                // Groups are by the names of the first run.
                vertex.progress_group = None;
                Event::Vertex(vertex)
            }
            Event::Status(mut status) => {
                status.vertex = again(&status.vertex);
                Event::Status(status)
            }
            Event::Log(mut log) => {
                log.vertex = again(&log.vertex);
                Event::Log(log)
            }
            Event::Warning(mut warning) => {
                warning.vertex = again(&warning.vertex);
                Event::Warning(warning)
            }
        });
    }
}
