//! Where an image comes from: a registry, or a layout that the client keeps.

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt};
use futures_util::{StreamExt, TryStreamExt};
use oci::{Descriptor, Digest, Reference, media};
use refs::{BlobProvider, BlobStream};
use session::Session;

/// Most bytes of a manifest or config.
pub const SMALL: u64 = 8 << 20;

/// Begins the name of the label that says in which repositories of a host a blob is.
const SOURCE: &str = "containerd.io/distribution.source.";

/// Names an image, and gives its blobs.
#[async_trait]
pub trait Origin: BlobProvider {
    /// What the name stands for now: an index or a manifest.
    async fn resolve(&self) -> Result<Descriptor>;

    /// The repository that has the blobs, if it is one of a registry.
    fn repository(&self) -> Option<&Reference> {
        None
    }

    /// What hangs on a manifest. A layout has no list of that.
    async fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

/// Shares an origin with the layers that it provides.
pub type SharedOrigin = Arc<dyn Origin>;

/// The label by which others see that a repository has a blob.
pub fn source_label(repository: &Reference) -> String {
    format!("{SOURCE}{}", repository.host())
}

/// A manifest, index or config: from the content store, or fetched into it.
pub async fn small(content: &content::Store, from: &dyn Origin, blob: &Descriptor) -> Result<Vec<u8>> {
    read(content, from, blob, SMALL).await
}

/// A blob of that many bytes at most: from the content store, or fetched into it.
pub async fn read(
    content: &content::Store,
    from: &dyn Origin,
    blob: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>> {
    let (digest, size) = (&blob.digest, blob.size);
    if size > limit {
        return Err(Error::user(format!("{digest} of {size} bytes is too large: {limit} are the most")));
    }
    let lease = content.lease();
    if lease.hold(&blob.digest) {
        return content.read(&blob.digest);
    }
    let bytes = collect(from.open(blob).await?, digest, limit).await?;
    let found = Digest::of(&bytes);
    if blob.digest.algorithm() == "sha256" && found != blob.digest {
        return Err(Error::environment(format!("unexpected digest: got {found}, expected {}", blob.digest)));
    }
    content.write(&bytes)?;
    if let Some(repository) = from.repository() {
        remember(content, &blob.digest, repository)?;
    }
    Ok(bytes)
}

async fn collect(mut stream: BlobStream, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await.transpose()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(Error::user(format!("{digest} is too large: {limit} bytes are the most")));
        }
    }
    Ok(bytes)
}

/// Notes that a repository has a blob.
fn remember(content: &content::Store, digest: &Digest, repository: &Reference) -> Result<()> {
    let label = source_label(repository);
    let known = content.labels(digest)?.remove(&label).unwrap_or_default();
    if known.split(',').any(|path| path == repository.path()) {
        return Ok(());
    }
    let list = if known.is_empty() {
        repository.path().to_owned()
    } else {
        format!("{known},{}", repository.path())
    };
    content.set_labels(digest, &[(&label, Some(&list))])
}

/// What a digest of a repository stands for, where it was fetched from there before. The repository must be the same: to
/// know the digest of what is stored is no right to read it.
pub fn fetched(content: &content::Store, reference: &Reference) -> Result<Option<Descriptor>> {
    let Some(digest) = reference.digest().filter(|d| content.contains(d)) else { return Ok(None) };
    let known = content.labels(digest)?.remove(&source_label(reference)).unwrap_or_default();
    if !known.split(',').any(|path| path == reference.path()) {
        return Ok(None);
    }
    let bytes = content.read(digest)?;
    let media_type = media::detect(&bytes).map_err(|e| Error::user(e.to_string()))?;
    Ok(Some(Descriptor::new(media_type, digest.clone(), bytes.len() as u64)))
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
            Error::user(format!("reference {:?} must have digest", self.reference.to_string()))
                .hint("name the image as `oci-layout://FOLDER@sha256:…`, or by a tag that the folder's index.json has")
        })?;
        let content = self.session.content(&format!("oci:{}", self.store))?;
        let size = content.size(digest).await.context("unable to get info about digest")?;
        let size = size.ok_or_else(|| Error::not_found(format!("content digest {digest}: not found")))?;
        let stream = self.open(&Descriptor::new("", digest.clone(), size)).await?;
        let bytes = collect(stream, digest, SMALL).await.context("unable to read root manifest")?;
        let media_type =
            media::detect(&bytes).map_err(|e| Error::user(e.to_string())).with_context(|| {
                format!("reference {:?} contains neither an index nor a manifest", self.reference.to_string())
            })?;
        Ok(Descriptor::new(media_type, digest.clone(), size))
    }
}

#[async_trait]
impl BlobProvider for Layout {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let content = self.session.content(&format!("oci:{}", self.store))?;
        let (session, digest) = (self.session.clone(), blob.digest.clone());
        let failed = move |e: Error| {
            // What the connection says of its end is no use to anybody.
            let e = if session.is_closed() { Error::environment("the client is gone") } else { e };
            e.context(format!("failed to read {digest} from the client's layout"))
        };
        let stream = content.read(&blob.digest, 0).await.map_err(&failed)?;
        Ok(Box::pin(stream.map_err(failed)))
    }

    fn is_gone(&self) -> bool {
        self.session.is_closed()
    }
}
