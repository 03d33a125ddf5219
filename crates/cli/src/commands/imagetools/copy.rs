//! Images from one repository or folder to another.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::{Descriptor, Digest, Index, Manifest, Reference, media};
use registry::{BlobSource, ByteStream, PushBlob};

use super::load::parse;
use super::location::Location;
use super::tools::Tools;

/// Kind of a manifest that tells about another one.
pub(super) const ATTESTATION: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// Kinds of manifests that go along with what they hang on: what is told of it, and signatures.
const ALONG: [&str; 3] = [
    ATTESTATION,
    "application/vnd.dev.cosign.artifact.sig.v1+json",
    "application/vnd.dev.sigstore.bundle.v0.3+json",
];
pub(super) const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
pub(super) const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Blobs on their way at once.
const PARALLEL: usize = 4;

/// The copying into one repository or folder.
pub(super) struct Copying<'a> {
    pub tools: &'a Arc<Tools>,
    pub to: &'a Location,
    /// What was copied so far.
    pub done: Mutex<HashSet<Digest>>,
    /// What an index names.
    pub named: Mutex<HashSet<Digest>>,
    /// What hangs on what was copied, on which manifest, and where it came from.
    pub hanging: Mutex<Vec<(Descriptor, Digest, Location)>>,
}

impl Copying<'_> {
    /// Copies a manifest or an index with all below it, and with what hangs on it. It has no name then but its digest.
    pub(super) fn copy<'b>(
        &'b self,
        from: &'b Location,
        descriptor: &'b Descriptor,
    ) -> BoxFuture<'b, Result<()>> {
        Box::pin(async move {
            if !self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(descriptor.digest.clone()) {
                return Ok(());
            }
            let bytes = self.tools.manifest(from, descriptor).await?;
            if media::is_index(&descriptor.media_type) {
                let index: Index = parse(&bytes)?;
                let digests = index.manifests.iter().map(|manifest| manifest.digest.clone());
                self.named.lock().unwrap_or_else(PoisonError::into_inner).extend(digests);
                for manifest in &index.manifests {
                    self.copy(from, manifest).await?;
                }
            } else {
                let manifest: Manifest = parse(&bytes)?;
                let blobs: Vec<_> = manifest.layers.into_iter().chain([manifest.config]).collect();
                let blobs = blobs.iter().filter(|blob| !media::is_foreign(&blob.media_type));
                let copies = Vec::from_iter(blobs.map(|blob| self.blob(from, blob)));
                stream::iter(copies).buffer_unordered(PARALLEL).try_collect::<()>().await?;
            }
            self.put(None, descriptor, bytes).await?;
            for referrer in self.tools.referrers(from, &descriptor.digest).await? {
                if ALONG.contains(&referrer.artifact_type.as_str()) {
                    self.copy(from, &referrer).await?;
                    let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
                    hanging.push((referrer, descriptor.digest.clone(), from.clone()));
                }
            }
            Ok(())
        })
    }

    /// Lists what hangs on what was copied, and is in no index: in a folder, or where a registry keeps no list itself.
    pub(super) async fn hang(&self) -> Result<()> {
        let hanging = std::mem::take(&mut *self.hanging.lock().unwrap_or_else(PoisonError::into_inner));
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (referrer, subject, from) in
            hanging.iter().filter(|(referrer, ..)| !named.contains(&referrer.digest))
        {
            match self.to {
                Location::Registry(to) => {
                    let bytes = self.tools.manifest(from, referrer).await?;
                    self.tools.registry.push_referrer(to, subject, referrer, bytes).await?;
                }
                Location::Layout(to) => self.tools.folder(to).hang(referrer, subject)?,
            }
        }
        Ok(())
    }

    async fn blob(&self, from: &Location, blob: &Descriptor) -> Result<()> {
        match self.to {
            Location::Registry(to) => {
                let mount_from = match from {
                    Location::Registry(from) if from.host() == to.host() && from.path() != to.path() => {
                        vec![from.path().to_owned()]
                    }
                    _ => Vec::new(),
                };
                let push = PushBlob {
                    reference: to.clone(),
                    descriptor: blob.clone(),
                    source: Arc::new(Blobs { tools: Arc::clone(self.tools), at: from.clone() }),
                    mount_from,
                    unasked: false,
                    on_bytes: Arc::new(|_| {}),
                };
                self.tools.registry.push_blob(&push).await.map(drop)
            }
            Location::Layout(to) => {
                let folder = self.tools.folder(to);
                if folder.has(&blob.digest) {
                    return Ok(());
                }
                folder.receive(blob, self.tools.blob(from, blob).await?).await
            }
        }
    }

    /// Puts a manifest, whose blobs are all there, under a name or no name.
    pub(super) async fn put(
        &self,
        name: Option<&Location>,
        descriptor: &Descriptor,
        bytes: Bytes,
    ) -> Result<()> {
        match (self.to, name) {
            (Location::Registry(to), None) => {
                let name = to.clone().with_tag(None).with_digest(descriptor.digest.clone());
                self.push(&name, descriptor, bytes).await
            }
            (_, Some(Location::Registry(name))) => self.push(name, descriptor, bytes).await,
            (Location::Layout(to), None) => self.tools.folder(to).add(&bytes),
            (_, Some(Location::Layout(name))) => {
                if let Some(wanted) = name.digest.as_ref().filter(|wanted| **wanted != descriptor.digest) {
                    return Err(Error::user(format!(
                        "it was to have the digest {wanted}, and has {}",
                        descriptor.digest
                    )));
                }
                let folder = self.tools.folder(name);
                folder.add(&bytes)?;
                folder.tag(descriptor, name.tag.as_deref())
            }
        }
    }

    async fn push(&self, name: &Reference, descriptor: &Descriptor, bytes: Bytes) -> Result<()> {
        self.tools.registry.push_manifest(name, &descriptor.media_type, bytes).await.map(drop)
    }
}

/// The blobs of another place.
struct Blobs {
    tools: Arc<Tools>,
    at: Location,
}

#[async_trait]
impl BlobSource for Blobs {
    async fn open(&self, blob: &Descriptor, offset: u64) -> Result<ByteStream> {
        let mut passed_over = offset;
        let bytes = self.tools.blob(&self.at, blob).await?;
        Ok(Box::pin(bytes.map_ok(move |mut piece| {
            let skip = piece.len().min(usize::try_from(passed_over).unwrap_or(usize::MAX));
            passed_over -= skip as u64;
            piece.split_off(skip)
        })))
    }
}
