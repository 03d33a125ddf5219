//! Tokens and those who give them.

use std::time::{Duration, Instant};

use errdefs::{Error, Result, ResultExt as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::challenge::Challenge;
use super::{basic, secret_header};
use crate::backoff::Backoff;
use crate::busy::Busy;
use crate::config::Retry;
use crate::error::Refusal;
use crate::transport::{self, Body, Tls, Transport};
use crate::{Credential, Token, TokenRequest};

/// How long a token lasts whose giver does not say.
const LASTS: i64 = 60;
/// Most bytes of an answer.
const LIMIT: usize = 1 << 20;
const CLIENT: &str = "kiln";

/// Who gives tokens for a host.
#[derive(Clone)]
pub struct Realm {
    url: Url,
    service: String,
}

/// How its server is reached.
pub struct Server<'a> {
    pub transport: &'a Transport,
    pub tls: &'a Tls,
    pub retry: Retry,
}

/// A token, and when to ask for the next.
pub struct Fresh {
    token: String,
    header: HeaderValue,
    /// Seconds, as its giver said.
    expires_in: i64,
    issued_at: i64,
    until: Instant,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: i64,
    /// As in RFC 3339.
    #[serde(default)]
    issued_at: String,
}

impl Given {
    /// Seconds since the epoch; 0 where its giver does not say.
    fn issued_at(&self) -> i64 {
        self.issued_at.parse::<Timestamp>().map_or(0, Timestamp::as_second)
    }
}

impl Fresh {
    /// `expires_in` counts seconds, `issued_at` those since the epoch; 0 where they are not known. The last tenth is not
    /// used.
    pub fn new(token: &str, expires_in: i64, issued_at: i64) -> Result<Self> {
        let lasts = if expires_in > 0 { expires_in.min(86400) } else { LASTS };
        let age = if issued_at > 0 { Timestamp::now().as_second().saturating_sub(issued_at) } else { 0 };
        // A token is not given when it is of no use any more: the clock of its giver goes otherwise than ours.
        let left = if (0..lasts).contains(&age) { lasts - age } else { lasts };
        let until = Instant::now() + Duration::from_millis(left.unsigned_abs() * 900);
        let header = secret_header(&format!("Bearer {token}"))?;
        Ok(Fresh { token: token.to_owned(), header, expires_in, issued_at, until })
    }

    pub fn into_token(self) -> Token {
        Token { token: self.token, expires_in: self.expires_in, issued_at: self.issued_at }
    }

    pub fn header(&self) -> Option<HeaderValue> {
        (Instant::now() < self.until).then(|| self.header.clone())
    }
}

impl Realm {
    pub fn of(challenge: &Challenge) -> Result<Self> {
        let realm = challenge
            .get("realm")
            .ok_or_else(|| Error::environment("no realm specified for token auth challenge"))?;
        Self::parse(realm, challenge.get("service").unwrap_or_default())
    }

    pub fn parse(realm: &str, service: &str) -> Result<Self> {
        let url = Url::parse(realm)
            .map_err(|e| Error::environment(format!("invalid token auth challenge realm: {e}")))?;
        Ok(Realm { url, service: service.to_owned() })
    }

    pub fn request(&self, host: &str, scopes: &[String]) -> TokenRequest {
        TokenRequest {
            host: host.to_owned(),
            realm: self.url.to_string(),
            service: self.service.clone(),
            scopes: scopes.to_vec(),
        }
    }

    /// Fetches a token. A name and a password are shown with GET, an identity token with POST; where the server does not
    /// take it this way, the other is tried.
    pub async fn fetch(
        &self,
        server: &Server<'_>,
        scopes: &[String],
        login: Option<&Credential>,
    ) -> Result<Fresh> {
        let Some(login) = login else {
            let given = self.exchange(server, || self.get(scopes, None)).await;
            return given.map_err(Refused::into_error).context("failed to fetch anonymous token");
        };
        let by_post = login.username.is_empty();
        let request =
            |post: bool| if post { self.post(scopes, login) } else { self.get(scopes, Some(login)) };
        let given = match self.exchange(server, || request(by_post)).await {
            Err(Refused::Status(refusal)) if other_way_may_help(refusal.status) => {
                // What the second says counts only where it has more to say.
                match self.exchange(server, || request(!by_post)).await {
                    Err(Refused::Status(_)) => Err(Refused::Status(refusal)),
                    other => other,
                }
            }
            other => other,
        };
        given.map_err(Refused::into_error).context("failed to fetch oauth token")
    }

    fn get(&self, scopes: &[String], login: Option<&Credential>) -> Result<Request<Body>> {
        let mut url = self.url.clone();
        {
            let mut query = url.query_pairs_mut();
            if !self.service.is_empty() {
                query.append_pair("service", &self.service);
            }
            for scope in scopes {
                query.append_pair("scope", scope);
            }
        }
        let mut request = Request::new(transport::empty());
        *request.uri_mut() = uri(&url)?;
        if let Some(login) = login {
            request.headers_mut().insert(AUTHORIZATION, basic(&login.username, &login.secret)?);
        }
        Ok(request)
    }

    fn post(&self, scopes: &[String], login: &Credential) -> Result<Request<Body>> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("scope", &scopes.join(" "))
            .append_pair("service", &self.service)
            .append_pair("client_id", CLIENT);
        match login.username.as_str() {
            "" => form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", &login.secret),
            name => form
                .append_pair("grant_type", "password")
                .append_pair("username", name)
                .append_pair("password", &login.secret),
        };
        let mut request = Request::new(transport::full(form.finish()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri(&self.url)?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(CONTENT_TYPE, form);
        Ok(request)
    }

    async fn exchange(
        &self,
        server: &Server<'_>,
        make: impl Fn() -> Result<Request<Body>>,
    ) -> Result<Fresh, Refused> {
        let mut backoff = Backoff::new(server.retry);
        let (method, uri, response) = loop {
            let request = make().map_err(Refused::Error)?;
            let (method, uri) = (request.method().clone(), request.uri().clone());
            match server.transport.send(request, server.tls).await {
                Err(fault) if fault.may_pass() && backoff.pause().await => {}
                Err(fault) => return Err(Refused::Error(fault.of_request(&method, &uri))),
                Ok(response) => match Busy::of(&response).and_then(|busy| backoff.next_wait(busy.after)) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => break (method, uri, response),
                },
            }
        };
        if !response.status().is_success() {
            return Err(Refused::Status(Refusal::read(method, uri, response).await));
        }
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let broken = |e: String| Error::environment(format!("unable to decode token response: {e}"));
        let body = body.map_err(|e| Refused::Error(broken(e.to_string())))?.to_bytes();
        let given: Given =
            serde_json::from_slice(&body).map_err(|e| Refused::Error(broken(e.to_string())))?;
        let issued_at = given.issued_at();
        let token = if given.access_token.is_empty() { given.token } else { given.access_token };
        if token.is_empty() {
            let message = "authorization server did not include a token in the response";
            return Err(Refused::Error(Error::environment(message)));
        }
        Fresh::new(&token, given.expires_in, issued_at).map_err(Refused::Error)
    }
}

enum Refused {
    Status(Refusal),
    Error(Error),
}

impl Refused {
    fn into_error(self) -> Error {
        match self {
            Refused::Status(refusal) => refusal.into_error(),
            Refused::Error(e) => e,
        }
    }
}

fn other_way_may_help(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 404 | 405)
}

pub fn uri(url: &Url) -> Result<Uri> {
    url.as_str().parse().map_err(|e| Error::user(format!("invalid URL: {e}")))
}
