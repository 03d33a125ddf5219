//! What was used, as addresses with digests.

use std::collections::BTreeMap;

use oci::{Digest, Reference};
use serde::Serialize;

use crate::address::git_forms;
use crate::capture::{BlobSource, Capture, ImageSource};

/// Digests by algorithm.
pub type DigestSet = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Material {
    uri: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest: DigestSet,
}

/// All that was used: images, blobs, repositories, pages.
pub(crate) fn all(used: &Capture) -> Vec<Material> {
    let images = used.images.iter().filter_map(|(image, digest)| {
        let digest = digest.as_ref().map(of_digest).unwrap_or_default();
        Some(Material { uri: package_url(image)?, digest })
    });
    let blobs = used
        .blobs
        .iter()
        .filter_map(|(blob, digest)| Some(Material { uri: blob_url(blob)?, digest: of_digest(digest) }));
    let git = used.git.iter().map(|(url, commit)| Material { uri: url.clone(), digest: of_commit(commit) });
    let http = used.http.iter().map(|(url, digest)| Material { uri: url.clone(), digest: of_digest(digest) });
    images.chain(blobs).chain(git).chain(http).collect()
}

/// What a context's address stood for, if it is a repository or a page that was used.
pub(crate) fn of_address(used: &Capture, address: &str) -> Option<(String, DigestSet)> {
    let (repository, whole) = git_forms(address).unwrap_or_else(|| (address.to_owned(), address.to_owned()));
    if let Some(commit) = used.git.get(&repository) {
        return Some((whole, of_commit(commit)));
    }
    let digest = used.http.get(&repository)?;
    Some((repository, of_digest(digest)))
}

fn of_digest(digest: &Digest) -> DigestSet {
    DigestSet::from([(digest.algorithm().to_owned(), digest.hex().to_owned())])
}

fn of_commit(commit: &str) -> DigestSet {
    let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
    DigestSet::from([(algorithm.to_owned(), commit.to_owned())])
}

/// `pkg:docker/alpine@3?platform=linux%2Famd64`, or `pkg:oci/` for one of a layout; nothing for what is no name of an
/// image.
fn package_url(image: &ImageSource) -> Option<String> {
    let url = image.reference.parse::<Reference>().ok()?.to_purl(image.platform.as_ref());
    Some(of_place(url, image.local))
}

/// The same for a blob, with what kind of one it is.
fn blob_url(blob: &BlobSource) -> Option<String> {
    let kind = if blob.bundle_of.is_some() { "bundle" } else { "blob" };
    let kind = Some(("ref_type", kind.to_owned()));
    let repository = blob.bundle_of.clone().map(|url| ("vcs_url", url));
    let url = blob.reference.parse::<Reference>().ok()?.to_purl_with(kind.into_iter().chain(repository));
    Some(of_place(url, blob.local))
}

fn of_place(url: String, local: bool) -> String {
    if local { url.replacen("pkg:docker/", "pkg:oci/", 1) } else { url }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls() {
        let check = |reference: &str, local: bool, platform: Option<&str>, expected: &str| {
            let platform = platform.map(|p| p.parse().expect("a platform"));
            let image = ImageSource { reference: reference.to_owned(), local, platform };
            assert_eq!(package_url(&image).as_deref(), Some(expected).filter(|e| !e.is_empty()));
        };
        check("docker.io/library/alpine:3", false, None, "pkg:docker/alpine@3");
        check("a/b", false, Some("linux/arm/v7"), "pkg:docker/a/b@latest?platform=linux%2Farm%2Fv7");
        let digest = Digest::of("x");
        let expected = format!("pkg:oci/x?digest={digest}&platform=linux%2Famd64");
        check(&format!("x@{digest}"), true, Some("linux/amd64"), &expected);
        check("X Y", false, None, "");
    }

    #[test]
    fn package_urls_of_blobs() {
        let digest = Digest::of("x");
        let check = |local: bool, bundle_of: Option<&str>, expected: String| {
            let (reference, bundle_of) = (format!("docker.io/a/b@{digest}"), bundle_of.map(str::to_owned));
            assert_eq!(blob_url(&BlobSource { reference, local, bundle_of }), Some(expected));
        };
        check(false, None, format!("pkg:docker/a/b?digest={digest}&ref_type=blob"));
        let bundle = "&ref_type=bundle&vcs_url=https:%2F%2Fh%2Fr.git%23main";
        check(true, Some("https://h/r.git#main"), format!("pkg:oci/a/b?digest={digest}{bundle}"));
    }
}
