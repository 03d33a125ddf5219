//! Layers as blobs, made when somebody needs them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use errdefs::{Error, Result, ResultExt as _};
use futures_util::future::try_join_all;
use oci::media::{self, LayerCompression};
use oci::{Descriptor, Digest};

use crate::clamp::clamp;
use crate::compress::{Reader, estargz, pack};
use crate::node::{ImmutableRef, Node, Parents};
use crate::record::{Clamped, Kind, LayerBlob};
use crate::refs::{Inner, blocking, threads};

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compression {
    pub kind: CompressionKind,
    /// The usual one of the kind where there is none.
    pub level: Option<i32>,
    /// Blobs that are packed in another way are packed again; else they serve as they are.
    pub force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CompressionKind {
    Uncompressed,
    #[default]
    Gzip,
    Zstd,
    /// gzip that can be read file by file.
    Estargz,
}

impl Compression {
    pub fn gzip() -> Self {
        Compression { kind: CompressionKind::Gzip, level: None, force: false }
    }

    pub fn zstd() -> Self {
        Compression { kind: CompressionKind::Zstd, level: None, force: false }
    }

    pub fn uncompressed() -> Self {
        Compression { kind: CompressionKind::Uncompressed, level: None, force: false }
    }

    /// The name under which blobs of this packing are remembered.
    pub(crate) fn key(&self) -> String {
        match self.kind {
            CompressionKind::Uncompressed => "uncompressed".into(),
            CompressionKind::Gzip => format!("gzip:{}", self.level()),
            CompressionKind::Zstd => format!("zstd:{}", self.level()),
            CompressionKind::Estargz => format!("estargz:{}", self.level()),
        }
    }

    /// The level; one that the kind does not have counts as the nearest.
    pub(crate) fn level(&self) -> i32 {
        match self.kind {
            CompressionKind::Uncompressed => 0,
            CompressionKind::Gzip | CompressionKind::Estargz => {
                self.level.filter(|l| *l >= 0).unwrap_or(3).clamp(0, 9)
            }
            CompressionKind::Zstd => self.level.filter(|l| *l >= 0).unwrap_or(3).clamp(1, 19),
        }
    }

    fn media_type(&self) -> &'static str {
        media::layer(self.kind.into(), true)
    }

    /// Whether a blob of this media type serves.
    fn accepts(&self, blob: &Descriptor) -> bool {
        !self.force
            || media::layer_compression(&blob.media_type) == Some(self.kind.into())
                && is_estargz(blob) == (self.kind == CompressionKind::Estargz)
    }
}

impl Compression {
    /// Reads the attributes `compression`, `compression-level` and `force-compression`.
    pub fn parse(kind: Option<&str>, level: Option<&str>, force: Option<&str>) -> Result<Self> {
        let kind = match kind {
            None | Some("gzip") => CompressionKind::Gzip,
            Some("uncompressed") => CompressionKind::Uncompressed,
            Some("zstd") => CompressionKind::Zstd,
            Some("estargz") => CompressionKind::Estargz,
            Some(other) => return Err(Error::user(format!("unsupported compression type {other}"))),
        };
        let force = match force {
            None => false,
            Some("") => true,
            Some(value) => oci::parse_bool(value).ok_or_else(|| {
                Error::user(format!("non-bool value {value} specified for force-compression"))
            })?,
        };
        let level = level.map(|value| {
            value.parse().map_err(|e| {
                Error::user(format!("non-integer value {value} specified for compression-level: {e}"))
            })
        });
        Ok(Compression { kind, level: level.transpose()?, force })
    }
}

impl Default for Compression {
    fn default() -> Self {
        Compression::gzip()
    }
}

impl From<CompressionKind> for LayerCompression {
    fn from(kind: CompressionKind) -> Self {
        match kind {
            CompressionKind::Uncompressed => LayerCompression::Uncompressed,
            CompressionKind::Gzip | CompressionKind::Estargz => LayerCompression::Gzip,
            CompressionKind::Zstd => LayerCompression::Zstd,
        }
    }
}

/// Whether a blob tells that it has a table of its files.
fn is_estargz(blob: &Descriptor) -> bool {
    blob.annotations.contains_key(estargz::TABLE_DIGEST)
}

impl ImmutableRef {
    /// The layers as blobs, lowest first. Those that there are no blobs of are made, in the content store; blobs that
    /// can be fetched are not: see [`ImmutableRef::fetch_blobs`]. `lease` holds them.
    pub async fn blobs(&self, compression: Compression, lease: &content::Lease) -> Result<Vec<LayerBlob>> {
        let layers = self.layers();
        let refs = self.refs()?;
        try_join_all(layers.iter().map(|layer| refs.blob(layer.node(), compression, lease))).await
    }

    /// The same without making any: `None` for a layer that there is no blob of yet.
    pub fn known_blobs(&self, compression: Compression) -> Vec<Option<LayerBlob>> {
        self.layers().iter().map(|layer| known_blob(layer.node(), compression)).collect()
    }

