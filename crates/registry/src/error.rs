//! Answers that are no success, in words.

use errdefs::{Class, Code, Error};
use http::{Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::busy::Busy;
use crate::transport::{authority, show};

/// Most bytes of an error's body that are read.
const LIMIT: usize = 64 << 10;

/// An answer that was not hoped for.
pub struct Refusal {
    pub status: StatusCode,
    method: Method,
    uri: Uri,
    /// What the registry says itself (distribution-spec, "Error codes").
    pub words: String,
    busy: Option<Busy>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
    /// Of token servers (RFC 6749, 5.2).
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Refusal {
    pub async fn read(method: Method, uri: Uri, response: Response<Incoming>) -> Self {
        let (status, busy) = (response.status(), Busy::of(&response));
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let words = body.map(|b| words(&b.to_bytes())).unwrap_or_default();
        Refusal { status, method, uri, words, busy }
    }

    pub fn into_error(self) -> Error {
        let Refusal { status, method, uri, words, busy } = self;
        let mut message = format!("unexpected status from {method} request to {}: {status}", show(&uri));
        if !words.is_empty() {
            message = format!("{message}: {words}");
        }
        let (class, code) = match status.as_u16() {
            401 => (Class::User, Code::Unauthenticated),
            403 => (Class::User, Code::PermissionDenied),
            404 => (Class::User, Code::NotFound),
            429 => (Class::Environment, Code::ResourceExhausted),
            500..=599 => (Class::Environment, Code::Unavailable),
            _ => (Class::Environment, Code::Unknown),
        };
        let error = Error::new(class, code, message);
        let host = authority(&uri);
        match status.as_u16() {
            400 if words.contains("HTTP request to an HTTPS server") => {
                error.hint(format!("`{host}` uses encryption: remove `http = true` for this registry"))
            }
            401 | 403 => error.hint(login_hint(host)),
            429 => error.hint(busy.map(|busy| busy.hint(host)).unwrap_or_default()),
            _ => error,
        }
    }
}

pub fn login_hint(host: &str) -> String {
    match host {
        "registry-1.docker.io" | "auth.docker.io" => "log in with `docker login`".into(),
        host => format!("log in with `docker login {host}`"),
    }
}

/// The registry refuses whoever asks. `verb` is `pull` or `push`.
pub fn access_denied(verb: &str, host: &str, words: &str) -> Error {
    let message =
        format!("{verb} access denied, repository does not exist or may require authorization: {words}");
    Error::new(Class::User, Code::PermissionDenied, message).hint(login_hint(host))
}

/// Errors in a registry's words: `denied: requested access to the resource is denied`.
fn words(body: &[u8]) -> String {
    let Ok(found) = serde_json::from_slice::<Errors>(body) else {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().next().unwrap_or_default().trim();
        // A page for people says nothing here.
        return if line.starts_with('<') { String::new() } else { line.chars().take(200).collect() };
    };
    let one = |e: &OneError| {
        let code = e.code.to_lowercase().replace('_', " ");
        match (code.is_empty(), e.message.is_empty()) {
            (false, false) => format!("{code}: {}", e.message),
            (true, _) => e.message.clone(),
            (false, true) => code,
        }
    };
    let list: Vec<_> = found.errors.iter().map(one).collect();
    match list.is_empty() {
        false => list.join(", "),
        true if !found.details.is_empty() => found.details,
        true => found.error_description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_explain_itself() {
        let check = |body: &str, expected: &str| assert_eq!(words(body.as_bytes()), expected);
        check(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}"#, "manifest unknown: no");
        check(r#"{"details":"incorrect username or password"}"#, "incorrect username or password");
        check("<html>", "");
        check("Client sent an HTTP request\nx", "Client sent an HTTP request");
        check("", "");
    }
}
