//! Single blobs, of registries (`docker-image+blob://`) and of layouts of clients (`oci-layout+blob://`).

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use oci::{Descriptor, Digest, Reference};
use refs::{BlobProvider as _, BlobStream, ImmutableRef, NewRef, RecordType};
use serde::Serialize;
use snapshot::{Attrs, Owner};

use crate::context::Context;
use crate::file::NewFile;
use crate::image::Place;
use crate::origin::Layout;
use crate::sources::Shared;
use crate::{Key, Source};

/// A blob, by its digest, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    pub reference: Reference,
    pub digest: Digest,
    pub place: Place,
}

/// What is asked of a blob source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobOptions {
    pub blob: BlobPlace,
    /// Empty for the digest.
    pub filename: String,
    /// Permission bits; 0 stands for 0600.
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    pub record_type: RecordType,
}

pub struct BlobSource {
    shared: Arc<Shared>,
    options: BlobOptions,
}

impl BlobPlace {
    /// What comes after `://` of `docker-image+blob` or `oci-layout+blob`.
    pub fn new(name: &str, place: Place) -> Result<Self> {
        if let Place::Layout { store, .. } = &place
            && store.is_empty()
        {
            return Err(Error::user("oci-layout blob source requires store id"));
        }
        let reference: Reference = name
            .parse()
            .map_err(|e| Error::user(format!("failed to parse image reference `{name}`: {e}")))?;
        let digest = reference.digest().cloned();
        let digest =
            digest.ok_or_else(|| Error::user(format!("checksum required in blob reference `{name}`")))?;
        Ok(BlobPlace { reference, digest, place })
    }

    /// Opens the blob, and tells its size. That the bytes are those of the digest is for the reader to check.
    pub async fn open(&self, shared: &Shared, cx: &Context) -> Result<(u64, BlobStream)> {
        let digest = &self.digest;
        match &self.place {
            Place::Registry => {
                let registry = shared.logins.registry(&cx.sessions, &cx.session_ids).shown_in(&cx.step);
                let size = registry.blob_size(&self.reference, digest).await?;
                let blob = Descriptor::new("", digest.clone(), size);
                Ok((size, registry.blob(&self.reference, &blob).await?))
            }
            Place::Layout { session, store } => {
                let session = cx.session_or_any(session).await?;
                let size = session.content(&format!("oci:{store}"))?.size(digest).await?;
                let size =
                    size.ok_or_else(|| Error::not_found(format!("content digest {digest}: not found")))?;
                let layout = Layout { session, store: store.clone(), reference: self.reference.clone() };
                Ok((size, layout.open(&Descriptor::new("", digest.clone(), size)).await?))
            }
        }
    }
}

impl BlobSource {
    pub fn new(shared: Arc<Shared>, options: BlobOptions) -> Self {
        BlobSource { shared, options }
    }

    async fn fetch(&self, cx: &Context) -> Result<ImmutableRef> {
        let BlobOptions { blob, filename, perm, uid, gid, record_type } = &self.options;
        let (size, stream) = blob.open(&self.shared, cx).await?;
        let file = NewFile {
            name: if filename.is_empty() { blob.digest.hex().to_owned() } else { filename.clone() },
            attrs: Attrs {
                mode: if *perm == 0 { 0o600 } else { perm & 0o777 },
                owner: Owner { uid: *uid, gid: *gid },
                ..Attrs::default()
            },
            size,
            packed: false,
            checksum: Some(blob.digest.clone()),
            from: blob.reference.to_string(),
        };
        let new = NewRef::new(format!("blob {}", blob.reference), *record_type);
        Ok(file.store(&self.shared, stream, new).await?.1)
    }
}

#[async_trait]
impl Source for BlobSource {
    /// The digest decides, and how the file is to look; in BuildKit's form.
    async fn key(&self, _: &Context, _: usize) -> Result<Key> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Ingredients<'a> {
            digest: &'a Digest,
            filename: &'a str,
            perm: u32,
            #[serde(rename = "UID")]
            uid: u32,
            #[serde(rename = "GID")]
            gid: u32,
        }
        let BlobOptions { blob, filename, perm, uid, gid, .. } = &self.options;
        let ingredients = Ingredients { digest: &blob.digest, filename, perm: *perm, uid: *uid, gid: *gid };
        let text = Digest::of(oci::json::to_vec(&ingredients)).to_string();
        Ok(Key { text, transient: false, done: true })
    }

    fn pin(&self) -> Option<String> {
        Some(self.options.blob.digest.to_string())
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let name = format!("fetch {}", self.options.blob.digest);
        let work = cx.step.part(&name, self.fetch(cx));
        tokio::select! {
            file = work => file.map(Some),
            () = cx.cancel.cancelled() => Err(Error::canceled()),
        }
    }
}