    /// All layers as blobs that are there or can be fetched, lowest first; `None` where one would have to be made. `lease`
    /// holds those that are there.
    pub fn ready_blobs(&self, compression: Compression, lease: &content::Lease) -> Option<Vec<LayerBlob>> {
        let refs = self.refs().ok()?;
        self.layers().iter().map(|layer| refs.usable(layer.node(), compression, lease)).collect()
    }

    /// The blobs of the layers again, with no file later than `latest`, in seconds since 1970. The lowest `keep` layers stay
    /// as they are.
    pub async fn clamped_blobs(
        &self,
        blobs: &[LayerBlob],
        keep: usize,
        latest: i64,
        compression: Compression,
        lease: &content::Lease,
    ) -> Result<Vec<LayerBlob>> {
        let (refs, layers) = (self.refs()?, self.layers());
        let made = blobs
            .iter()
            .zip(&layers)
            .skip(keep)
            .map(|(blob, layer)| refs.clamped_blob(layer.node(), blob, latest, compression, lease));
        let mut all = blobs[..keep.min(blobs.len())].to_vec();
        all.extend(try_join_all(made).await?);
        Ok(all)
    }

    /// Brings the blob of the topmost layer into the content store, if it is not there.
    pub async fn fetch_blob(&self, blob: &LayerBlob, lease: &content::Lease) -> Result<()> {
        self.refs()?.fetch(self.node(), blob, lease).await
    }

    /// Brings the blobs of the layers into the content store where they are not there, but for those that nobody needs.
    pub async fn fetch_blobs(
        &self,
        blobs: &[LayerBlob],
        unneeded: &BTreeSet<Digest>,
        lease: &content::Lease,
    ) -> Result<()> {
        let (refs, layers) = (self.refs()?, self.layers());
        let needed =
            blobs.iter().zip(&layers).filter(|(blob, _)| !unneeded.contains(&blob.descriptor.digest));
        let fetches = needed.map(|(blob, layer)| refs.fetch(layer.node(), blob, lease));
        try_join_all(fetches).await.map(drop)
    }
}

/// A blob that serves, without making one.
fn known_blob(node: &Node, compression: Compression) -> Option<LayerBlob> {
    let record = node.record();
    let made = record.blobs.get(&compression.key()).cloned();
    let came = match &record.kind {
        Kind::Layer { blob: Some(blob), .. } if compression.accepts(&blob.descriptor) => {
            Some((**blob).clone())
        }
        _ => None,
    };
    came.or(made)
        .or_else(|| record.blobs.values().find(|blob| compression.accepts(&blob.descriptor)).cloned())
}

impl Inner {
    async fn blob(
        self: &Arc<Self>,
        node: &Arc<Node>,
        compression: Compression,
        lease: &content::Lease,
    ) -> Result<LayerBlob> {
        if let Some(blob) = self.usable(node, compression, lease) {
            return Ok(blob);
        }
        if let Some(twin) = &node.twin
            && self.packed(node).is_none()
        {
            return Box::pin(self.blob(twin.node(), compression, lease)).await;
        }
        // Before the lock: unpacking takes it too.
        let source = match self.packed(node) {
            Some(packed) => {
                self.fetch(node, &packed, lease).await?;
                Source::Packed(Box::new(packed))
            }
            None => Source::Trees(self.trees_and_base(node).await?),
        };
        let _one_at_a_time = node.making.lock().await;
        if let Some(blob) = self.usable(node, compression, lease) {
            return Ok(blob);
        }
        let blob = self.pack_source(node, source, compression, lease).await?;
        node.record().blobs.insert(compression.key(), blob.clone());
        self.save(node);
        Ok(blob)
    }

    /// A layer's blob again, with no file later than a time. It is not the layer any more, and does not serve as such: it
    /// is remembered for who asks for the same once more.
    async fn clamped_blob(
        self: &Arc<Self>,
        node: &Arc<Node>,
        blob: &LayerBlob,
        latest: i64,
        compression: Compression,
        lease: &content::Lease,
    ) -> Result<LayerBlob> {
        let (key, of) = (compression.key(), &blob.descriptor.digest);
        let known = node.record().clamped.get(&key).cloned();
        let known = known.filter(|known| known.of == *of && known.latest == latest);
        if let Some(known) = known.filter(|known| lease.hold(&known.blob.descriptor.digest)) {
            return Ok(known.blob);
        }
        self.fetch(node, blob, lease).await?;
        let source = Source::Clamped { packed: Box::new(blob.clone()), latest };
        let made = self.pack_source(node, source, compression, lease).await?;
        let clamped = Clamped { of: of.clone(), latest, blob: made.clone() };
        let earlier = node.record().clamped.insert(key, clamped);
        self.save(node);
        if let Some(earlier) = earlier {
            self.collect_these(&[earlier.blob.descriptor.digest])?;
        }
        Ok(made)
    }

