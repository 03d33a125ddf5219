//! Blobs and manifests on their way to a registry (distribution-spec, "Push").

mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Class, Code, Error, Result, ResultExt as _};
use futures_util::TryStreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, StatusCode};
use oci::{Descriptor, Digest, Reference};
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;

use crate::call::Call;
use crate::endpoint::{Endpoint, scope};
use crate::pull::ByteStream;
use crate::registry::{Registry, url};
use upload::{Started, Upload};

/// Where the bytes come from once they are known to be needed.
#[async_trait]
pub trait BlobSource: Send + Sync + 'static {
    /// The bytes from `offset` on.
    async fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<ByteStream>;
}

/// Bytes that are read from a file at once.
const CHUNK: usize = 256 << 10;

#[async_trait]
impl BlobSource for content::Store {
    async fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<ByteStream> {
        let mut file = tokio::fs::File::from_std(self.open_blob(&descriptor.digest)?);
        file.seek(std::io::SeekFrom::Start(offset)).await?;
        Ok(Box::pin(ReaderStream::with_capacity(file, CHUNK).map_err(Error::from)))
    }
}

/// A blob to push.
pub struct PushBlob {
    pub reference: Reference,
    pub descriptor: Descriptor,
    pub source: Arc<dyn BlobSource>,
    /// Repositories of the same registry that have the blob, as `library/alpine`.
    pub mount_from: Vec<String>,
    /// It is small, and most likely not there: it is sent without a question first.
    pub unasked: bool,
    /// Hears how many bytes were sent so far.
    pub on_bytes: Arc<dyn Fn(u64) + Send + Sync>,
}

/// What it took to push a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry has taken it from another repository.
    Mounted,
    Uploaded,
}

impl Registry {
    /// Whether a repository had a blob a moment ago, as far as this process knows. A manifest that needs it may still be
    /// refused: see [`Registry::forget`].
    pub fn saw_blob(&self, repository: &Reference, blob: &Digest) -> bool {
        self.seen().has(repository, blob)
    }

    /// Forgets which blobs a repository had; tells whether any were known.
    pub fn forget(&self, repository: &Reference) -> bool {
        self.seen().forget(repository)
    }

    /// Makes a blob part of a repository.
    pub async fn push_blob(&self, blob: &PushBlob) -> Result<Pushed> {
        let PushBlob { reference, descriptor, .. } = blob;
        let endpoint = self.push_endpoint(reference);
        let work = async {
            let path = format!("blobs/{}", descriptor.digest);
            if !blob.unasked && self.find(&endpoint, reference, &path, "*/*").await?.is_some() {
                return Ok(Pushed::Existed);
            }
            let upload = Upload { registry: self, endpoint: &endpoint, blob };
            let mut session = None;
            for from in &blob.mount_from {
                match upload.start(Some(from)).await {
                    Ok(Started::Mounted) => return Ok(Pushed::Mounted),
                    Ok(Started::Session(opened)) => session = Some(opened),
                    // Somebody else's repository may not be for us to read.
                    Err(e) if matches!(e.code(), Code::PermissionDenied | Code::NotFound) => {}
                    Err(e) => return Err(e),
                }
                if session.is_some() {
                    break;
                }
            }
            upload.run(session).await.map(|()| Pushed::Uploaded)
        };
        let pushed = work.await.with_context(|| format!("failed to push {reference}"))?;
        self.seen().note(reference, &descriptor.digest);
        Ok(pushed)
    }

    /// Puts a manifest, whose blobs are all there, under the tag or the digest of `reference`; the digest where it has
    /// neither. One that is there already is not sent.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        match self.has_manifest(reference, media_type, &digest).await? {
            true => Ok(digest),
            false => self.put_manifest(reference, media_type, bytes).await,
        }
    }

    /// Whether a manifest is there, under the tag of `reference` if it has one.
    pub async fn has_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        digest: &Digest,
    ) -> Result<bool> {
        let endpoint = self.push_endpoint(reference);
        let path = manifest_path(reference, digest);
        let found = self.find(&endpoint, reference, &path, media_type).await;
        let found = found.with_context(|| format!("failed to push {reference}"))?;
        Ok(found.is_some_and(|there| there.as_ref() == Some(digest)))
    }

    /// As [`Registry::push_manifest`], without a look whether it is there.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        let endpoint = self.push_endpoint(reference);
        let work = async {
            let address = url(&endpoint, reference, &manifest_path(reference, &digest))?;
            let call = Call::new(Method::PUT, address, vec![scope(reference, true)]);
            let call = call.header(CONTENT_TYPE, media_type).bytes(bytes);
            let reply = self.send(&endpoint, call).await?.success().await?;
            check_digest(reply.header("docker-content-digest"), &digest)
        };
        work.await.with_context(|| format!("failed to push {reference}"))?;
        Ok(digest)
    }

    /// Whether something is there, and under which digest, where the registry tells.
    async fn find(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        path: &str,
        accept: &str,
    ) -> Result<Option<Option<Digest>>> {
        let call = Call::new(Method::HEAD, url(endpoint, reference, path)?, vec![scope(reference, true)]);
        let reply = self.send(endpoint, call.header(ACCEPT, &format!("{accept}, */*"))).await?;
        match reply.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                Ok(Some(reply.header("docker-content-digest").and_then(|d| d.parse().ok())))
            }
            _ => Err(reply.into_error().await),
        }
    }
}

fn manifest_path(reference: &Reference, digest: &Digest) -> String {
    format!("manifests/{}", reference.tag().unwrap_or(digest.as_str()))
}

/// # Errors
/// The registry has stored something else than it was sent.
fn check_digest(told: Option<&str>, digest: &Digest) -> Result<()> {
    match told {
        Some(told) if told != digest.as_str() => {
            let message = format!("got digest {told}, expected {digest}");
            Err(Error::new(Class::Environment, Code::FailedPrecondition, message))
        }
        _ => Ok(()),
    }
}
