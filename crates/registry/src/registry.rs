//! The client of all registries.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Error, Result};
use oci::{Digest, Reference};
use progress::Step;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use url::Url;

use crate::Credentials;
use crate::auth::Auth;
use crate::call::{Call, Caller, Reply};
use crate::config::{Config, Retry};
use crate::endpoint::Endpoint;
use crate::seen::Seen;
use crate::transport::Transport;

/// Blobs of which is known who gave them.
const REMEMBERED: usize = 256;

/// Pulls and pushes. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    auth: Arc<Auth>,
    insecure: bool,
    step: Option<Step>,
}

struct Shared {
    config: Config,
    transport: Transport,
    /// Which hosts gave bytes of which blobs; the latest last.
    gave: Mutex<VecDeque<(Digest, BTreeSet<String>)>>,
    /// Which hosts gave wrong bytes for which blobs.
    wrong: Mutex<HashSet<(String, Digest)>>,
    seen: Seen,
    /// Held while a list of referrers is written under a tag.
    tag: AsyncMutex<()>,
}

impl Registry {
    pub fn new(config: Config, credentials: Arc<dyn Credentials>) -> Self {
        let transport = Transport::new(&config.proxy, config.retry.patience);
        let auth = Arc::new(Auth::new(credentials));
        Registry {
            shared: Arc::new(Shared {
                config,
                transport,
                gave: Mutex::default(),
                wrong: Mutex::default(),
                seen: Seen::default(),
                tag: AsyncMutex::default(),
            }),
            auth,
            insecure: false,
            step: None,
        }
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

    /// The same, that tells in a step what it waits for.
    #[must_use]
    pub fn shown_in(&self, step: &Step) -> Self {
        Registry { step: Some(step.clone()), ..self.clone() }
    }

    /// For requests to others than registries.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub fn retry(&self) -> Retry {
        self.shared.config.retry
    }

    pub(crate) fn pull_endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        Endpoint::pull(&self.shared.config, reference.host(), self.insecure)
    }

    /// Who is asked for a blob: who gave wrong bytes for it comes last.
    pub(crate) fn blob_endpoints(&self, reference: &Reference, digest: &Digest) -> Vec<Endpoint> {
        let mut endpoints = self.pull_endpoints(reference);
        let wrong = self.wrong();
        endpoints.sort_by_key(|endpoint| wrong.contains(&(endpoint.host.clone(), digest.clone())));
        endpoints
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    pub(crate) async fn tag_lock(&self) -> AsyncMutexGuard<'_, ()> {
        self.shared.tag.lock().await
    }

    /// Notes that a host gave bytes of a blob.
    pub(crate) fn gave(&self, host: &str, digest: &Digest) {
        let mut gave = self.shared.gave.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hosts)) = gave.iter_mut().find(|(blob, _)| blob == digest) {
            hosts.insert(host.to_owned());
            return;
        }
        if gave.len() == REMEMBERED {
            gave.pop_front();
        }
        gave.push_back((digest.clone(), BTreeSet::from([host.to_owned()])));
    }

    /// Hears that what came of a blob is not what its digest says. Who gave it is asked last from now on. Tells who that was;
    /// nothing where nobody has given any lately.
    pub fn came_wrong(&self, digest: &Digest) -> Option<String> {
        let mut gave = self.shared.gave.lock().unwrap_or_else(PoisonError::into_inner);
        let at = gave.iter().position(|(blob, _)| blob == digest)?;
        let (_, hosts) = gave.remove(at)?;
        self.wrong().extend(hosts.iter().map(|host| (host.clone(), digest.clone())));
        Some(hosts.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(" and "))
    }

    fn wrong(&self) -> MutexGuard<'_, HashSet<(String, Digest)>> {
        self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner)
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
        Caller { transport, auth, endpoint, retry, step: self.step.as_ref() }.send(call).await
    }
}

/// The address of something in a repository.
pub(crate) fn url(endpoint: &Endpoint, reference: &Reference, rest: &str) -> Result<Url> {
    endpoint
        .url(reference.path(), rest)
        .map_err(|e| Error::user(format!("invalid registry `{}`: {e}", endpoint.host)))
}
