//! Caches in folders of the client.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::{Descriptor, Digest};
use progress::Step;
use refs::{BlobProvider, BlobStream};
use registry::BlobSource;
use session::{RemoteContent, Session, Sessions};

use crate::place::{Clients, Place, collect};
use crate::target::Target;

/// How long a session that is still connecting is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions to the client at once.
const ASKED_AT_ONCE: usize = 16;
/// Most bytes of the manifest of a cache.
const MANIFEST: u64 = 1 << 20;

/// The client's store of a folder.
async fn store(sessions: &Sessions, session: &str, dir: &str) -> Result<(Session, RemoteContent)> {
    if session.is_empty() {
        return Err(Error::user("local cache exporter/importer requires session"));
    }
    let session = sessions.get(session, PATIENCE).await?;
    let content = session.content(&format!("local:{dir}"))?;
    Ok((session, content))
}

/// A cache in a folder. It can be read as long as its client is there.
pub struct LocalPlace {
    session: Session,
    content: RemoteContent,
    digest: Digest,
}

impl LocalPlace {
    pub async fn open(sessions: &Sessions, session: &str, src: &str, digest: Digest) -> Result<Arc<Self>> {
        let (session, content) = store(sessions, session, src).await?;
        Ok(Arc::new(LocalPlace { session, content, digest }))
    }

    /// The digest of a blob that is not there as it should be.
    async fn lacks(&self, blob: &Descriptor) -> Result<Option<Digest>> {
        let size = self.content.size(&blob.digest).await?;
        Ok((size != Some(blob.size)).then(|| blob.digest.clone()))
    }
}

#[async_trait]
impl Place for Arc<LocalPlace> {
    async fn manifest(&self) -> Result<Vec<u8>> {
        let digest = &self.digest;
        let size = self.content.size(digest).await?;
        let size = size.ok_or_else(|| Error::not_found(format!("content digest {digest}: not found")))?;
        if size > MANIFEST {
            return Err(Error::user(format!("blob {digest} is too large ({size} > {MANIFEST})")));
        }
        let stream = BlobProvider::open(&**self, &Descriptor::new("", digest.clone(), size)).await?;
        let bytes = collect(stream, digest, MANIFEST).await?;
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(Error::environment(format!("the manifest {digest} is damaged"))),
        }
    }

    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        BlobProvider::open(&**self, blob).await
    }

    /// Folders are copied and cleaned by hand.
    async fn missing(&self, blobs: &[Descriptor]) -> Result<HashSet<Digest>> {
        let asked: Vec<_> = blobs.iter().map(|blob| self.lacks(blob)).collect();
        let asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        let missing: Vec<_> = asked.try_collect().await?;
        Ok(missing.into_iter().flatten().collect())
    }

    fn provider(&self, _: Arc<dyn Clients>, _: &Step) -> Arc<dyn BlobProvider> {
        self.clone()
    }
}

#[async_trait]
impl BlobProvider for LocalPlace {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let (session, digest) = (self.session.clone(), blob.digest.clone());
        let failed = move |e: Error| {
            let e = if session.is_closed() { Error::environment("the client is gone") } else { e };
            e.context(format!("failed to read {digest} from the client's cache"))
        };
        let stream = self.content.read(&blob.digest, 0).await.map_err(&failed)?;
        Ok(Box::pin(stream.map_err(failed)))
    }

    fn is_gone(&self) -> bool {
        self.session.is_closed()
    }
}

/// A folder that takes a cache.
pub struct LocalTarget {
    pub sessions: Sessions,
    pub session: String,
    pub dest: String,
}

impl LocalTarget {
    async fn content(&self) -> Result<RemoteContent> {
        Ok(store(&self.sessions, &self.session, &self.dest).await?.1)
    }
}

#[async_trait]
impl Target for LocalTarget {
    fn name(&self) -> &'static str {
        "exporting cache to client directory"
    }

    async fn put_blob(&self, blob: &Descriptor, source: Arc<dyn BlobSource>) -> Result<()> {
        let content = self.content().await?;
        if content.size(&blob.digest).await? == Some(blob.size) {
            return Ok(());
        }
        let bytes = source.open(blob, 0).await?;
        let written = content.write(&blob.digest, blob.size, bytes).await;
        written.with_context(|| format!("failed to write {} into the client's cache", blob.digest))
    }

    async fn put_manifest(&self, manifest: &Descriptor, bytes: Bytes) -> Result<()> {
        let content = self.content().await?;
        content.write(&manifest.digest, manifest.size, stream::iter([Ok(bytes)])).await
    }
}
