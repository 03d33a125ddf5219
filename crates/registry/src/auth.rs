//! Who asks: logins and tokens (distribution, "Token Authentication"; RFC 6750).

mod challenge;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use http::HeaderValue;
use http::header::HeaderMap;
use tokio::sync::Mutex as AsyncMutex;

use crate::Credentials;
use crate::config::Retry;
use crate::endpoint::Endpoint;
use crate::transport::Transport;
use challenge::Challenge;
use token::Fresh;
pub use token::{Realm, Server};

/// Knows how to answer each host, and keeps tokens while they last.
pub struct Auth {
    credentials: Arc<dyn Credentials>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

#[derive(Default)]
struct Host {
    scheme: Mutex<Scheme>,
    /// By scopes. Who needs a token that is being fetched waits for it.
    tokens: Mutex<HashMap<Vec<String>, Slot>>,
}

type Slot = Arc<AsyncMutex<Option<Fresh>>>;

/// What a host asks for.
#[derive(Clone, Default)]
enum Scheme {
    /// It has not said yet.
    #[default]
    Unknown,
    Basic(HeaderValue),
    Bearer(Realm),
}

/// What became of a refusal.
pub enum Answer {
    /// There is something new to say.
    Again,
    /// There is not; with the host's reason.
    Denied(String),
}

impl Auth {
    pub fn new(credentials: Arc<dyn Credentials>) -> Self {
        Auth { credentials, hosts: Mutex::default() }
    }

    /// What to say to a host of which something is known.
    pub async fn header(
        &self,
        transport: &Transport,
        retry: Retry,
        endpoint: &Endpoint,
        scopes: &[String],
    ) -> Result<Option<HeaderValue>> {
        let host = self.host(&endpoint.host);
        match host.scheme() {
            Scheme::Unknown => Ok(None),
            Scheme::Basic(header) => Ok(Some(header)),
            Scheme::Bearer(realm) => {
                let slot = host.slot(scopes);
                let mut slot = slot.lock().await;
                if let Some(header) = slot.as_ref().and_then(Fresh::header) {
                    return Ok(Some(header));
                }
                let server = Server { transport, tls: &endpoint.tls, retry };
                let fresh = self.token(&server, endpoint, &realm, scopes).await;
                let fresh = fresh.map_err(|e| e.context("failed to authorize"))?;
                let header = fresh.header();
                *slot = Some(fresh);
                Ok(header)
            }
        }
    }

    /// Takes in why a host refused what was asked with `said`.
    pub async fn refused(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        scopes: &[String],
        said: Option<&HeaderValue>,
    ) -> Result<Answer> {
        let host = self.host(&endpoint.host);
        let mut reason = String::from("authorization failed");
        for challenge in Challenge::all(headers) {
            match challenge.scheme.as_str() {
                "bearer" => {
                    let error = challenge.get("error").unwrap_or_default();
                    if error == "insufficient_scope" && said.is_some() {
                        return Ok(Answer::Denied(
                            "server message: insufficient_scope: authorization failed".into(),
                        ));
                    }
                    host.forget(scopes, said).await;
                    *host.lock_scheme() = Scheme::Bearer(Realm::of(&challenge)?);
                    return Ok(Answer::Again);
                }
                "basic" if said.is_none() => {
                    let login = self.credentials.credentials(&endpoint.host).await?;
                    let Some(login) = login.filter(|l| !l.username.is_empty()) else {
                        reason = "no basic auth credentials".into();
                        continue;
                    };
                    *host.lock_scheme() = Scheme::Basic(basic(&login.username, &login.secret)?);
                    return Ok(Answer::Again);
                }
                _ => {}
            }
        }
        Ok(Answer::Denied(reason))
    }

    async fn token(
        &self,
        server: &Server<'_>,
        endpoint: &Endpoint,
        realm: &Realm,
        scopes: &[String],
    ) -> Result<Fresh> {
        if let Some(token) = self.credentials.token(&realm.request(&endpoint.host, scopes)).await? {
            return Fresh::new(&token.token, token.expires_in, token.issued_at);
        }
        let login = self.credentials.credentials(&endpoint.host).await?;
        realm.fetch(server, scopes, login.as_ref()).await
    }

    fn host(&self, host: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(host.to_owned()).or_default())
    }
}

impl Host {
    fn lock_scheme(&self) -> std::sync::MutexGuard<'_, Scheme> {
        self.scheme.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scheme(&self) -> Scheme {
        self.lock_scheme().clone()
    }

    fn slot(&self, scopes: &[String]) -> Slot {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tokens.entry(scopes.to_vec()).or_default())
    }

    /// Drops a token that no longer helps, unless somebody has fetched a newer one meanwhile.
    async fn forget(&self, scopes: &[String], said: Option<&HeaderValue>) {
        let slot = self.slot(scopes);
        let mut slot = slot.lock().await;
        if slot.as_ref().and_then(Fresh::header).as_ref() == said {
            *slot = None;
        }
    }
}

fn basic(username: &str, secret: &str) -> Result<HeaderValue> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{username}:{secret}"))))
}

fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut header =
        HeaderValue::from_str(text).map_err(|_| Error::user("a login or token has odd characters"))?;
    header.set_sensitive(true);
    Ok(header)
}
