//! One request to one server: logs in, follows redirects, tries again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use errdefs::{Class, Code, Error, Result};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use progress::Step;
use url::Url;

use crate::auth::{Answer, Auth};
use crate::backoff::Backoff;
use crate::busy::{Busy, span};
use crate::config::Retry;
use crate::endpoint::Endpoint;
use crate::error::{Refusal, access_denied};
use crate::transport::{self, Body, Fault, Transport, authority, show};

const REDIRECTS: usize = 10;
/// Shorter waits are not told.
const TOLD_FROM: Duration = Duration::from_secs(1);

/// A request that can be sent more than once.
#[derive(Clone)]
pub struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Payload,
    scopes: Vec<String>,
    once: bool,
}

/// What goes along.
#[derive(Clone)]
enum Payload {
    Bytes(Bytes),
    /// Made anew for each try.
    Made(Arc<dyn Fn() -> Result<Body> + Send + Sync>),
}

/// An answer, and what was asked.
pub struct Reply {
    pub response: Response<Incoming>,
    /// After redirects.
    pub url: Url,
    method: Method,
}

impl Call {
    pub fn new(method: Method, url: Url, scopes: Vec<String>) -> Self {
        let (headers, payload) = (HeaderMap::new(), Payload::Bytes(Bytes::new()));
        Call { method, url, headers, payload, scopes, once: false }
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        // What is no header value cannot be sent; media types and ranges are.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    #[must_use]
    pub fn bytes(mut self, bytes: Bytes) -> Self {
        self.payload = Payload::Bytes(bytes);
        self
    }

    #[must_use]
    pub fn body(mut self, make: impl Fn() -> Result<Body> + Send + Sync + 'static) -> Self {
        self.payload = Payload::Made(Arc::new(make));
        self
    }

    /// What has failed half-way must not be sent again as it is. What a server did not want to hear may be.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    fn may_be_repeated(&self, busy: &Busy) -> bool {
        !self.once || busy.refused_all()
    }

    fn request(&self, url: &Url, login: Option<HeaderValue>) -> Result<Request<Body>> {
        let mut request = Request::new(match &self.payload {
            Payload::Bytes(bytes) if bytes.is_empty() => transport::empty(),
            Payload::Bytes(bytes) => transport::full(bytes.clone()),
            Payload::Made(make) => make()?,
        });
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|e| Error::user(format!("invalid URL: {e}")))?;
        *request.headers_mut() = self.headers.clone();
        if let Some(login) = login {
            request.headers_mut().insert(AUTHORIZATION, login);
        }
        Ok(request)
    }
}

impl Reply {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Whether it is a web page: what proxies and login forms give in the place of what was asked for.
    pub fn is_page(&self) -> bool {
        self.header(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().starts_with("text/html"))
    }

    /// # Errors
    /// Says so where a success is a web page.
    pub fn refuse_page(&self) -> Result<()> {
        if !self.status().is_success() || !self.is_page() {
            return Ok(());
        }
        let uri = self.url.as_str().parse().unwrap_or_default();
        let message = format!("{} request to {} was answered with a web page", self.method, show(&uri));
        let error = Error::new(Class::Environment, Code::FailedPrecondition, message);
        Err(error.hint(format!(
            "`{}` is no registry, or a proxy or a login form answers in its place",
            authority(&uri)
        )))
    }

    /// The error of an answer that is no success.
    pub async fn into_error(self) -> Error {
        self.into_refusal().await.into_error()
    }

    pub async fn into_refusal(self) -> Refusal {
        let uri = self.url.as_str().parse().unwrap_or_default();
        Refusal::read(self.method, uri, self.response).await
    }

    /// Only a success.
    pub async fn success(self) -> Result<Self> {
        if self.status().is_success() { Ok(self) } else { Err(self.into_error().await) }
    }
}

/// Sends to one server.
pub struct Caller<'a> {
    pub transport: &'a Transport,
    pub auth: &'a Auth,
    pub endpoint: &'a Endpoint,
    pub retry: Retry,
    /// Where waits are told.
    pub step: Option<&'a Step>,
}

