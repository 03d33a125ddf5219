//! Content keys: what an op sees of an input.

use async_trait::async_trait;
use errdefs::{Result, ResultExt, Subject};
use oci::Digest;
use refs::ImmutableRef;
use solver::{ContentKey, OpContext};

use crate::domain::{BuildDomain, Failure, Value};

/// A part of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    pub path: String,
    pub wildcard: bool,
    pub follow_links: bool,
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub required: Vec<String>,
}

impl Selector {
    /// A path as it stands.
    pub fn plain(path: impl Into<String>, follow_links: bool) -> Self {
        Selector { path: path.into(), follow_links, ..Selector::default() }
    }

    fn is_plain(&self) -> bool {
        !self.wildcard && self.include.is_empty() && self.exclude.is_empty()
    }
}

/// The hash of some parts of an input; of all of it when there is no selector.
pub struct ContentHash {
    /// The index of the input.
    input: usize,
    selectors: Vec<Selector>,
}

impl ContentHash {
    pub fn new(input: usize, selectors: Vec<Selector>) -> Self {
        let selectors = if selectors.is_empty() { vec![Selector::default()] } else { selectors };
        ContentHash { input, selectors }
    }

    async fn hash(&self, input: &ImmutableRef) -> Result<Digest> {
        let mut digests = Vec::with_capacity(self.selectors.len());
        for selector in &self.selectors {
            let options = snapshot::HashOptions {
                wildcard: selector.wildcard,
                follow_links: selector.follow_links,
                include: selector.include.clone(),
                exclude: selector.exclude.clone(),
                required: selector.required.clone(),
            };
            let path = format!("/{}", selector.path.trim_start_matches('/'));
            let digest = input
                .path_hash(path.as_bytes(), &options)
                .await
                .with_context(|| format!("failed to calculate checksum of ref {}", input.id()))?;
            digests.push(digest.to_string());
        }
        Ok(Digest::of(digests.join("\0")))
    }
}

#[async_trait]
impl ContentKey<BuildDomain> for ContentHash {
    async fn key(&self, cx: &OpContext<BuildDomain>, input: &Value) -> Result<Option<Digest>> {
        let Some(input) = input else { return Ok(None) };
        match self.hash(input).await {
            Ok(digest) => Ok(Some(digest)),
            Err(e) => {
                let subject = Some(Subject::Content(self.input as i64));
                Failure { inputs: vec![Some(input.clone())], subject, ..Failure::default() }.tell(cx);
                Err(e)
            }
        }
    }
}

/// Selectors without those that others cover, sorted by path.
pub fn dedupe(selectors: &[Selector]) -> Vec<Selector> {
    let plain = |follow: bool| {
        let paths = selectors.iter().filter(|s| s.is_plain() && s.follow_links == follow);
        dedupe_paths(paths.map(|s| s.path.clone()).collect())
    };
    let mut kept: Vec<_> = plain(false).into_iter().map(|p| Selector::plain(p, false)).collect();
    kept.extend(plain(true).into_iter().map(|p| Selector::plain(p, true)));
    kept.extend(selectors.iter().filter(|s| !s.is_plain()).cloned());
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    kept
}

/// Paths without those below others, sorted. One path or none stays as it is.
pub fn dedupe_paths(mut paths: Vec<String>) -> Vec<String> {
    if paths.len() <= 1 {
        return paths;
    }
    paths.sort_unstable();
    paths.dedup();
    let covered = |path: &str| {
        paths.iter().any(|other| {
            other != path
                && path
                    .strip_prefix(other.as_str())
                    .is_some_and(|rest| rest.starts_with('/') || other.ends_with('/'))
        })
    };
    paths.iter().filter(|p| !covered(p)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_covers_what_lies_below_it() {
        let check = |paths: &[&str], expected: &[&str]| {
            assert_eq!(dedupe_paths(paths.iter().map(ToString::to_string).collect()), expected);
        };
        check(&["/foo", "/foobar", "/foo/bar"], &["/foo", "/foobar"]);
        check(&["/b", "/a", "/a"], &["/a", "/b"]);
        check(&["/", "/a"], &["/"]);
        check(&["/x"], &["/x"]);
    }
}
