//! Where an imported cache lies.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use futures_util::StreamExt as _;
use oci::{Descriptor, Digest};
use progress::Step;
use refs::{BlobProvider, BlobStream};

/// The clients of the builds that a result is loaded for. Builds come and go while it is used.
pub trait Clients: Send + Sync + 'static {
    /// Their sessions, as they are now.
    fn session_ids(&self) -> Vec<String>;
}

/// Gives the blobs of one cache.
#[async_trait]
pub trait Place: Send + Sync + 'static {
    /// The bytes of the manifest.
    async fn manifest(&self) -> Result<Vec<u8>>;

    /// Opens a blob for the build that imports.
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream>;

    /// Those of the blobs that are known not to be there.
    async fn missing(&self, _blobs: &[Descriptor]) -> Result<HashSet<Digest>> {
        Ok(HashSet::new())
    }

    /// Opens blobs for whoever needs them, and tells in a step what has to be waited for.
    fn provider(&self, clients: Arc<dyn Clients>, step: &Step) -> Arc<dyn BlobProvider>;

    /// Adds to a layer what others may want to know of where it came from.
    fn annotate(&self, _layer: &mut Descriptor) {}
}

/// The bytes of a small blob, checked.
pub async fn read(place: &dyn Place, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let digest = &blob.digest;
    if blob.size > limit {
        return Err(Error::user(format!("blob {digest} is too large ({} > {limit})", blob.size)));
    }
    let bytes = collect(place.open(blob).await?, digest, limit).await?;
    let found = Digest::of(&bytes);
    if digest.algorithm() == "sha256" && found != *digest {
        return Err(Error::environment(format!("unexpected digest: got {found}, expected {digest}")));
    }
    Ok(bytes)
}

/// All bytes of a stream, up to a limit.
pub async fn collect(mut stream: BlobStream, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await.transpose()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(Error::user(format!("blob {digest} is larger than {limit} bytes")));
        }
    }
    Ok(bytes)
}
