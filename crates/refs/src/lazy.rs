//! Layers of which there is only a blob: fetched, stored and unpacked in one pass, many side by side.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use errdefs::{Class, Code, Error, Result, ResultExt as _};
use futures_util::{Stream, StreamExt as _, future::try_join_all};
use oci::{Descriptor, Digest};
use snapshot::LayerId;
use tokio::sync::mpsc;

use crate::node::{ImmutableRef, Node, Parents};
use crate::record::{Kind, LayerBlob, Tree};
use crate::refs::{Inner, blocking};

/// The bytes of a blob, from its start. They are checked by who reads them.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Fetches blobs.
#[async_trait]
pub trait BlobProvider: Send + Sync + 'static {
    /// Opens a blob. The stream ends with an error where it breaks off. Whether it has its digest is not looked at.
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream>;

    /// Hears that what came is not what the digest says. Tells where it came from, if it may come from elsewhere when it is
    /// opened again.
    fn came_wrong(&self, _blob: &Descriptor) -> Option<String> {
        None
    }

    /// Whether it has nothing to give any more, as a client that has left.
    fn is_gone(&self) -> bool {
        false
    }
}

/// Those that can give a layer, and as which blob, the latest last: builds that share a layer come and go.
#[derive(Default)]
pub(crate) struct Providers(Vec<(LayerBlob, Arc<dyn BlobProvider>)>);

impl Providers {
    fn add(&mut self, blob: LayerBlob, provider: Arc<dyn BlobProvider>) {
        self.0.retain(|(_, known)| !known.is_gone());
        let is_same = |(known, _): &(LayerBlob, _)| known.descriptor.digest == blob.descriptor.digest;
        if self.0.iter().filter(|known| is_same(known)).count() == PROVIDERS
            && let Some(oldest) = self.0.iter().position(is_same)
        {
            self.0.remove(oldest);
        }
        self.0.push((blob, provider));
    }

    /// The blob that the latest one gives that is there.
    fn any_blob(&self) -> Option<&LayerBlob> {
        self.0.iter().rfind(|(_, known)| !known.is_gone()).map(|(blob, _)| blob)
    }

    fn can_give(&self, digest: &Digest) -> bool {
        self.latest(digest).is_some_and(|known| !known.is_gone())
    }

    /// The latest that is there and gives this blob; one that is not, where all have left, to say so.
    fn latest(&self, digest: &Digest) -> Option<&Arc<dyn BlobProvider>> {
        let of_blob = || self.0.iter().filter(|(blob, _)| blob.descriptor.digest == *digest);
        of_blob().rfind(|(_, known)| !known.is_gone()).or(of_blob().next_back()).map(|(_, known)| known)
    }
}

impl Node {
    fn providers(&self) -> MutexGuard<'_, Providers> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody can give this blob of it.
    pub(crate) fn can_be_fetched(&self, digest: &Digest) -> bool {
        self.providers().can_give(digest)
    }

    fn provider(&self, digest: &Digest) -> Option<Arc<dyn BlobProvider>> {
        let own = self.providers().latest(digest).cloned();
        own.or_else(|| self.twin.as_ref()?.node().provider(digest))
    }
}

impl Inner {
    /// Whether all that a state is made of is there or can be fetched.
    pub fn is_available(&self, node: &Arc<Node>) -> bool {
        let mut todo = vec![node.clone()];
        while let Some(node) = todo.pop() {
            if node.chain.get().is_some() {
                continue;
            }
            let blob = match &node.record().kind {
                Kind::Layer { tree: None, blob: Some(blob), twin: None, .. } => {
                    Some(blob.descriptor.digest.clone())
                }
                _ => None,
            };
            let can_be_had =
                |blob: Digest| node.providers().any_blob().is_some() || self.content.contains(&blob);
            if blob.is_some_and(|blob| !can_be_had(blob)) {
                return false;
            }
            todo.extend(node.made_of().into_iter().map(|parent| parent.node().clone()));
        }
        true
    }
}

/// How many providers of one blob are kept.
const PROVIDERS: usize = 8;

impl ImmutableRef {
    /// Adds one who can give the layer as this blob.
    pub(crate) fn add_provider(&self, blob: &LayerBlob, provider: Arc<dyn BlobProvider>) {
        if let Some(twin) = &self.node().twin {
            twin.add_provider(blob, provider.clone());
        }
        self.node().providers().add(blob.clone(), provider);
    }
}

impl Inner {
    /// The trees of a state, lowest first, made where they are not there.
    pub async fn chain(self: &Arc<Self>, node: &Arc<Node>) -> Result<Vec<LayerId>> {
        if let Some(chain) = node.chain.get() {
            return Ok(chain.clone());
        }
        // The layers down to what is ready, topmost first. Chains may be long, so this is a loop.
        let mut line = vec![node.clone()];
        let mut chain = loop {
            let lowest = &line[line.len() - 1];
            let below = match &lowest.parents {
                Parents::Merge(_) | Parents::Diff { .. } => {
                    let stacked = Box::pin(self.stack(lowest)).await?;
                    line.pop();
                    break stacked;
                }
                Parents::None => break Vec::new(),
                Parents::Layer(parent) | Parents::Revision(parent) => parent.node().clone(),
            };
            if let Some(chain) = below.chain.get() {
                break chain.clone();
            }
            line.push(below);
        };
        line.reverse();
        let trees = try_join_all(line.iter().map(|node| self.tree(node))).await?;
        for (node, tree) in line.iter().zip(trees) {
            self.settle(&chain, &tree).await?;
            chain.push(tree);
            // Two may come here at once, with the same.
            let _ = node.chain.set(chain.clone());
        }
        Ok(chain)
    }

