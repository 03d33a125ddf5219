//! Exports the keys of a build's results, with layers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::{Descriptor, Digest, Index, Manifest, media};
use progress::Step;
use refs::{Compression, ImmutableRef, LayerBlob};
use registry::{BlobSource, ByteStream};
use solver::{KeyStore, Lineage, RemoteKeys as _, ResultId, ResultStore};

use crate::chains::{Chains, Layers};
use crate::config::MEDIA_TYPE;
use crate::import::Imported;
use crate::manifest::{CREATED_AT, UNCOMPRESSED};
use crate::options::{Export, ExportMode};
use crate::place::Clients;
use crate::target::Target;
use crate::walk::Walk;

/// Blobs on their way at once.
const PARALLEL: usize = 4;

/// A result with all that it is made of, as the solver knows it.
pub type Known = Vec<Lineage<Option<ImmutableRef>>>;

/// Where keys and results are found.
pub struct Sources<'a> {
    pub keys: &'a dyn KeyStore,
    pub results: &'a dyn ResultStore<Option<ImmutableRef>>,
    /// The caches that the build looked into.
    pub caches: &'a [Arc<Imported>],
    /// The client of the build.
    pub clients: Arc<dyn Clients>,
    /// Shows what is fetched.
    pub step: Step,
    /// Holds the blobs that are made.
    pub lease: content::Lease,
    pub content: content::Store,
}

/// What is to be exported: keys, and blobs that can be read.
pub struct Gathered {
    pub chains: Chains,
    blobs: Arc<Blobs>,
}

/// Which results of an output go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    Nothing,
    /// Those of which there are layers.
    Ready,
    /// The topmost ones, with layers made where there are none.
    Topmost,
    All,
}

impl From<ExportMode> for Want {
    fn from(mode: ExportMode) -> Self {
        match mode {
            ExportMode::Min => Want::Topmost,
            ExportMode::Max => Want::All,
        }
    }
}

impl Sources<'_> {
    /// Gathers the keys of results, and makes the layers that are wanted.
    pub async fn gather(
        &self,
        results: &[Known],
        mode: ExportMode,
        compression: Compression,
    ) -> Result<Gathered> {
        let mut walk = Walk::new(self.keys, self.caches);
        let mut blobs = HashMap::new();
        for known in results {
            let mut wants = vec![Want::Nothing; known.len()];
            if let Some(last) = wants.last_mut() {
                *last = mode.into();
            }
            // What an output is used for is known before itself is come to.
            for (at, output) in known.iter().enumerate().rev() {
                let layers = self.layers(output, wants[at], compression).await?;
                let below = match (wants[at], &layers) {
                    (Want::Topmost, Some(_)) => Want::Ready,
                    (want, _) => want,
                };
                for input in &output.inputs {
                    wants[*input] = wants[*input].max(below);
                }
                let layers = layers.map(|(layers, sources)| {
                    blobs.extend(sources);
                    layers
                });
                walk.add(&output.keys, layers)?;
            }
        }
        let blobs =
            Arc::new(Blobs { content: self.content.clone(), lease: self.lease.clone(), layers: blobs });
        Ok(Gathered { chains: walk.finish(), blobs })
    }

    /// The layers of an output, if it has some that are wanted. Sources have none: whoever has the key can fetch them.
    async fn layers(
        &self,
        output: &Lineage<Option<ImmutableRef>>,
        want: Want,
        compression: Compression,
    ) -> Result<Option<(Layers, Vec<(Digest, Fetch)>)>> {
        if want == Want::Nothing || output.inputs.is_empty() || output.export_cache == Some(false) {
            return Ok(None);
        }
        let Some((value, created_at)) = self.value(output).await? else { return Ok(None) };
        let blobs = match want {
            Want::Ready => match value.ready_blobs(compression, &self.lease) {
                Some(blobs) => blobs,
                None => return Ok(None),
            },
            _ => value.blobs(compression, &self.lease).await?,
        };
        let layers = value.layers();
        let descriptors = blobs.iter().zip(&layers).map(|(blob, layer)| labelled(blob, layer)).collect();
        let fetches = blobs.into_iter().zip(layers);
        let sources = fetches.map(|(blob, layer)| (blob.descriptor.digest.clone(), Fetch { blob, layer }));
        Ok(Some((Layers { descriptors, created_at }, sources.collect())))
    }

    /// The result of an output that is not scratch: the one that the build uses, else the newest own one, else one of a
    /// cache that the build looked into.
    async fn value(
        &self,
        output: &Lineage<Option<ImmutableRef>>,
    ) -> Result<Option<(ImmutableRef, jiff::Timestamp)>> {
        let mut own = Vec::new();
        for key in output.keys.iter().filter(|key| !key.is_foreign()) {
            own.extend(self.keys.records(key)?);
        }
        own.sort_by_key(|record| std::cmp::Reverse(record.created_at));
        if let Some(value) = &output.value {
            let Some(value) = value else { return Ok(None) };
            let record = own.iter().find(|record| record.result == ResultId(value.id().to_owned()));
            return Ok(Some((value.clone(), record.map_or_else(|| value.created_at(), |r| r.created_at))));
        }
        for record in own {
            match self.results.load(&record.result).await? {
                Some(Some(value)) => return Ok(Some((value, record.created_at))),
                Some(None) => return Ok(None),
                None => {}
            }
        }
        Ok(self.foreign_value(output))
    }

    fn foreign_value(
        &self,
        output: &Lineage<Option<ImmutableRef>>,
    ) -> Option<(ImmutableRef, jiff::Timestamp)> {
        let records = output.keys.iter().flat_map(|key| {
            self.caches.iter().flat_map(move |cache| cache.records(key).into_iter().map(move |r| (cache, r)))
        });
        let mut records: Vec<_> = records.collect();
        records.sort_by_key(|(_, record)| std::cmp::Reverse(record.created_at));
        records.into_iter().find_map(|(cache, record)| {
            let value = cache.load(&record.result, self.clients.clone(), &self.step)?;
            Some((value, record.created_at))
        })
    }
}

