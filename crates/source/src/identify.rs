//! Reads the identifier and attributes of a source op.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use llb::SourceOp;
use oci::{Digest, Platform, Reference};
use refs::RecordType;
use signature::Signer;

use crate::Source;
use crate::blob::{BlobOptions, BlobPlace, BlobSource};
use crate::file::safe_name;
use crate::git::{GitOptions, GitSource};
use crate::http::{Header, HttpOptions, HttpSource};
use crate::image::{ImageOptions, ImageSource, Place};
use crate::local::{LocalOptions, LocalSource};
use crate::sources::Sources;

impl Sources {
    /// The source that an op asks for.
    ///
    /// # Errors
    /// User errors for an unknown scheme and for attributes that have no meaning.
    pub fn identify(&self, op: &SourceOp, platform: &Platform) -> Result<Box<dyn Source>> {
        let (scheme, rest) = op
            .identifier
            .split_once("://")
            .ok_or_else(|| Error::user(format!("failed to parse source identifier {:?}", op.identifier)))?;
        let attrs = Attrs(&op.attrs);
        match scheme {
            "local" => {
                Ok(Box::new(LocalSource { shared: Arc::clone(&self.0), options: local(rest, attrs)? }))
            }
            "docker-image" => {
                let options = image(rest, attrs, platform, Place::Registry)?;
                Ok(Box::new(ImageSource::new(Arc::clone(&self.0), options)))
            }
            "oci-layout" => {
                let options = image(rest, attrs, platform, layout(attrs))?;
                Ok(Box::new(ImageSource::new(Arc::clone(&self.0), options)))
            }
            "docker-image+blob" => self.blob(rest, attrs, Place::Registry),
            "oci-layout+blob" => self.blob(rest, attrs, layout(attrs)),
            "http" | "https" => {
                let options = http(&op.identifier, attrs)?;
                Ok(Box::new(HttpSource::new(Arc::clone(&self.0), options)))
            }
            "git" => {
                let options = GitOptions::new(rest, &op.attrs)?;
                Ok(Box::new(GitSource::new(Arc::clone(&self.0), options)))
            }
            _ => Err(Error::user(format!("unknown source scheme `{scheme}`"))),
        }
    }

    fn blob(&self, rest: &str, attrs: Attrs<'_>, place: Place) -> Result<Box<dyn Source>> {
        let filename = attrs.text("http.filename");
        let options = BlobOptions {
            blob: BlobPlace::new(rest, place)?,
            filename: if filename.is_empty() { String::new() } else { safe_name(filename) },
            perm: attrs.number("http.perm")?.unwrap_or(0),
            uid: attrs.number("http.uid")?.unwrap_or(0),
            gid: attrs.number("http.gid")?.unwrap_or(0),
            record_type: record_type(attrs.text("image.recordtype"))?,
        };
        Ok(Box::new(BlobSource::new(Arc::clone(&self.0), options)))
    }
}

/// The whole name of what an op asks for, so that one source has one name: images with registry and tag, as
/// `docker-image://docker.io/library/busybox:latest`, repositories without scheme and with a clean folder.
pub fn whole_name(op: &SourceOp) -> String {
    let named = || {
        let (scheme, rest) = op.identifier.split_once("://")?;
        match scheme {
            "docker-image" => {
                let image = rest.parse::<Reference>().ok()?;
                Some(format!("docker-image://{}", image.with_default_tag()))
            }
            "git" => Some(format!("git://{}", GitOptions::new(rest, &op.attrs).ok()?.whole_name())),
            _ => None,
        }
    };
    named().unwrap_or_else(|| op.identifier.clone())
}

/// The attributes of a source.
#[derive(Clone, Copy)]
struct Attrs<'a>(&'a BTreeMap<String, String>);

impl<'a> Attrs<'a> {
    fn text(self, key: &str) -> &'a str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// A list in JSON.
    fn list(self, key: &str) -> Result<Vec<String>> {
        match self.text(key) {
            "" => Ok(Vec::new()),
            json => serde_json::from_str::<Option<Vec<String>>>(json)
                .map(Option::unwrap_or_default)
                .map_err(|e| Error::user(format!("invalid attribute {key} of a source: {e}"))),
        }
    }

    /// As Go reads it; not set is false.
    fn flag(self, key: &str) -> Result<bool> {
        match self.text(key) {
            "" if !self.0.contains_key(key) => Ok(false),
            other => oci::parse_bool(other)
                .ok_or_else(|| Error::user(format!("invalid value for {key} {other:?}"))),
        }
    }

    /// A number as Go reads it: decimal, or with `0x`, `0o`, `0b` or a leading 0 before it.
    fn number(self, key: &str) -> Result<Option<u32>> {
        let text = self.text(key);
        let (digits, radix) = match text.as_bytes() {
            [] => return Ok(None),
            [b'0', b'x' | b'X', ..] => (&text[2..], 16),
            [b'0', b'o' | b'O', ..] => (&text[2..], 8),
            [b'0', b'b' | b'B', ..] => (&text[2..], 2),
            [b'0', _, ..] => (&text[1..], 8),
            _ => (text, 10),
        };
        let number = u32::from_str_radix(digits, radix);
        number.map(Some).map_err(|_| Error::user(format!("invalid attribute {key} of a source: {text}")))
    }

    fn digest(self, key: &str) -> Result<Option<Digest>> {
        match self.text(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|e| Error::user(format!("invalid {key}: {e}"))),
        }
    }
}

