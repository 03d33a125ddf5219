use errdefs::Result;
use serde::{Deserialize, Serialize};

use super::object::{Commit, Object, Tag};
use super::{is_false, url};
use crate::source::Known;

/// A repository, or a part of one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Git {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote: String,
    #[serde(rename = "fullURL", skip_serializing_if = "String::is_empty")]
    pub full_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    #[serde(rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    #[serde(rename = "subDir", skip_serializing_if = "String::is_empty")]
    pub subdir: String,
    #[serde(skip_serializing_if = "is_false")]
    pub is_commit_ref: bool,
    #[serde(rename = "isSHA256", skip_serializing_if = "is_false")]
    pub is_sha256: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit_checksum: String,
    #[serde(skip_serializing_if = "is_false")]
    pub is_annotated_tag: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
}

/// Where a repository is and what of it is meant.
struct Place {
    scheme: String,
    host: String,
    remote: String,
    reference: String,
    subdir: String,
}

impl Place {
    /// Reads `https://host/path?query#ref:subdir`, the same without the scheme, and `user@host:path#ref:subdir`.
    fn of(text: &str) -> Self {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let is_known = scheme.is_some_and(|s| matches!(s.as_str(), "http" | "https" | "ssh" | "git"));
        let before = text.split(['#', '?']).next().unwrap_or_default();
        let scp = before.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)));
        let (text, scp) = match (is_known, scp) {
            (true, _) => (text.to_owned(), None),
            (false, Some((user, host))) if !user.contains(['/', ':']) && !host.contains('/') => {
                (text.to_owned(), Some(host.to_owned()))
            }
            (false, _) => (format!("https://{text}"), None),
        };
        let parts = url::parts(&text);
        let fragment = url::decode(parts.fragment);
        let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let (scheme, host) = match scp {
            Some(host) => ("ssh".to_owned(), host),
            None => (parts.scheme.to_owned(), parts.host.to_owned()),
        };
        Place {
            scheme,
            host,
            remote: parts.remote.to_owned(),
            reference: reference.to_owned(),
            subdir: clean(subdir),
        }
    }
}

/// A path without `.`, `..` and slashes too many, from the root of the repository.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The fields, and those that have to be asked for.
pub(super) fn git(known: &Known, name: &str) -> Result<(Git, Vec<&'static str>)> {
    let place = Place::of(name);
    let mut git = Git {
        schema: place.scheme,
        host: place.host,
        remote: place.remote,
        subdir: place.subdir,
        ..Git::default()
    };
    if let Some(full) = known.source.attrs.get("git.fullurl") {
        let place = Place::of(full);
        let is_bare = place.scheme == "https" && !full.contains("://");
        git.full_url = if is_bare { format!("https://{full}") } else { full.clone() };
        (git.schema, git.host, git.remote) = (place.scheme, place.host, place.remote);
    }
    let is_commit = is_commit(&place.reference);
    git.name(&place.reference);
    let is_full = is_commit || !git.tag_name.is_empty() || !git.branch.is_empty();
    if is_commit {
        git.is_commit_ref = true;
        git.checksum.clone_from(&place.reference);
        git.commit_checksum.clone_from(&place.reference);
    }
    let mut unknown = Vec::new();
    match &known.git {
        None => {
            match is_full {
                true => git.reference = place.reference,
                false => unknown.extend(["git.tagName", "git.branch", "git.ref"]),
            }
            if git.checksum.is_empty() {
                let fields = ["git.checksum", "git.isAnnotatedTag", "git.commitChecksum", "git.isSHA256"];
                unknown.extend(fields);
            }
            unknown.extend(["git.tag", "git.commit"]);
        }
        Some(meta) => {
            git.reference.clone_from(&meta.reference);
            git.name(&meta.reference);
            git.checksum.clone_from(&meta.checksum);
            let commit = if meta.commit_checksum.is_empty() { &meta.checksum } else { &meta.commit_checksum };
            git.commit_checksum.clone_from(commit);
            git.is_annotated_tag = git.checksum != git.commit_checksum;
            match meta.commit_object.is_empty() {
                true => unknown.extend(["git.commit", "git.tag"]),
                false => git.read_objects(&meta.commit_object, &meta.tag_object)?,
            }
        }
    }
    git.is_sha256 = git.checksum.len() == 64;
    Ok((git, unknown))
}

impl Git {
    fn name(&mut self, reference: &str) {
        if let Some(tag) = reference.strip_prefix("refs/tags/") {
            tag.clone_into(&mut self.tag_name);
        }
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            branch.clone_into(&mut self.branch);
        }
    }

    fn read_objects(&mut self, commit: &[u8], tag: &[u8]) -> Result<()> {
        let object = Object::parse(commit)?;
        object.check(&self.commit_checksum)?;
        self.commit = Some(Commit::of(object)?);
        if !tag.is_empty() {
            let object = Object::parse(tag)?;
            object.check(&self.checksum)?;
            self.tag = Some(Tag::of(object)?);
        }
        Ok(())
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