/// A layer as a cache names it.
fn labelled(blob: &LayerBlob, layer: &ImmutableRef) -> Descriptor {
    let mut descriptor = blob.descriptor.clone();
    descriptor.annotations.insert(UNCOMPRESSED.into(), blob.diff_id.to_string());
    descriptor.annotations.insert(CREATED_AT.into(), layer.created_at().to_string());
    descriptor
}

/// A layer, and the state that can bring it.
struct Fetch {
    blob: LayerBlob,
    layer: ImmutableRef,
}

/// The layers of an export. Those that are still to be fetched are, once somebody reads them.
struct Blobs {
    content: content::Store,
    lease: content::Lease,
    layers: HashMap<Digest, Fetch>,
}

#[async_trait]
impl BlobSource for Blobs {
    async fn open(&self, blob: &Descriptor, offset: u64) -> Result<ByteStream> {
        let fetch = self
            .layers
            .get(&blob.digest)
            .ok_or_else(|| Error::not_found(format!("missing blob {}", blob.digest)))?;
        fetch.layer.fetch_blob(&fetch.blob, &self.lease).await?;
        BlobSource::open(&self.content, blob, offset).await
    }
}

/// Bytes in memory.
struct Small(Bytes);

#[async_trait]
impl BlobSource for Small {
    async fn open(&self, _: &Descriptor, offset: u64) -> Result<ByteStream> {
        let rest = self.0.slice(usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len())..);
        Ok(Box::pin(stream::iter([Ok(rest)])))
    }
}

/// Writes a cache. Gives the descriptor of its manifest; nothing where there is no layer to be written.
pub async fn write(
    export: &Export,
    target: &dyn Target,
    gathered: &Gathered,
    step: &Step,
) -> Result<Option<Descriptor>> {
    let (config, blobs) = gathered.chains.config();
    if config.layers.is_empty() {
        tracing::warn!("failed to match any cache with layers");
        step.part("skipping cache export for empty result", async { Ok(()) }).await?;
        return Ok(None);
    }
    write_layers(target, gathered, &blobs, step).await?;
    let mut named: Vec<Descriptor> = Vec::new();
    for layer in &config.layers {
        if let Some(descriptor) = blobs.get(&layer.blob) {
            named.push(as_named(descriptor, export.oci_types));
        }
    }
    let bytes = Bytes::from(oci::json::to_vec(&config));
    let config = Descriptor::of(MEDIA_TYPE, &bytes);
    let written = target.put_blob(&config, Arc::new(Small(bytes)));
    step.part(&format!("writing config {}", config.digest), written).await?;
    let (media_type, bytes) = manifest(export, config, named);
    let descriptor = Descriptor::of(media_type, &bytes);
    let what = if export.image_manifest { "cache image manifest" } else { "cache manifest" };
    let written = target.put_manifest(&descriptor, bytes);
    step.part(&format!("writing {what} {}", descriptor.digest), written).await?;
    Ok(Some(descriptor))
}

async fn write_layers(
    target: &dyn Target,
    gathered: &Gathered,
    blobs: &BTreeMap<Digest, Descriptor>,
    step: &Step,
) -> Result<()> {
    let writes: Vec<_> = blobs
        .values()
        .map(|blob| async move {
            let written = target.put_blob(blob, gathered.blobs.clone());
            step.part(&format!("writing layer {}", blob.digest), written).await
        })
        .collect();
    stream::iter(writes).buffer_unordered(PARALLEL).try_collect().await
}

/// The descriptor of a layer in the manifest: of the right family, and without what says where it came from.
fn as_named(blob: &Descriptor, oci_types: bool) -> Descriptor {
    let mut named = Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size);
    if let Some(compression) = media::layer_compression(&blob.media_type) {
        named.media_type = media::layer(compression, oci_types).into();
    }
    let kept = blob.annotations.iter().filter(|(key, _)| !key.starts_with("containerd.io/distribution."));
    named.annotations = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    named
}

fn manifest(export: &Export, config: Descriptor, mut layers: Vec<Descriptor>) -> (&'static str, Bytes) {
    if export.image_manifest {
        let manifest = Manifest::new(media::OCI_MANIFEST, config, layers);
        return (media::OCI_MANIFEST, oci::json::to_vec(&manifest).into());
    }
    layers.push(config);
    let media_type = if export.oci_types { media::OCI_INDEX } else { media::DOCKER_LIST };
    (media_type, oci::json::to_vec(&Index::new(media_type, layers)).into())
}
