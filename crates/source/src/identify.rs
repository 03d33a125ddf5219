//! Reads the identifier and attributes of a source op.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use llb::SourceOp;
use oci::{Platform, Reference};

use crate::Source;
use crate::http::{HttpOptions, HttpSource};
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
            "local" => Ok(Box::new(LocalSource {
                parts: Arc::clone(&self.parts),
                index: Arc::clone(&self.local),
                options: local(rest, attrs)?,
            })),
            "docker-image" => {
                let options = image(rest, attrs, platform, Place::Registry)?;
                Ok(Box::new(ImageSource::new(Arc::clone(&self.parts), options)))
            }
            "oci-layout" => {
                let session = attrs.text("oci.session");
                let store = match attrs.text("oci.store") {
                    "" => rest.split(['@', ':']).next().unwrap_or_default(),
                    store => store,
                };
                let place = Place::Layout { session: session.to_owned(), store: store.to_owned() };
                let options = image(rest, attrs, platform, place)?;
                Ok(Box::new(ImageSource::new(Arc::clone(&self.parts), options)))
            }
            "http" | "https" => {
                let options = http(&op.identifier, attrs)?;
                Ok(Box::new(HttpSource::new(Arc::clone(&self.parts), Arc::clone(&self.http), options)))
            }
            "git" => Err(Error::unimplemented("git sources are not there yet")
                .hint("check the repository out and give the folder as a context")),
            _ => Err(Error::user(format!("unknown source scheme `{scheme}`"))),
        }
    }
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

    fn number(self, key: &str, radix: u32) -> Result<Option<u32>> {
        match self.text(key) {
            "" => Ok(None),
            text => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let number = u32::from_str_radix(digits, radix);
                number
                    .map(Some)
                    .map_err(|_| Error::user(format!("invalid attribute {key} of a source: {text}")))
            }
        }
    }
}

fn local(name: &str, attrs: Attrs<'_>) -> Result<LocalOptions> {
    let compare = match attrs.text("local.differ") {
        "" | "metadata" => true,
        "none" => false,
        other => return Err(Error::user(format!("unknown local differ type {other:?}"))),
    };
    if attrs.text("local.metadatatransfer") == "true" {
        return Err(Error::unimplemented("metadata-only transfers are not there yet"));
    }
    Ok(LocalOptions {
        name: name.to_owned(),
        session: attrs.text("local.session").to_owned(),
        include: attrs.list("local.includepattern")?,
        exclude: attrs.list("local.excludepatterns")?,
        follow: attrs.list("local.followpaths")?,
        shared_key_hint: attrs.text("local.sharedkeyhint").to_owned(),
        compare,
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
    let checksum = match attrs.text("image.checksum") {
        "" => None,
        text => Some(text.parse().map_err(|e| Error::user(format!("invalid image checksum: {e}")))?),
    };
    Ok(ImageOptions {
        reference,
        platform: platform.clone(),
        place,
        resolve_mode: attrs.text("image.resolvemode").parse()?,
        layer_limit,
        checksum,
        record_type: attrs.text("image.recordtype").to_owned(),
    })
}

fn http(url: &str, attrs: Attrs<'_>) -> Result<HttpOptions> {
    let checksum = match attrs.text("http.checksum") {
        "" => None,
        text => Some(text.parse().map_err(|e| Error::user(format!("{e}")))?),
    };
    Ok(HttpOptions {
        url: url.to_owned(),
        checksum,
        filename: attrs.text("http.filename").to_owned(),
        perm: attrs.number("http.perm", 8)?,
        uid: attrs.number("http.uid", 10)?,
        gid: attrs.number("http.gid", 10)?,
    })
}
