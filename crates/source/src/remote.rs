//! Images in registries.

use async_trait::async_trait;
use errdefs::Result;
use oci::{Descriptor, Digest, Reference, media};
use refs::{BlobProvider, BlobStream};
use registry::Registry;

use crate::origin::Origin;

/// An image in a registry.
pub struct Remote {
    pub registry: Registry,
    pub reference: Reference,
}

#[async_trait]
impl Origin for Remote {
    async fn resolve(&self) -> Result<Descriptor> {
        self.registry.resolve(&self.reference).await
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.registry.referrers(&self.reference, subject).await
    }
}

#[async_trait]
impl BlobProvider for Remote {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let kind = blob.media_type.as_str();
        if media::is_index(kind) || media::is_manifest(kind) {
            let bytes = self.registry.manifest(&self.reference, blob).await?;
            return Ok(Box::pin(futures_util::stream::iter([Ok(bytes)])));
        }
        self.registry.blob(&self.reference, blob).await
    }

    fn came_wrong(&self, blob: &Descriptor) -> Option<String> {
        self.registry.came_wrong(&blob.digest)
    }
}