    /// The tree of one layer, unpacked where it is not there.
    async fn tree(self: &Arc<Self>, node: &Arc<Node>) -> Result<LayerId> {
        // A twin has none itself.
        let node = node.twin.as_ref().map_or(node, ImmutableRef::node);
        if let Some(tree) = tree_of(node)? {
            return Ok(tree);
        }
        let _one_at_a_time = node.making.lock().await;
        if let Some(tree) = tree_of(node)? {
            return Ok(tree);
        }
        let blob = self.unpackable(node)?;
        let _permit = self.unpacking.acquire().await.map_err(|_| Error::canceled())?;
        let unpacked = again_if_wrong(node, &blob.descriptor, || self.unpack(node, blob.clone())).await;
        let unpacked =
            unpacked.with_context(|| format!("failed to extract layer {}", blob.descriptor.digest))?;
        let tree = unpacked.keep();
        if let Kind::Layer { tree: slot, .. } = &mut node.record().kind {
            *slot = Some(Tree(tree.clone()));
        }
        node.recount();
        self.save(node);
        Ok(tree)
    }

    /// A blob to unpack: the one that the layer came as, or that of a twin where only that can be had.
    fn unpackable(&self, node: &Node) -> Result<LayerBlob> {
        let came = node.record().kind.came_as().cloned();
        let came =
            came.ok_or_else(|| Error::internal(format!("`{}` has neither a tree nor a blob", node.id)))?;
        let digest = &came.descriptor.digest;
        if self.content.contains(digest) || node.can_be_fetched(digest) {
            return Ok(came);
        }
        Ok(node.providers().any_blob().cloned().unwrap_or(came))
    }

    /// Gives the directories that a layer left out the attributes that they have below it.
    async fn settle(self: &Arc<Self>, chain: &[LayerId], tree: &LayerId) -> Result<()> {
        if !self.snapshots.is_unsettled(tree) {
            return Ok(());
        }
        let (refs, chain, tree) = (self.clone(), chain.to_vec(), tree.clone());
        blocking(move || refs.snapshots.settle(&tree, &refs.snapshots.view(&chain)?)).await
    }

    async fn unpack(self: &Arc<Self>, node: &Arc<Node>, blob: LayerBlob) -> Result<Unpacked> {
        let lease = self.content.lease();
        let (refs, expected) = (self.clone(), blob.clone());
        if lease.hold(&blob.descriptor.digest) {
            return blocking(move || {
                let file = refs.content.open_verified(&expected.descriptor.digest)?;
                refs.apply(file, &expected)
            })
            .await;
        }
        let (sender, source) = Piped::new();
        let unpacked = tokio::task::spawn_blocking(move || {
            let descriptor = &expected.descriptor;
            let ingest = lease.ingest(Some((descriptor.digest.clone(), descriptor.size)))?;
            let mut tee = Tee { source, ingest };
            let unpacked = refs.apply(&mut tee, &expected);
            match unpacked {
                // Where it came damaged, that is why. What follows the packed archive belongs to the blob.
                Err(e) if e.class() == Class::User => {
                    let rest = io::copy(&mut tee, &mut io::sink());
                    if rest.is_ok() && tee.ingest.written() == descriptor.size {
                        tee.ingest.check()?;
                    }
                    Err(e)
                }
                Err(e) => Err(e),
                Ok(unpacked) => {
                    io::copy(&mut tee, &mut io::sink())?;
                    tee.ingest.commit()?;
                    Ok(unpacked)
                }
            }
        });
        let fed = self.feed(node, &blob.descriptor, sender).await;
        let unpacked = unpacked.await.map_err(|e| Error::internal(format!("unpacking ended: {e}")))?;
        // A stream that broke off is why the archive did.
        fed.and(unpacked)
    }

    /// Sends a blob's bytes on as they come. Where a provider leaves, another goes on.
    async fn feed(&self, node: &Node, blob: &Descriptor, sender: mpsc::Sender<Result<Bytes>>) -> Result<()> {
        let latest = || node.provider(&blob.digest);
        let mut provider = latest().ok_or_else(|| {
            Error::not_found(format!("content digest {}: not found", blob.digest)).hint(
                "the image was pulled by an earlier run and its layers were not fetched then; pull it again",
            )
        })?;
        let mut sent = 0;
        loop {
            let Err(e) = feed_from(&*provider, blob, &sender, &mut sent).await else { return Ok(()) };
            match latest().filter(|next| provider.is_gone() && !next.is_gone()) {
                Some(next) => provider = next,
                None => {
                    // Where nobody reads any more, the reader has an error of its own.
                    let _ = sender.send(Err(e.clone())).await;
                    return Err(e);
                }
            }
        }
    }

