//! Names of images (distribution/reference): `[host[:port]/]path[:tag][@digest]`, with Docker's defaults.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The registry of names that name none.
pub const DEFAULT_HOST: &str = "docker.io";

/// A complete name: host and path always there, `library/` added for Docker's own images.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
    #[error("invalid checksum digest length")]
    DigestLength,
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Hexadecimal(String),
}

/// A complete name as people write it; what is no name stays as it is.
pub fn familiar(name: &str) -> String {
    name.parse().map_or_else(|_| name.to_owned(), |name: Reference| name.familiar())
}

impl Reference {
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository without its host.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Host and path: `docker.io/library/alpine`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// The name as people write it: `alpine:3`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name().to_owned();
        self.push_end(&mut text);
        text
    }

    /// The repository as people write it: `alpine`.
    pub fn familiar_name(&self) -> String {
        if self.host != DEFAULT_HOST {
            return self.repository();
        }
        match self.path.strip_prefix("library/") {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// With the tag `latest` where there is neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }

    #[must_use]
    pub fn with_tag(mut self, tag: Option<String>) -> Self {
        self.tag = tag;
        self
    }

    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    #[must_use]
    pub fn without_digest(mut self) -> Self {
        self.digest = None;
        self
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub fn object(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }

    fn push_end(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository();
        self.push_end(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(s: &str) -> Result<Self, InvalidReference> {
        if s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidReference::Hexadecimal(s.to_owned()));
        }
        let (host, rest) = split_host(s);
        let rest = match host == DEFAULT_HOST && !rest.contains('/') {
            true => format!("library/{rest}"),
            false => rest.to_owned(),
        };
        let remote = rest.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(InvalidReference::Uppercase(remote.to_owned()));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (rest.as_str(), None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if !is_host(host) || !path.split('/').all(is_component) || tag.is_some_and(|t| !is_tag(t)) {
            return Err(InvalidReference::Format);
        }
        if path.len() > 255 {
            return Err(InvalidReference::TooLong);
        }
        Ok(Reference { host: host.to_owned(), path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_HOST, rest),
        Some((first, rest)) if is_host_like(first) => (first, rest),
        _ => (DEFAULT_HOST, text),
    }
}

/// Anything of the right form is told apart from a digest whose algorithm or length is wrong.
fn parse_digest(text: &str) -> Result<Digest, InvalidReference> {
    let (algorithm, hex) = text.split_once(':').ok_or(InvalidReference::Format)?;
    let words = algorithm.split(['-', '_', '+', '.']);
    let valid = words.clone().all(|w| {
        w.starts_with(|c: char| c.is_ascii_alphabetic()) && w.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    if !valid || hex.len() < 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(InvalidReference::Format);
    }
    match algorithm {
        "sha256" | "sha384" | "sha512" => text.parse().map_err(|_| InvalidReference::DigestLength),
        _ => Err(InvalidReference::DigestAlgorithm),
    }
}

/// Whether the part before the first slash is a host: it has a dot or a port, or is `localhost`, or has capitals.
fn is_host_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(v6) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Letters and digits, with single `.`, one or two `_`, or any number of `-` between them.
fn is_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends =
        bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    let mut separators =
        part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|s| !s.is_empty());
    ends && separators.all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    (1..=128).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|&b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let d = Digest::of("x");
        for (text, full, familiar) in [
            ("alpine", "docker.io/library/alpine", "alpine"),
            ("alpine:3", "docker.io/library/alpine:3", "alpine:3"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine", "alpine"),
            ("user/app", "docker.io/user/app", "user/app"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("ghcr.io/a/b__c-d.e", "ghcr.io/a/b__c-d.e", "ghcr.io/a/b__c-d.e"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            (&format!("a:1@{d}"), &format!("docker.io/library/a:1@{d}"), &format!("a:1@{d}")),
        ] {
            let r: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((r.to_string(), r.familiar()), (full.to_string(), familiar.to_string()));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            ":",
            "a//b",
            "a:",
            "a@sha256:12",
            "-a",
            "a/-b",
            "a b",
            "a..b",
            "a___b",
            "http://x/y",
            "a:b:c",
            "/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let uppercase = Err(InvalidReference::Uppercase("library/Alpine".into()));
        assert_eq!("Alpine".parse::<Reference>(), uppercase);
        let digest = |d: &str| format!("a@{d}").parse::<Reference>();
        assert_eq!(digest(&format!("md5:{}", "a".repeat(32))), Err(InvalidReference::DigestAlgorithm));
        assert_eq!(digest(&format!("sha256:{}", "a".repeat(40))), Err(InvalidReference::DigestLength));
        let long = "a/".repeat(128) + "a";
        assert_eq!(long.parse::<Reference>(), Err(InvalidReference::TooLong));
        let hex = "a".repeat(64);
        assert_eq!(hex.parse::<Reference>(), Err(InvalidReference::Hexadecimal(hex)));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(text in "[a-zA-Z0-9:/@._-]{0,40}") {
            if let Ok(r) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(r.to_string().parse::<Reference>(), Ok(r.clone()));
                proptest::prop_assert_eq!(r.familiar().parse::<Reference>(), Ok(r));
            }
        }
    }
}
