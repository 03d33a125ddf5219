//! Images in registries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use errdefs::Result;
use oci::{Descriptor, Reference, media};
use refs::{BlobProvider, BlobStream};
use registry::{Credential, Credentials, Registry, Token, TokenRequest};
use session::Sessions;

use crate::context::Context;
use crate::origin::Origin;

/// What registries are told of who asks. Each client has its own tokens, which all its sources use.
pub struct Logins {
    registry: Registry,
    clients: Mutex<HashMap<String, Registry>>,
}

impl Logins {
    pub fn new(registry: Registry) -> Self {
        Logins { registry, clients: Mutex::default() }
    }

    /// The registries, asked in the name of a build's client.
    pub fn registry(&self, cx: &Context) -> Registry {
        let open = cx.session_ids.iter().find(|id| cx.sessions.find(id).is_some());
        let Some(id) = open.or(cx.session_ids.first()) else { return self.registry.clone() };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|known, _| known == id || cx.sessions.find(known).is_some());
        let own = clients.entry(id.clone()).or_insert_with(|| {
            let login = Login { sessions: cx.sessions.clone(), id: id.clone() };
            self.registry.with_credentials(Arc::new(login))
        });
        own.clone()
    }

    /// Nobody's.
    pub fn anonymous(&self) -> &Registry {
        &self.registry
    }
}

/// The login of one client, while it is there.
struct Login {
    sessions: Sessions,
    id: String,
}

#[async_trait]
impl Credentials for Login {
    async fn credentials(&self, host: &str) -> Result<Option<Credential>> {
        match self.sessions.find(&self.id) {
            Some(session) => session.credentials(host).await,
            None => Ok(None),
        }
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        match self.sessions.find(&self.id) {
            Some(session) => session.fetch_token(request).await,
            None => Ok(None),
        }
    }
}

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
}
