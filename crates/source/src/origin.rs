//! Where an image comes from: a registry, or a layout that the client keeps.

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt};
use futures_util::StreamExt;
use oci::{Descriptor, Digest, Reference};
use refs::{BlobProvider, BlobStream};
use serde::Deserialize;
use session::Session;

/// Bytes of a manifest or config.
const SMALL: u64 = 8 << 20;

/// Names an image, and gives its blobs.
#[async_trait]
pub trait Origin: BlobProvider {
    /// What the name stands for now: an index or a manifest.
    async fn resolve(&self) -> Result<Descriptor>;
}

/// A manifest, index or config: from the content store, or fetched into it.
pub async fn small(content: &content::Store, from: &dyn Origin, blob: &Descriptor) -> Result<Vec<u8>> {
    let lease = content.lease();
    if lease.hold(&blob.digest) {
        return content.read(&blob.digest);
    }
    if blob.size > SMALL {
        return Err(Error::user(format!(
            "{} of {} bytes is too large for a manifest or config",
            blob.digest, blob.size
        )));
    }
    let mut bytes = Vec::with_capacity(blob.size as usize);
    let mut stream = from.open(blob).await?;
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > SMALL {
            return Err(Error::user(format!("{} is larger than it should be", blob.digest)));
        }
    }
    let found = Digest::of(&bytes);
    if blob.digest.algorithm() == "sha256" && found != blob.digest {
        return Err(Error::environment(format!("unexpected digest: got {found}, expected {}", blob.digest)));
    }
    content.write(&bytes)?;
    Ok(bytes)
}

/// The media type that a manifest names, or that its shape tells.
pub fn media_type_of(bytes: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        #[serde(default)]
        media_type: String,
        manifests: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        schema_version: u32,
    }
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|e| Error::user(format!("invalid image manifest: {e}")))?;
    if shape.schema_version == 1 {
        return Err(Error::user("images of schema version 1 are no longer read")
            .hint("push the image again with a current tool"));
    }
    Ok(match (shape.media_type.as_str(), shape.manifests) {
        ("", Some(_)) => oci::media::OCI_INDEX.into(),
        ("", None) => oci::media::OCI_MANIFEST.into(),
        (named, _) => named.into(),
    })
}

/// A layout in a folder of the client.
pub struct Layout {
    pub session: Session,
    pub store: String,
    pub reference: Reference,
}

#[async_trait]
impl Origin for Layout {
    async fn resolve(&self) -> Result<Descriptor> {
        let digest = self.reference.digest().ok_or_else(|| {
            Error::user(format!("oci-layout reference `{}` has no digest", self.reference))
                .hint("name the image as `oci-layout://FOLDER@sha256:…`, or by a tag that the folder's index.json has")
        })?;
        let content = self.session.content(&self.store)?;
        let size = content.size(digest).await?;
        let size = size.ok_or_else(|| Error::not_found(format!("content digest {digest}: not found")))?;
        let mut descriptor = Descriptor::new("", digest.clone(), size);
        let mut bytes = Vec::new();
        let mut stream = self.open(&descriptor).await?;
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > SMALL {
                return Err(Error::user(format!("{digest} is larger than a manifest can be")));
            }
        }
        descriptor.media_type = media_type_of(&bytes)?;
        Ok(descriptor)
    }
}

#[async_trait]
impl BlobProvider for Layout {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let content = self.session.content(&self.store)?;
        let stream = content.read(&blob.digest, 0).await;
        Ok(Box::pin(
            stream.with_context(|| format!("failed to read {} from the client's layout", blob.digest))?,
        ))
    }
}

/// Shares an origin with the layers that it provides.
pub type SharedOrigin = Arc<dyn Origin>;
