//! HTTP without a view on who answers: names, proxies, TLS, connections that are kept.

mod connect;
mod counted;
mod dns;
mod fault;
mod tls;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use errdefs::{Error, Result};
use http::header::{CONTENT_LENGTH, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::ProxyConfig;
use connect::Connector;
use counted::Counted;

pub use dns::Dns;
pub use fault::Fault;
pub use tls::Tls;

/// What is sent along with a request.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// How long a server may think over what it was given to keep, as a multiple of its patience: it may have to hash and copy it.
const THINKS: u32 = 10;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Sends requests, and keeps connections. Cheap to clone.
#[derive(Clone)]
pub struct Transport(Arc<Inner>);

struct Inner {
    patience: Duration,
    connector: Connector,
    plain: Client<Connector, Body>,
    encrypted: Mutex<HashMap<Tls, Client<HttpsConnector<Connector>, Body>>>,
}

impl Transport {
    /// `patience` is how long an answer may take, or a request bring nothing to the other side.
    pub fn new(proxy: &ProxyConfig, patience: Duration) -> Self {
        let connector = Connector::new(proxy);
        let plain = builder().build(connector.clone());
        Transport(Arc::new(Inner { patience, connector, plain, encrypted: Mutex::default() }))
    }

    /// Sends a request with an absolute URI, and gives the answer as soon as its head is there. Redirects are not
    /// followed.
    pub async fn send(&self, request: Request<Body>, tls: &Tls) -> Result<Response<Incoming>, Fault> {
        let thinks = matches!(*request.method(), Method::PUT | Method::PATCH);
        let size = upload_size(&request);
        let sent = Arc::new(AtomicU64::new(0));
        let mut request = request.map(|body| Counted { body, sent: sent.clone() }.boxed_unsync());
        request.headers_mut().entry(USER_AGENT).or_insert_with(user_agent);
        let answer = async {
            match request.uri().scheme_str() {
                Some("https") => self.encrypted(tls).await?.request(request).await.map_err(|e| Fault::of(&e)),
                _ => self.0.plain.request(self.with_proxy_login(request)).await.map_err(|e| Fault::of(&e)),
            }
        };
        let mut answer = std::pin::pin!(answer);
        let mut before = 0;
        loop {
            let all_sent = before >= size;
            let patience = if all_sent && thinks { self.0.patience * THINKS } else { self.0.patience };
            if let Ok(answer) = tokio::time::timeout(patience, &mut answer).await {
                return answer;
            }
            // The answer to an upload comes after all of it was sent. That may take its time as long as it goes on.
            let now = sent.load(Ordering::Relaxed);
            if all_sent || now == before {
                return Err(Fault::Timeout);
            }
            before = now;
        }
    }

    async fn encrypted(&self, tls: &Tls) -> Result<Client<HttpsConnector<Connector>, Body>, Fault> {
        let clients = || self.0.encrypted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients().get(tls) {
            return Ok(client.clone());
        }
        let wanted = tls.clone();
        let made = tokio::task::spawn_blocking(move || wanted.client_config()).await;
        let config = made.map_err(|e| Fault::Tls(e.to_string()))?.map_err(|e| Fault::Tls(e.to_string()))?;
        let connector = HttpsConnector::from((self.0.connector.clone(), config));
        let client: Client<_, Body> = builder().build(connector);
        Ok(clients().entry(tls.clone()).or_insert(client).clone())
    }

    /// A proxy for plain HTTP is spoken to in the request itself.
    fn with_proxy_login(&self, mut request: Request<Body>) -> Request<Body> {
        if let Some(login) = self.0.connector.login(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        request
    }
}

/// Bytes that a request brings, where it says how many.
fn upload_size(request: &Request<Body>) -> u64 {
    let told = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    told.or(hyper::body::Body::size_hint(request.body()).exact()).unwrap_or(0)
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(8);
    builder
}

/// Servers that treat builders in a way of their own know them by BuildKit's name.
fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("buildkit/v0 (compatible; kiln/", env!("CARGO_PKG_VERSION"), ")"))
}

/// Nothing.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The host of a URI, with its port, without a login.
pub(crate) fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default())
}

/// A URI for people: queries and logins may be secrets.
pub fn show(uri: &Uri) -> String {
    format!("{}://{}{}", uri.scheme_str().unwrap_or_default(), authority(uri), uri.path())
}