fn local(name: &str, attrs: Attrs<'_>) -> Result<LocalOptions> {
    let metadata_only = match attrs.flag("local.metadatatransfer")? {
        true => Some(attrs.list("local.metadatatransferexclude")?),
        false => None,
    };
    // Contexts of one session are told apart by a prefix, which belongs to the name.
    let (name, session) = match attrs.text("local.session").split_once(':') {
        Some((prefix, id)) => (format!("{prefix}-{name}"), id),
        None => (name.to_owned(), attrs.text("local.session")),
    };
    Ok(LocalOptions {
        name,
        session: session.to_owned(),
        include: attrs.list("local.includepattern")?,
        exclude: attrs.list("local.excludepatterns")?,
        follow: attrs.list("local.followpaths")?,
        shared_key_hint: attrs.text("local.sharedkeyhint").to_owned(),
        compare: attrs.text("local.differ") != "none",
        metadata_only,
    })
}

fn image(rest: &str, attrs: Attrs<'_>, platform: &Platform, place: Place) -> Result<ImageOptions> {
    let reference: Reference =
        rest.parse().map_err(|e| Error::user(format!("failed to parse image reference `{rest}`: {e}")))?;
    let layer_limit = match (attrs.text("image.layerlimit"), attrs.text("oci.layerlimit")) {
        ("", "") => None,
        (text, "") | ("", text) | (text, _) => match text.parse::<usize>() {
            Ok(n) if n > 0 => Some(n),
            _ => return Err(Error::user(format!("invalid layer limit {text}"))),
        },
    };
    Ok(ImageOptions {
        reference,
        platform: platform.clone(),
        place,
        resolve_mode: attrs.text("image.resolvemode").parse()?,
        layer_limit,
        checksum: attrs.digest("image.checksum")?,
        record_type: record_type(attrs.text("image.recordtype"))?,
    })
}

/// The layout that the attributes name.
fn layout(attrs: Attrs<'_>) -> Place {
    let [session, store] = ["oci.session", "oci.store"].map(|key| attrs.text(key).to_owned());
    Place::Layout { session, store }
}

fn record_type(name: &str) -> Result<RecordType> {
    match name {
        "" | "regular" | "internal" | "frontend" => Ok(RecordType::from_name(name)),
        other => Err(Error::user(format!("invalid record type {other}"))),
    }
}

fn http(url: &str, attrs: Attrs<'_>) -> Result<HttpOptions> {
    let signed = match (attrs.text("http.sig.pubkey"), attrs.text("http.sig.signature")) {
        ("", "") => None,
        ("", _) | (_, "") => {
            let text = "http signature verification requires both pubkey and signature";
            return Err(Error::user(text));
        }
        (keys, signature) => {
            Some((Signer { keys: keys.to_owned(), ..Signer::default() }, signature.to_owned()))
        }
    };
    let header = |(key, value): (&String, &String)| {
        let name = key.strip_prefix("http.header.")?;
        let name = HEADERS.iter().find(|h| h.eq_ignore_ascii_case(name))?;
        Some(Header { name, value: value.clone() })
    };
    let mut headers: Vec<_> = attrs.0.iter().filter_map(header).collect();
    headers.sort_by_key(|h| h.name);
    Ok(HttpOptions {
        url: url.to_owned(),
        checksum: attrs.digest("http.checksum")?,
        filename: attrs.text("http.filename").to_owned(),
        perm: attrs.number("http.perm")?.unwrap_or(0),
        uid: attrs.number("http.uid")?.unwrap_or(0),
        gid: attrs.number("http.gid")?.unwrap_or(0),
        auth_secret: attrs.text("http.authheadersecret").to_owned(),
        headers,
        signed,
    })
}

/// Headers that a source may set; others are left out.
const HEADERS: [&str; 2] = ["Accept", "User-Agent"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_does() {
        let read = |text: &str| {
            let attrs = BTreeMap::from([("n".to_owned(), text.to_owned())]);
            Attrs(&attrs).number("n").ok().flatten()
        };
        for (text, expected) in [
            ("", None),
            ("0600", Some(0o600)),
            ("0o600", Some(0o600)),
            ("384", Some(0o600)),
            ("0x1ff", Some(0o777)),
            ("0", Some(0)),
            ("-1", None),
            ("08", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn local_sources() {
        let check = |attrs: &[(&str, &str)], expected: LocalOptions| {
            let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(local("context", Attrs(&attrs)).expect("valid"), expected);
        };
        let plain = LocalOptions { name: "context".into(), compare: true, ..LocalOptions::default() };
        check(&[], plain.clone());
        check(&[("local.session", "s1")], LocalOptions { session: "s1".into(), ..plain.clone() });
        check(
            &[("local.session", "x:s1"), ("local.differ", "none")],
            LocalOptions { name: "x-context".into(), session: "s1".into(), compare: false, ..plain.clone() },
        );
        check(
            &[("local.includepattern", r#"["a","b"]"#), ("local.excludepatterns", "null")],
            LocalOptions { include: vec!["a".into(), "b".into()], ..plain.clone() },
        );
        check(
            &[("local.metadatatransfer", "true"), ("local.metadatatransferexclude", r#"["*.go"]"#)],
            LocalOptions { metadata_only: Some(vec!["*.go".into()]), ..plain.clone() },
        );
        check(&[("local.metadatatransfer", "0")], plain);
    }
}