impl Caller<'_> {
    /// The answer, whatever its status. Refused logins are errors.
    pub async fn send(&self, mut call: Call) -> Result<Reply> {
        let mut backoff = Backoff::new(self.retry);
        let mut refusals = 0;
        loop {
            let login = self.login(&call).await?;
            let reply = match self.follow(&call, login.clone()).await? {
                Ok(reply) => reply,
                Err(Fault::NoTls) if self.endpoint.may_fall_back() && call.url.scheme() == "https" => {
                    // The scheme of a URL with a host can be set to another of the same kind.
                    let _ = call.url.set_scheme("http");
                    continue;
                }
                Err(fault) if !call.once && fault.may_pass() && backoff.pause().await => continue,
                Err(fault) => {
                    let uri = call.url.as_str().parse().unwrap_or_default();
                    return Err(fault.of_request(&call.method, &uri));
                }
            };
            if reply.status() == StatusCode::UNAUTHORIZED && self.is_own(&reply.url) {
                refusals += 1;
                let headers = reply.response.headers();
                let answer = match refusals {
                    1 | 2 => self.auth.refused(self.endpoint, headers, &call.scopes, login.as_ref()).await?,
                    _ => Answer::Denied("authorization failed".into()),
                };
                match answer {
                    Answer::Again => continue,
                    Answer::Denied(words) => {
                        let pushes = call.scopes.iter().any(|s| s.ends_with(",push"));
                        let verb = if pushes { "push" } else { "pull" };
                        return Err(access_denied(verb, &self.endpoint.host, &words));
                    }
                }
            }
            if let Some(busy) = Busy::of(&reply.response).filter(|busy| call.may_be_repeated(busy))
                && let Some(wait) = backoff.next_wait(busy.after)
            {
                self.wait(&busy, wait).await?;
                continue;
            }
            return Ok(reply);
        }
    }

    /// Waits, and tells so where it is long enough to wonder.
    async fn wait(&self, busy: &Busy, wait: Duration) -> Result<()> {
        let waiting = async {
            tokio::time::sleep(wait).await;
            Ok(())
        };
        match self.step.filter(|_| wait >= TOLD_FROM) {
            Some(step) => {
                let told = format!("{}; trying again in {}", busy.words(&self.endpoint.host), span(wait));
                step.part(&told, waiting).await
            }
            None => waiting.await,
        }
    }

    async fn login(&self, call: &Call) -> Result<Option<HeaderValue>> {
        match self.is_own(&call.url) {
            true => self.auth.header(self.transport, self.retry, self.endpoint, &call.scopes).await,
            false => Ok(None),
        }
    }

    /// Whether logins for this server may be shown there.
    fn is_own(&self, url: &Url) -> bool {
        let own = Url::parse(&format!("{}://{}", url.scheme(), self.endpoint.host));
        own.is_ok_and(|own| own.origin() == url.origin())
    }

    async fn follow(&self, call: &Call, login: Option<HeaderValue>) -> Result<Result<Reply, Fault>> {
        let (mut url, mut login) = (call.url.clone(), login);
        for _ in 0..=REDIRECTS {
            let request = call.request(&url, login.clone())?;
            let response = match self.transport.send(request, &self.endpoint.tls).await {
                Ok(response) => response,
                Err(fault) => return Ok(Err(fault)),
            };
            let target = redirect(&call.method, &url, &response);
            let Some(target) = target else {
                return Ok(Ok(Reply { response, url, method: call.method.clone() }));
            };
            // Another server must not see the login, nor may anyone on the way.
            let same_server = target.origin() == url.origin();
            if !same_server {
                login = None;
            }
            url = target;
        }
        Err(Error::environment(format!("stopped after {REDIRECTS} redirects")))
    }
}

fn redirect<B>(method: &Method, from: &Url, response: &Response<B>) -> Option<Url> {
    let asks = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    if !asks || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    from.join(location).ok().filter(|u| matches!(u.scheme(), "http" | "https"))
}
