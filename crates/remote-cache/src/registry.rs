//! Caches in registries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use oci::{Descriptor, Reference, media};
use progress::Step;
use refs::{BlobProvider, BlobStream};
use registry::{BlobSource, Logins, PushBlob, Registry};
use session::Sessions;

use crate::place::{Clients, Place};
use crate::target::Target;

/// Most bytes of the manifest of a cache.
const MANIFEST: u64 = 1 << 20;
/// Begins the name of the label that says in which repositories of a host a blob is.
const SOURCE: &str = "containerd.io/distribution.source.";

/// A cache in a repository.
pub struct RegistryPlace {
    pub logins: Arc<Logins>,
    pub sessions: Sessions,
    pub reference: Reference,
    pub insecure: bool,
    /// The session of the build that imports it.
    pub session: String,
    /// Where the import is shown.
    pub step: Step,
}

impl RegistryPlace {
    fn registry(&self, sessions: &[String]) -> Registry {
        let registry = self.logins.registry(&self.sessions, sessions);
        if self.insecure { registry.insecure() } else { registry }
    }

    fn own(&self) -> Registry {
        self.registry(std::slice::from_ref(&self.session)).shown_in(&self.step)
    }
}

#[async_trait]
impl Place for Arc<RegistryPlace> {
    async fn manifest(&self) -> Result<Vec<u8>> {
        let registry = self.own();
        let root = registry.resolve(&self.reference).await?;
        if root.size > MANIFEST {
            return Err(Error::user(format!(
                "blob {} is too large ({} > {MANIFEST})",
                root.digest, root.size
            )));
        }
        Ok(registry.manifest(&self.reference, &root).await?.to_vec())
    }

    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        open(&self.own(), &self.reference, blob).await
    }

    fn provider(&self, clients: Arc<dyn Clients>, step: &Step) -> Arc<dyn BlobProvider> {
        Arc::new(Provider { place: self.clone(), clients, step: step.clone() })
    }

    fn annotate(&self, layer: &mut Descriptor) {
        let label = format!("{SOURCE}{}", self.reference.host());
        layer.annotations.insert(label, self.reference.path().to_owned());
    }
}

/// Asks in the name of whoever wants the layer: the build that imported the cache may have ended.
struct Provider {
    place: Arc<RegistryPlace>,
    clients: Arc<dyn Clients>,
    /// Where it is shown.
    step: Step,
}

#[async_trait]
impl BlobProvider for Provider {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let registry = self.place.registry(&self.clients.session_ids()).shown_in(&self.step);
        open(&registry, &self.place.reference, blob).await
    }

    fn came_wrong(&self, blob: &Descriptor) -> Option<String> {
        self.place.registry(&self.clients.session_ids()).came_wrong(&blob.digest)
    }

    fn is_gone(&self) -> bool {
        self.clients.session_ids().iter().all(|id| self.place.sessions.find(id).is_none())
    }
}

async fn open(registry: &Registry, reference: &Reference, blob: &Descriptor) -> Result<BlobStream> {
    let kind = blob.media_type.as_str();
    if media::is_index(kind) || media::is_manifest(kind) {
        let bytes = registry.manifest(reference, blob).await?;
        return Ok(Box::pin(futures_util::stream::iter([Ok(bytes)])));
    }
    registry.blob(reference, blob).await
}

/// A repository that takes a cache.
pub struct RegistryTarget {
    pub registry: Registry,
    pub reference: Reference,
}

#[async_trait]
impl Target for RegistryTarget {
    fn name(&self) -> &'static str {
        "exporting cache to registry"
    }

    fn show_in(&mut self, step: &Step) {
        self.registry = self.registry.shown_in(step);
    }

    async fn put_blob(&self, blob: &Descriptor, source: Arc<dyn BlobSource>) -> Result<()> {
        let label = format!("{SOURCE}{}", self.reference.host());
        let known = blob.annotations.get(&label).into_iter().flat_map(|list| list.split(','));
        let mount_from =
            known.filter(|from| !from.is_empty() && *from != self.reference.path()).map(str::to_owned);
        let push = PushBlob {
            reference: self.reference.clone(),
            descriptor: blob.clone(),
            source,
            mount_from: mount_from.collect(),
            unasked: false,
            on_bytes: Arc::new(|_| {}),
        };
        self.registry.push_blob(&push).await.map(drop)
    }

    async fn put_manifest(&self, manifest: &Descriptor, bytes: Bytes) -> Result<()> {
        self.registry.push_manifest(&self.reference, &manifest.media_type, bytes).await.map(drop)
    }
}
