//! Where an image is.

use std::fmt;

use errdefs::{Error, Result};
use oci::{Digest, Reference};

/// How the names of images in folders begin.
const LAYOUT: &str = "oci-layout://";

/// A name of an image in a registry, or in a folder with an OCI layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// With a tag or a digest.
    Registry(Reference),
    Layout(LayoutName),
}

/// `oci-layout://PATH[:TAG][@DIGEST]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayoutName {
    /// As it was given.
    pub path: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Location {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text.strip_prefix(LAYOUT) {
            Some(rest) => Ok(Location::Layout(LayoutName::parse(rest))),
            None => {
                let name = text.parse::<Reference>().map_err(|e| Error::user(e.to_string()))?;
                Ok(Location::Registry(name.with_default_tag()))
            }
        }
    }

    /// The repository or the folder.
    pub(super) fn name(&self) -> String {
        match self {
            Location::Registry(name) => name.repository(),
            Location::Layout(name) => name.path.clone(),
        }
    }

    /// The same place, and there what has this digest.
    pub(super) fn with_digest(&self, digest: &Digest) -> Self {
        match self {
            Location::Registry(name) => Location::Registry(name.clone().with_digest(digest.clone())),
            Location::Layout(name) => Location::Layout(LayoutName {
                path: name.path.clone(),
                tag: None,
                digest: Some(digest.clone()),
            }),
        }
    }
}

impl LayoutName {
    fn parse(text: &str) -> Self {
        let (mut path, mut tag, mut digest) = (text, None, None);
        if let Some((before, after)) = path.rsplit_once('@')
            && let Ok(found) = after.parse::<Digest>()
        {
            (path, digest) = (before, Some(found));
        }
        if let Some((before, after)) = path.rsplit_once(':')
            && is_tag(after)
        {
            (path, tag) = (before, Some(after.to_owned()));
        }
        if tag.is_none() && digest.is_none() {
            tag = Some("latest".to_owned());
        }
        LayoutName { path: path.to_owned(), tag, digest }
    }
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Registry(name) => name.fmt(f),
            Location::Layout(LayoutName { path, tag, digest }) => {
                write!(f, "{LAYOUT}{path}")?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let digest = Digest::of("x");
        let check = |text: &str, name: &str, full: &str| {
            let told = Location::parse(text).expect(text);
            assert_eq!((told.name().as_str(), told.to_string().as_str()), (name, full), "{text}");
        };
        check("app", "docker.io/library/app", "docker.io/library/app:latest");
        check("reg.io/a:1", "reg.io/a", "reg.io/a:1");
        check("oci-layout:///a/b", "/a/b", "oci-layout:///a/b:latest");
        check("oci-layout://a:1", "a", "oci-layout://a:1");
        check(&format!("oci-layout://a:1@{digest}"), "a", &format!("oci-layout://a:1@{digest}"));
        check("oci-layout://a:/b", "a:/b", "oci-layout://a:/b:latest");
        assert!(Location::parse("A b").is_err());
    }
}
