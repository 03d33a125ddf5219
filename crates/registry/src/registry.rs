//! The client of all registries.

use std::sync::Arc;

use errdefs::{Error, Result};
use oci::Reference;
use url::Url;

use crate::Credentials;
use crate::auth::Auth;
use crate::call::{Call, Caller, Reply};
use crate::config::{Config, Retry};
use crate::endpoint::Endpoint;
use crate::transport::Transport;

/// Pulls and pushes. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    auth: Arc<Auth>,
    insecure: bool,
}

struct Shared {
    config: Config,
    transport: Transport,
}

impl Registry {
    pub fn new(config: Config, credentials: Arc<dyn Credentials>) -> Self {
        let transport = Transport::new(&config.proxy);
        let auth = Arc::new(Auth::new(credentials));
        Registry { shared: Arc::new(Shared { config, transport }), auth, insecure: false }
    }

    /// The same connections, for somebody else.
    #[must_use]
    pub fn with_credentials(&self, credentials: Arc<dyn Credentials>) -> Self {
        Registry { auth: Arc::new(Auth::new(credentials)), ..self.clone() }
    }

    /// Takes any certificate, and plain HTTP where a server has no TLS.
    #[must_use]
    pub fn insecure(&self) -> Self {
        Registry { insecure: true, ..self.clone() }
    }

    /// For requests to others than registries.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub fn retry(&self) -> Retry {
        self.shared.config.retry
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.auth
    }

    pub(crate) fn pull_endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        Endpoint::pull(&self.shared.config, reference.host(), self.insecure)
    }

    pub(crate) fn push_endpoint(&self, reference: &Reference) -> Endpoint {
        Endpoint::push(&self.shared.config, reference.host(), self.insecure)
    }

    /// Sends a request, and tries again as often as is set; a mirror has one try, for there is another to ask.
    pub(crate) async fn send(&self, endpoint: &Endpoint, call: Call) -> Result<Reply> {
        let mut retry = self.retry();
        if endpoint.is_mirror() {
            retry.attempts = 1;
        }
        let (transport, auth) = (&self.shared.transport, &*self.auth);
        Caller { transport, auth, endpoint, retry }.send(call).await
    }
}

/// The address of something in a repository.
pub(crate) fn url(endpoint: &Endpoint, reference: &Reference, rest: &str) -> Result<Url> {
    endpoint
        .url(reference.path(), rest)
        .map_err(|e| Error::user(format!("invalid registry `{}`: {e}", endpoint.host)))
}
