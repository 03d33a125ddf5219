//! Registries, asked in the name of clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use errdefs::Result;
use session::Sessions;

use crate::{Credential, Credentials, Registry, Token, TokenRequest};

/// What registries are told of who asks. Each client has its own tokens, which all that is done for it uses.
pub struct Logins {
    registry: Registry,
    clients: Mutex<HashMap<String, Registry>>,
}

impl Logins {
    pub fn new(registry: Registry) -> Self {
        Logins { registry, clients: Mutex::default() }
    }

    /// The registries, asked in the name of the first of these sessions that is open.
    pub fn registry(&self, sessions: &Sessions, ids: &[String]) -> Registry {
        let open = ids.iter().find(|id| sessions.find(id).is_some());
        let Some(id) = open.or(ids.first()) else { return self.registry.clone() };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|known, _| known == id || sessions.find(known).is_some());
        let own = clients.entry(id.clone()).or_insert_with(|| {
            let login = Login { sessions: sessions.clone(), id: id.clone() };
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
