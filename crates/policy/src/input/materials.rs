//! What an image was made from, as sources that can be asked about.

use std::collections::BTreeMap;

use oci::{Digest, Platform, Reference};
use serde::Deserialize;

use super::url;
use crate::source::Source;

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Material {
    pub uri: String,
    pub digest: BTreeMap<String, String>,
}

/// Those that are sources.
pub(super) fn usable(materials: Vec<Material>) -> Vec<Material> {
    materials.into_iter().filter(|material| source(material).is_some()).collect()
}

/// The source, and the platform if it has one of its own.
pub(crate) fn source(material: &Material) -> Option<(Source, Option<Platform>)> {
    let uri = &material.uri;
    if let Some(package) = uri.strip_prefix("pkg:docker/") {
        let (reference, platform) = image(package, material.digest.get("sha256").map(|d| d.trim()))?;
        let identifier = format!("docker-image://{reference}");
        return Some((Source { identifier, ..Source::default() }, platform));
    }
    let parts = url::parts(uri);
    let is_page = matches!(parts.scheme, "http" | "https");
    let is_git = matches!(parts.scheme, "ssh" | "git") || parts.path.to_lowercase().ends_with(".git");
    match (is_page, is_git) {
        (_, true) if is_page || !parts.scheme.is_empty() => Some((git(uri), None)),
        (true, false) => Some((Source { identifier: uri.clone(), ..Source::default() }, None)),
        _ => None,
    }
}

fn git(uri: &str) -> Source {
    let parts = url::parts(uri);
    let (reference, subdir) = parts.fragment.split_once(':').unwrap_or((parts.fragment, ""));
    let mut identifier = format!("git://{}{}", parts.host, parts.path.trim_end_matches('/'));
    if !reference.is_empty() || !subdir.is_empty() {
        identifier.push_str(&format!("#{reference}"));
    }
    if !subdir.is_empty() {
        identifier.push_str(&format!(":{subdir}"));
    }
    Source { identifier, attrs: BTreeMap::from([("git.fullurl".to_owned(), uri.to_owned())]) }
}

/// Reads `name@version?qualifiers` (the package URL specification, without `pkg:docker/`).
fn image(package: &str, digest: Option<&str>) -> Option<(Reference, Option<Platform>)> {
    let (package, query) = package.split_once('?').unwrap_or((package, ""));
    let (name, version) = package.rsplit_once('@').unwrap_or((package, ""));
    let (name, version) = (url::decode(name), url::decode(version));
    let mut pinned: Option<Digest> = version.parse().ok();
    let mut platform = None;
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("platform", value)) => platform = Some(url::decode(value).parse().ok()?),
            Some(("digest", value)) => {
                let digest: Digest = url::decode(value).parse().ok()?;
                if pinned.as_ref().is_some_and(|pinned| *pinned != digest) {
                    return None;
                }
                pinned = Some(digest);
            }
            _ => {}
        }
    }
    if let Some(text) = digest.filter(|digest| !digest.is_empty()) {
        let digest: Digest = text.parse().or_else(|_| format!("sha256:{text}").parse()).ok()?;
        if pinned.as_ref().is_some_and(|pinned| *pinned != digest) {
            return None;
        }
        pinned = Some(digest);
    }
    let tag = Some(version).filter(|version| !version.is_empty() && version.parse::<Digest>().is_err());
    let reference: Reference = name.parse().ok()?;
    let reference = match (&tag, &pinned) {
        (None, None) => reference.with_default_tag(),
        _ => reference.with_tag(tag),
    };
    Some((pinned.into_iter().fold(reference, Reference::with_digest), platform))
}
