//! Servers that want to be asked later, and what they say of it.

use std::time::Duration;

use http::header::{AsHeaderName, HeaderMap, RETRY_AFTER};
use http::{Response, StatusCode};
use jiff::Timestamp;

/// An answer that says to come back later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    status: StatusCode,
    /// When, if it says that.
    pub after: Option<Duration>,
    /// What it allows, as `100 in 6 h, 0 left`, if it says that.
    quota: String,
}

impl Busy {
    /// `None` where an answer says nothing of the kind.
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        Self::read(response.status(), response.headers(), Timestamp::now())
    }

    fn read(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        if !matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504) {
            return None;
        }
        let after = text(headers, RETRY_AFTER).and_then(|text| retry_after(text, now));
        let limits = status == StatusCode::TOO_MANY_REQUESTS;
        let after = after.or_else(|| limits.then(|| reset(headers)).flatten());
        let quota = if limits { quota(headers) } else { String::new() };
        Some(Busy { status, after, quota })
    }

    /// What happened, for people: `registry `r.io` limits how often it is asked (100 in 6 h, 0 left)`.
    pub fn words(&self, host: &str) -> String {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS if self.quota.is_empty() => {
                format!("registry `{host}` limits how often it is asked")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                format!("registry `{host}` limits how often it is asked ({})", self.quota)
            }
            status => format!("registry `{host}` answers {status}"),
        }
    }

    /// Whether the server did nothing at all with what it was sent.
    pub fn refused_all(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// What to do where it was waited for long enough.
    pub fn hint(&self, host: &str) -> String {
        let when = self.after.filter(|after| !after.is_zero());
        let when = when.map_or("try again later".into(), |after| format!("try again in {}", span(after)));
        format!("{}: {when}, log in to raise the limit, or use a mirror", self.words(host))
    }
}

/// A time for people, with the one unit that fits: `37 s`, `5 min`, `6 h`.
pub fn span(time: Duration) -> String {
    match time.as_secs() + u64::from(time.subsec_nanos() > 0) {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s.div_ceil(60)),
        s => format!("{} h", s.div_ceil(3600)),
    }
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    // What is past asks for no wait.
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

/// When there is something left again: `ratelimit-reset: 37`, and the forms of the drafts of RateLimit header fields.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    let plain = text(headers, "ratelimit-reset").and_then(|text| text.parse().ok());
    let field = || text(headers, "ratelimit").and_then(|text| param(text, &["reset", "t"]));
    plain.or_else(field).map(Duration::from_secs)
}

/// What is allowed: Docker Hub's `ratelimit-limit: 100;w=21600` and `ratelimit-remaining`, or the drafts' `ratelimit` and
/// `ratelimit-policy`.
fn quota(headers: &HeaderMap) -> String {
    let first = |text: &str| text.split([';', ',']).next()?.trim().parse::<u64>().ok();
    let (limit, policy) = (text(headers, "ratelimit-limit"), text(headers, "ratelimit-policy"));
    let field = text(headers, "ratelimit");
    let amount =
        limit.and_then(first).or_else(|| param(policy?, &["q"])).or_else(|| param(field?, &["limit"]));
    let window = limit.and_then(|text| param(text, &["w"])).or_else(|| param(policy?, &["w"]));
    let left = text(headers, "ratelimit-remaining").and_then(first);
    let left = left.or_else(|| param(field?, &["remaining", "r"]));
    let Some(amount) = amount else { return String::new() };
    let window = window.map(|w| format!(" in {}", span(Duration::from_secs(w)))).unwrap_or_default();
    let left = left.map(|left| format!(", {left} left")).unwrap_or_default();
    format!("{amount}{window}{left}")
}

/// The number of one of these names in `"default";r=50;t=30` or `limit=100, reset=5`.
fn param(text: &str, names: &[&str]) -> Option<u64> {
    let parts = text.split([';', ',']).filter_map(|part| part.split_once('='));
    parts.filter(|(name, _)| names.contains(&name.trim())).find_map(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(status: u16, given: &[(&'static str, &'static str)]) -> Option<Busy> {
        let headers = given.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().expect("a time");
        Busy::read(StatusCode::from_u16(status).expect("a status"), &headers.collect(), now)
    }

    #[test]
    fn servers_say_when_to_come_back() {
        let check = |given: &[(&'static str, &'static str)], expected: Option<u64>| {
            let found = busy(429, given).expect("is busy");
            assert_eq!(found.after, expected.map(Duration::from_secs), "{given:?}");
        };
        check(&[], None);
        check(&[("retry-after", "37")], Some(37));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(37));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0));
        check(&[("retry-after", "soon")], None);
        check(&[("ratelimit-reset", "5")], Some(5));
        check(&[("ratelimit", "\"default\";r=0;t=30")], Some(30));
        check(&[("ratelimit", "limit=100, remaining=0, reset=8")], Some(8));
        check(&[("ratelimit-reset", "5"), ("retry-after", "2")], Some(2));
        assert_eq!(busy(404, &[("retry-after", "1")]), None);
    }

    #[test]
    fn limits_are_told() {
        let check = |given: &[(&'static str, &'static str)], expected: &str| {
            assert_eq!(busy(429, given).expect("is busy").words("h"), expected);
        };
        let plain = "registry `h` limits how often it is asked";
        check(&[], plain);
        check(
            &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
            &format!("{plain} (100 in 6 h, 0 left)"),
        );
        check(
            &[("ratelimit-policy", "\"burst\";q=10;w=60"), ("ratelimit", "\"burst\";r=1;t=3")],
            &format!("{plain} (10 in 60 s, 1 left)"),
        );
        check(&[("ratelimit", "limit=100, remaining=7, reset=8")], &format!("{plain} (100, 7 left)"));
        assert_eq!(
            busy(503, &[]).expect("is busy").words("h"),
            "registry `h` answers 503 Service Unavailable"
        );
    }
}
