//! An image in a registry.

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;
use oci::{Descriptor, Reference, media};
use refs::{BlobProvider, BlobStream};
use registry::{Credential, Credentials, Registry, Token, TokenRequest};

use crate::context::Context;
use crate::origin::Origin;
use crate::sources::Parts;

pub struct Remote {
    registry: Registry,
    reference: Reference,
}

impl Remote {
    /// The image of this name, asked for with the login of the build's client.
    pub fn new(parts: &Parts, cx: &Context, reference: Reference) -> Self {
        let registry = parts.registry.with_credentials(Arc::new(Login(cx.clone())));
        Remote { registry, reference }
    }
}

#[async_trait]
impl Origin for Remote {
    async fn resolve(&self) -> Result<Descriptor> {
        self.registry.resolve(&self.reference).await
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

/// The logins of the clients whose builds want the image.
struct Login(Context);

#[async_trait]
impl Credentials for Login {
    async fn credentials(&self, host: &str) -> Result<Option<Credential>> {
        match self.0.session().await {
            Ok(session) => session.credentials(host).await,
            // Without a client there is nobody to be.
            Err(_) => Ok(None),
        }
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>> {
        match self.0.session().await {
            Ok(session) => session.fetch_token(request).await,
            Err(_) => Ok(None),
        }
    }
}