    async fn pack_source(
        self: &Arc<Self>,
        node: &Node,
        source: Source,
        compression: Compression,
        lease: &content::Lease,
    ) -> Result<LayerBlob> {
        let _permit = self.packing.acquire().await.map_err(|_| Error::canceled())?;
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let (refs, lease, stopped) = (self.clone(), lease.clone(), stop.0.clone());
        let made = blocking(move || refs.make_blob(&source, compression, &lease, &stopped)).await;
        made.with_context(|| format!("failed to make a blob of `{}`", node.record().description))
    }

    /// A blob that serves and is there, or can be fetched.
    fn usable(&self, node: &Node, compression: Compression, lease: &content::Lease) -> Option<LayerBlob> {
        let blob = known_blob(node, compression)?;
        let digest = &blob.descriptor.digest;
        (lease.hold(digest) || node.can_be_fetched(digest)).then_some(blob)
    }

    /// A blob of the layer that is packed in another way: cheaper than to read the tree, and the same after unpacking.
    fn packed(&self, node: &Node) -> Option<LayerBlob> {
        let record = node.record();
        let is_there = |blob: &LayerBlob| self.content.contains(&blob.descriptor.digest);
        let came = record.kind.came_as();
        // What a twin came as may never have been fetched.
        let came = came.filter(|blob| {
            node.twin.is_none() || is_there(blob) || node.can_be_fetched(&blob.descriptor.digest)
        });
        // The table of files is of that one packing.
        let serves = |blob: &&LayerBlob| !is_estargz(&blob.descriptor) && is_there(blob);
        came.or_else(|| record.blobs.values().find(serves)).cloned()
    }

    /// The trees that a blob of a layer is made of.
    pub async fn trees_and_base(self: &Arc<Self>, node: &Arc<Node>) -> Result<Trees> {
        let chain = self.chain(node).await?;
        let base = match &node.parents {
            Parents::None => Vec::new(),
            Parents::Layer(parent) => self.chain(parent.node()).await?,
            Parents::Revision(of) => match of.below_layer() {
                Some(below) => self.chain(below.node()).await?,
                None => Vec::new(),
            },
            Parents::Diff { lower: Some(lower), .. } => self.chain(lower.node()).await?,
            Parents::Diff { .. } => Vec::new(),
            Parents::Merge(_) => return Err(Error::internal(format!("`{}` is not one layer", node.id))),
        };
        // Of a difference only what lies on top, of a revision all that is changed, too.
        let layers = match &node.parents {
            Parents::Revision(_) => chain.get(base.len()..).unwrap_or_default(),
            _ => chain.last().map(std::slice::from_ref).unwrap_or_default(),
        };
        if layers.is_empty() {
            return Err(Error::internal(format!("`{}` has no tree", node.id)));
        }
        Ok(Trees { layers: layers.to_vec(), base })
    }

    fn make_blob(
        &self,
        source: &Source,
        compression: Compression,
        lease: &content::Lease,
        stop: &AtomicBool,
    ) -> Result<LayerBlob> {
        let mut ingest = lease.ingest(None)?;
        let open = |blob: &Digest| self.content.open_blob(blob).ok();
        let known = Reader::new(&self.packed_pieces, &open);
        let done = match source {
            Source::Trees(Trees { layers, base }) => {
                let base = self.snapshots.view(base)?;
                let produce = |w: &mut dyn std::io::Write| self.snapshots.write_diff(&base, layers, w);
                pack(compression, threads(), stop, &known, &mut ingest, produce)?
            }
            Source::Packed(packed) => {
                let file = self.content.open_verified(&packed.descriptor.digest)?;
                let mut archive = fsutil::Decoder::detect(file)?;
                let produce = |w: &mut dyn std::io::Write| Ok(std::io::copy(&mut archive, w).map(drop)?);
                let done = pack(compression, threads(), stop, &known, &mut ingest, produce)?;
                if done.stream != packed.diff_id {
                    let text = format!("the layer unpacks to {}, not to {}", done.stream, packed.diff_id);
                    return Err(Error::user(text));
                }
                done
            }
            Source::Clamped { packed, latest } => {
                let file = self.content.open_verified(&packed.descriptor.digest)?;
                let mut archive = fsutil::Decoder::detect(file)?;
                let produce = |w: &mut dyn std::io::Write| clamp(&mut archive, *latest, w);
                pack(compression, threads(), stop, &known, &mut ingest, produce)?
            }
        };
        let size = ingest.written();
        let digest = ingest.commit()?;
        self.packed_pieces.add(&digest, done.places);
        let mut descriptor = Descriptor::new(compression.media_type(), digest, size);
        descriptor.annotations = done.annotations;
        Ok(LayerBlob { descriptor, diff_id: done.diff_id })
    }
}

/// The trees of one layer, and those below it, lowest first.
pub(crate) struct Trees {
    pub layers: Vec<snapshot::LayerId>,
    pub base: Vec<snapshot::LayerId>,
}

/// What a blob is made of.
enum Source {
    Trees(Trees),
    Packed(Box<LayerBlob>),
    /// A blob, with no file later than that.
    Clamped {
        packed: Box<LayerBlob>,
        latest: i64,
    },
}

/// Stops the work when nobody waits for it any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
