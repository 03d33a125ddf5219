//! Caches that a build looks into.

use std::sync::Arc;

use errdefs::Result;
use jiff::Timestamp;
use oci::{Descriptor, Digest};
use progress::Step;
use refs::{BlobProvider, ImmutableRef, LayerBlob, NewRef, Refs, Watched};
use registry::{Logins, Registry};
use session::Sessions;
use solver::{KeyId, Link, Record, RemoteKeys, ResultId};

use crate::keys::{Keys, Origin};
use crate::local::LocalPlace;
use crate::manifest::{self, CREATED_AT, DESCRIPTION, UNCOMPRESSED};
use crate::options::Import;
use crate::place::{Clients, Place};
use crate::registry::RegistryPlace;

/// Imports caches.
pub struct Importer {
    logins: Arc<Logins>,
    sessions: Sessions,
    refs: Refs,
}

impl Importer {
    pub fn new(registry: Registry, sessions: Sessions, refs: Refs) -> Self {
        Importer { logins: Arc::new(Logins::new(registry)), sessions, refs }
    }

    /// Registries, asked in the name of a client.
    pub fn registry(&self, session: &str) -> Registry {
        self.logins.registry(&self.sessions, &[session.to_owned()])
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Reads the keys of a cache on behalf of a client, shown in `step`. `name` must be its own among all caches that are
    /// in use.
    pub async fn import(&self, import: &Import, name: &str, session: &str, step: &Step) -> Result<Imported> {
        let place: Arc<dyn Place> = match import {
            Import::Registry { reference, insecure } => Arc::new(Arc::new(RegistryPlace {
                logins: self.logins.clone(),
                sessions: self.sessions.clone(),
                reference: reference.clone(),
                insecure: *insecure,
                session: session.to_owned(),
                step: step.clone(),
            })),
            Import::Local { src, digest } => {
                Arc::new(LocalPlace::open(&self.sessions, session, src, digest.clone()).await?)
            }
        };
        let keys = manifest::keys(&*place, name).await?;
        tracing::debug!(name, keys = keys.len(), "a cache is imported");
        Ok(Imported { keys, place, refs: self.refs.clone() })
    }
}

/// A cache whose keys are known.
pub struct Imported {
    keys: Keys,
    place: Arc<dyn Place>,
    refs: Refs,
}

impl Imported {
    /// The result as a file system whose layers are fetched when they are needed: in the name of `clients`, and shown in
    /// `step`. `None` where there is no such result.
    pub fn load(&self, result: &ResultId, clients: Arc<dyn Clients>, step: &Step) -> Option<ImmutableRef> {
        let layers = self.keys.layers(result)?;
        let provider = self.place.provider(clients, step);
        let provider: Arc<dyn BlobProvider> = Arc::new(Watched { provider, step: step.clone() });
        let mut top: Option<ImmutableRef> = None;
        for descriptor in layers {
            let new = new_ref(&descriptor);
            let Some(blob) = layer_blob(descriptor) else {
                tracing::warn!("a cached result is passed over: a layer does not say what it unpacks to");
                return None;
            };
            top = Some(self.refs.lazy_layer(top.as_ref(), blob, provider.clone(), new));
        }
        top
    }

    /// The ops that lead to a key of this cache.
    pub(crate) fn origins(&self, key: &KeyId) -> &[Origin] {
        self.keys.origins(key)
    }
}

impl RemoteKeys for Imported {
    fn contains(&self, key: &KeyId) -> bool {
        self.keys.contains(key)
    }

    fn targets(&self, from: &KeyId, link: &Link) -> Vec<KeyId> {
        self.keys.targets(from, link)
    }

    fn records(&self, key: &KeyId) -> Vec<Record> {
        self.keys.records(key)
    }
}

fn new_ref(descriptor: &Descriptor) -> NewRef {
    let label = |key: &str| descriptor.annotations.get(key);
    let description = match label(DESCRIPTION) {
        Some(text) => text.clone(),
        None => format!("imported {}", descriptor.digest),
    };
    let created_at = label(CREATED_AT).and_then(|time| time.parse::<Timestamp>().ok());
    NewRef { created_at, ..NewRef::regular(description) }
}

/// The layer without what was only said for the import.
fn layer_blob(mut descriptor: Descriptor) -> Option<LayerBlob> {
    let diff_id: Digest = descriptor.annotations.remove(UNCOMPRESSED)?.parse().ok()?;
    descriptor.annotations.remove(CREATED_AT);
    descriptor.annotations.remove(DESCRIPTION);
    Some(LayerBlob { descriptor, diff_id })
}
