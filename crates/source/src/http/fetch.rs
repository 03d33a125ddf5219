//! Requests to the web.

use errdefs::{Class, Code, Error, Result};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, ETAG, IF_NONE_MATCH, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use registry::transport::{self, Tls, Transport};

use super::HttpOptions;
use crate::context::Context;

/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// Tries of a request whose connection broke.
const TRIES: usize = 3;

/// What a request says beside its address. Logins come from the client's secrets.
pub async fn headers(cx: &Context, options: &HttpOptions, host: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Error::user("a header of an http source has odd characters"))
    };
    for header in &options.headers {
        let name = if header.name == "Accept" { ACCEPT } else { USER_AGENT };
        headers.insert(name, value(&header.value)?);
    }
    let secret = async |name: &str| match cx.session().await {
        Ok(session) => session.secret(name).await,
        Err(_) => Ok(None),
    };
    let login = match options.auth_secret.as_str() {
        "" => match secret(&format!("HTTP_AUTH_TOKEN_{host}")).await? {
            Some(token) => Some([b"Bearer ".as_slice(), &token].concat()),
            None => secret(&format!("HTTP_AUTH_HEADER_{host}")).await?,
        },
        name => Some(
            secret(name)
                .await?
                .ok_or_else(|| Error::not_found(format!("failed to retrieve HTTP auth secret {name}")))?,
        ),
    };
    if let Some(login) = login {
        let mut login = value(&String::from_utf8_lossy(&login))?;
        login.set_sensitive(true);
        headers.insert(AUTHORIZATION, login);
    }
    Ok(headers)
}

/// Whether a page is still the one of `etag`. Without its bytes: not all servers heed the question. Where one says
/// nothing of use, the page is fetched.
pub async fn is_still(transport: &Transport, uri: &Uri, headers: &HeaderMap, etag: &str) -> bool {
    let mut headers = headers.clone();
    let Ok(value) = HeaderValue::from_str(etag) else { return false };
    headers.insert(IF_NONE_MATCH, value);
    match ask(transport, Method::HEAD, uri, headers).await {
        Ok(response) => {
            response.status() == StatusCode::NOT_MODIFIED || text(response.headers(), ETAG) == etag
        }
        Err(_) => false,
    }
}

/// Asks for a page.
pub async fn get(transport: &Transport, uri: &Uri, headers: &HeaderMap) -> Result<Response<Incoming>> {
    ask(transport, Method::GET, uri, headers.clone()).await
}

/// Follows redirects.
async fn ask(
    transport: &Transport,
    method: Method,
    uri: &Uri,
    mut headers: HeaderMap,
) -> Result<Response<Incoming>> {
    let mut uri = uri.clone();
    for _ in 0..=REDIRECTS {
        let response = send(transport, &method, &uri, &headers).await?;
        let status = response.status();
        let next = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let Some(next) = next.filter(|_| status != StatusCode::NOT_MODIFIED) else {
            return if status.is_success() || status == StatusCode::NOT_MODIFIED {
                Ok(response)
            } else {
                Err(refused(status, &uri))
            };
        };
        let target = follow(&uri, next.to_str().unwrap_or_default())?;
        // Another server must not see the login.
        if (target.scheme(), target.authority()) != (uri.scheme(), uri.authority()) {
            headers.remove(AUTHORIZATION);
        }
        uri = target;
    }
    Err(Error::user(format!("stopped after {REDIRECTS} redirects")))
}

async fn send(
    transport: &Transport,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response<Incoming>> {
    let mut tries = 1;
    loop {
        let mut request = Request::new(transport::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        match transport.send(request, &Tls::default()).await {
            Ok(response) => return Ok(response),
            Err(fault) if fault.may_pass() && tries < TRIES => tries += 1,
            Err(fault) => return Err(fault.of_request(&Method::GET, uri)),
        }
    }
}

fn refused(status: StatusCode, uri: &Uri) -> Error {
    let message = format!("invalid response status {} for {}", status.as_u16(), transport::show(uri));
    let (class, code) = match status.as_u16() {
        404 | 410 => (Class::User, Code::NotFound),
        401 => (Class::User, Code::Unauthenticated),
        403 => (Class::User, Code::PermissionDenied),
        _ => (Class::Environment, Code::Unknown),
    };
    let error = Error::new(class, code, message);
    match (code, uri.host()) {
        (Code::Unauthenticated | Code::PermissionDenied, Some(host)) => error.hint(format!(
            "give a login as the secret `HTTP_AUTH_HEADER_{host}` or `HTTP_AUTH_TOKEN_{host}`"
        )),
        _ => error,
    }
}

fn follow(from: &Uri, to: &str) -> Result<Uri> {
    let bad = || Error::user(format!("{} redirects to an invalid place", transport::show(from)));
    let base = url::Url::parse(&from.to_string()).map_err(|_| bad())?;
    let target = base.join(to).map_err(|_| bad())?;
    target.as_str().parse().map_err(|_| bad())
}

/// The text of a header; empty where it is not there.
pub fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_be_relative() {
        let from: Uri = "https://a/b/x".parse().expect("valid");
        let check = |to: &str, expected: &str| {
            assert_eq!(follow(&from, to).map(|u| u.to_string()).ok().as_deref(), Some(expected));
        };
        check("/c?d", "https://a/c?d");
        check("y", "https://a/b/y");
        check("//e/f", "https://e/f");
        check("http://e/f", "http://e/f");
    }
}