    /// Unpacks an archive and checks what it unpacks to.
    fn apply(&self, archive: impl Read, blob: &LayerBlob) -> Result<Unpacked> {
        let applied = self.snapshots.apply(archive)?;
        let unpacked = Unpacked { snapshots: self.snapshots.clone(), tree: Some(applied.layer) };
        if applied.diff_id != blob.diff_id {
            let text = format!("the layer unpacks to {}, not to {}", applied.diff_id, blob.diff_id);
            return Err(Error::user(text).hint("the image's config does not fit its layers"));
        }
        Ok(unpacked)
    }

    /// Brings a blob into the content store, unless it is there.
    pub async fn fetch(
        self: &Arc<Self>,
        node: &Arc<Node>,
        blob: &LayerBlob,
        lease: &content::Lease,
    ) -> Result<()> {
        if lease.hold(&blob.descriptor.digest) {
            return Ok(());
        }
        let _one_at_a_time = node.making.lock().await;
        if lease.hold(&blob.descriptor.digest) {
            return Ok(());
        }
        again_if_wrong(node, &blob.descriptor, || self.fetch_once(node, blob, lease)).await
    }

    async fn fetch_once(&self, node: &Node, blob: &LayerBlob, lease: &content::Lease) -> Result<()> {
        let (sender, mut source) = Piped::new();
        let (descriptor, lease) = (blob.descriptor.clone(), lease.clone());
        let stored = tokio::task::spawn_blocking(move || {
            let mut ingest = lease.ingest(Some((descriptor.digest.clone(), descriptor.size)))?;
            io::copy(&mut source, &mut ingest)?;
            ingest.commit()
        });
        let fed = self.feed(node, &blob.descriptor, sender).await;
        let stored = stored.await.map_err(|e| Error::internal(format!("storing ended: {e}")))?;
        fed.and(stored.map(drop))
    }
}

/// Does something with a blob; once more where other bytes came than its digest says, if who gave those is not the first
/// to be asked again.
async fn again_if_wrong<T, F: Future<Output = Result<T>>>(
    node: &Node,
    blob: &Descriptor,
    work: impl Fn() -> F,
) -> Result<T> {
    let told = |e: Error| {
        let is_wrong = e.code() == Code::FailedPrecondition;
        let from = is_wrong.then(|| node.provider(&blob.digest)?.came_wrong(blob)).flatten();
        (
            from.is_some(),
            from.map_or(e.clone(), |from| e.context(format!("blob {} from {from}", blob.digest))),
        )
    };
    match work().await.map_err(told) {
        Ok(done) => Ok(done),
        Err((true, e)) => {
            tracing::warn!("a blob is fetched again: {e}");
            work().await.map_err(|e| told(e).1)
        }
        Err((false, e)) => Err(e),
    }
}

/// Sends on what a provider gives beyond what was `sent` already.
async fn feed_from(
    provider: &dyn BlobProvider,
    blob: &Descriptor,
    sender: &mpsc::Sender<Result<Bytes>>,
    sent: &mut u64,
) -> Result<()> {
    let mut known = *sent;
    let mut stream = provider.open(blob).await?;
    while let Some(mut chunk) = stream.next().await.transpose()? {
        let again = known.min(chunk.len() as u64);
        known -= again;
        chunk.advance(again as usize);
        *sent += chunk.len() as u64;
        // Where nobody reads any more, the reader has the error.
        if !chunk.is_empty() && sender.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A tree that is removed unless somebody keeps it: who waited for it may be gone.
struct Unpacked {
    snapshots: Arc<snapshot::Store>,
    tree: Option<LayerId>,
}

impl Unpacked {
    fn keep(mut self) -> LayerId {
        self.tree.take().expect("kept once")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Some(tree) = &self.tree
            && let Err(e) = self.snapshots.remove(tree)
        {
            tracing::warn!(%tree, "a layer stays until the next start: {e}");
        }
    }
}

fn tree_of(node: &Node) -> Result<Option<LayerId>> {
    match &node.record().kind {
        Kind::Layer { tree, .. } => Ok(tree.as_ref().map(|tree| tree.0.clone())),
        Kind::Revision { tree, .. } => Ok(Some(tree.0.clone())),
        _ => Err(Error::internal(format!("`{}` is no layer", node.id))),
    }
}

/// A stream of bytes, read by a thread that may block.
struct Piped {
    chunks: mpsc::Receiver<Result<Bytes>>,
    rest: Bytes,
}

impl Piped {
    fn new() -> (mpsc::Sender<Result<Bytes>>, Self) {
        let (sender, chunks) = mpsc::channel(16);
        (sender, Piped { chunks, rest: Bytes::new() })
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(e)) => return Err(io::Error::other(e)),
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.rest.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest.advance(n);
        Ok(n)
    }
}

/// Stores what is read.
struct Tee {
    source: Piped,
    ingest: content::Ingest,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.ingest.write_all(&buffer[..n])?;
        Ok(n)
    }
}
