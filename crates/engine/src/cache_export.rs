//! The build cache, as a build leaves it to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;
use exporter::InlineCache;
use frontend::{BuildResult, Ref, Refs};
use futures_util::future::try_join_all;
use oci::Descriptor;
use progress::{Sink, Step};
use refs::{Compression, LayerBlob};
use remote_cache::{
    Clients, Export, ExportKind, ExportMode, Gathered, Imported, Known, LocalTarget, RegistryTarget, Sources,
    Target,
};

use crate::bridge::BuildBridge;
use crate::request::BuildRequest;

/// What the client is told of the manifest of a cache.
const MANIFEST: &str = "cache.manifest";

/// The cache exports of a request.
pub fn resolve(request: &BuildRequest) -> Result<Vec<Export>> {
    Export::parse_all(request.cache_exports.iter().map(|e| (e.kind.as_str(), &e.attrs)))
}

/// Whether a cache goes into the configs of images.
pub fn wants_inline(exports: &[Export]) -> bool {
    exports.iter().any(|export| export.kind == ExportKind::Inline)
}

/// The refs of a result by platform; one of no platform stands alone under an empty name.
fn refs(result: &BuildResult) -> BTreeMap<String, Ref> {
    match &result.refs {
        Refs::None => BTreeMap::new(),
        Refs::Single(one) => BTreeMap::from([(String::new(), one.clone())]),
        Refs::Map(map) => map.clone(),
    }
}

/// Exports the keys of a result to all places that are not images.
pub async fn run(
    exports: &[Export],
    bridge: &BuildBridge,
    result: &BuildResult,
    sink: &Arc<dyn Sink>,
) -> Result<BTreeMap<String, String>> {
    let targets = exports
        .iter()
        .enumerate()
        .filter_map(|(index, export)| Some((index, export, target(export, bridge)?)));
    let written = targets.map(|(index, export, mut target)| async move {
        let key = format!("{}:cache:{index}", bridge.build_id());
        let step = Step::start(Arc::clone(sink), &key, target.name());
        target.show_in(&step);
        let written = write(export, &*target, bridge, result, &step).await;
        match step.finish(written) {
            Err(e) if export.ignore_error && !e.is_canceled() => {
                tracing::warn!("a cache is not exported: {e}");
                Ok(None)
            }
            written => {
                let is_local = matches!(export.kind, ExportKind::Local { .. });
                written.map(|manifest| manifest.map(|manifest| (is_local, manifest)))
            }
        }
    });
    let mut manifests: Vec<_> = try_join_all(written).await?.into_iter().flatten().collect();
    // A client needs it for the index of its folder.
    manifests.sort_by_key(|(is_local, _)| *is_local);
    let last = manifests.pop().map(|(_, manifest)| manifest);
    let text = |manifest: &Descriptor| String::from_utf8(oci::json::to_vec(manifest)).ok();
    Ok(last.as_ref().and_then(text).map(|json| (MANIFEST.to_owned(), json)).into_iter().collect())
}

async fn write(
    export: &Export,
    target: &dyn Target,
    bridge: &BuildBridge,
    result: &BuildResult,
    step: &Step,
) -> Result<Option<Descriptor>> {
    let refs: Vec<Ref> = result.all_refs().into_iter().cloned().collect();
    let gathered = gather(bridge, &refs, export.mode, export.compression, step);
    let gathered = step.part("preparing build cache for export", gathered).await?;
    step.part("sending cache export", remote_cache::write(export, target, &gathered, step)).await
}

/// Where a cache goes that is not inside an image.
fn target(export: &Export, bridge: &BuildBridge) -> Option<Box<dyn Target>> {
    let (importer, session) = (&bridge.parts().importer, &bridge.context().session);
    Some(match &export.kind {
        ExportKind::Registry { reference, insecure } => {
            let registry = importer.registry(session);
            let registry = if *insecure { registry.insecure() } else { registry };
            Box::new(RegistryTarget { registry, reference: reference.clone() })
        }
        ExportKind::Local { dest } => Box::new(LocalTarget {
            sessions: importer.sessions().clone(),
            session: session.clone(),
            dest: dest.clone(),
        }),
        ExportKind::Inline => return None,
    })
}

/// Gathers the keys of some refs.
async fn gather(
    bridge: &BuildBridge,
    refs: &[Ref],
    mode: ExportMode,
    compression: Compression,
    step: &Step,
) -> Result<Gathered> {
    let mut known: Vec<Known> = Vec::new();
    for reference in refs {
        known.extend(bridge.lineage(reference).await);
    }
    let caches: Vec<Arc<Imported>> = bridge.caches().imported().await;
    let (parts, session) = (bridge.parts(), bridge.context().session.clone());
    let sources = Sources {
        keys: &*parts.records.keys,
        results: &*parts.records.results,
        caches: &caches,
        clients: Arc::new(Client(session)),
        step: step.clone(),
        lease: parts.refs.content().lease(),
        content: parts.refs.content().clone(),
    };
    sources.gather(&known, mode, compression).await
}

/// The client of the build.
struct Client(String);

impl Clients for Client {
    fn session_ids(&self) -> Vec<String> {
        vec![self.0.clone()]
    }
}

/// The cache that goes into images.
pub struct Inline {
    pub bridge: BuildBridge,
    pub refs: BTreeMap<String, Ref>,
    pub sink: Arc<dyn Sink>,
}

impl Inline {
    pub fn new(bridge: &BuildBridge, result: &BuildResult, sink: &Arc<dyn Sink>) -> Self {
        Inline { bridge: bridge.clone(), refs: refs(result), sink: sink.clone() }
    }
}

#[async_trait]
impl InlineCache for Inline {
    async fn records(
        &self,
        platform: &str,
        layers: &[LayerBlob],
        compression: Compression,
    ) -> Result<Option<Vec<u8>>> {
        let Some(reference) = self.refs.get(platform).or_else(|| self.refs.get("")) else { return Ok(None) };
        let step = Step::attach(self.sink.clone(), oci::Digest::of(self.bridge.build_id()));
        let refs = std::slice::from_ref(reference);
        let gathered = gather(&self.bridge, refs, ExportMode::Min, compression, &step).await?;
        Ok(remote_cache::records_for(&gathered.chains, layers))
    }
}
