//! OCI layouts that stand for an image.

use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use serde_json::Value;

/// Where the name of an image is annotated in an index.
const NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image of a layout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub path: PathBuf,
    tag: Option<String>,
    digest: oci::Digest,
}

impl Layout {
    /// How the engine names it, given the id under which the session offers the layout.
    pub(crate) fn reference(&self, store: &str) -> String {
        let tag = self.tag.as_ref().map_or(String::new(), |t| format!(":{t}"));
        format!("oci-layout://{store}{tag}@{}", self.digest)
    }
}

/// Reads `PATH[:TAG][@DIGEST]`; without a digest the index of the layout tells it.
pub(crate) fn resolve(text: &str, cwd: &Path) -> Result<Layout> {
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) => match digest.parse::<oci::Digest>() {
            Ok(digest) => (rest, Some(digest)),
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    let path = cwd.join(path);
    let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
    let digest = match (digest, &tag) {
        (Some(digest), _) => digest,
        (None, tag) => look_up(&path, tag.as_deref().unwrap_or("latest"))?,
    };
    Ok(Layout { path, tag, digest })
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

/// The image of that tag, or the only one there is.
fn look_up(path: &Path, tag: &str) -> Result<oci::Digest> {
    let index = path.join("index.json");
    let failed = || format!("failed to read `{}`", index.display());
    let text = std::fs::read(&index).with_context(failed)?;
    let index: Value =
        serde_json::from_slice(&text).map_err(|e| Error::user(e.to_string()).context(failed()))?;
    let manifests = index["manifests"].as_array().map_or(&[][..], Vec::as_slice);
    let named = |m: &&Value| [NAME, REF_NAME].iter().any(|key| m["annotations"][key] == *tag);
    let found = manifests.iter().find(named).or(match manifests {
        [only] => Some(only),
        _ => None,
    });
    let found = found.ok_or_else(|| Error::not_found("failed to resolve digest").hint(hint(manifests)))?;
    let digest = found["digest"].as_str().unwrap_or_default();
    digest.parse().map_err(|_| Error::user(format!("invalid digest {digest}")))
}

fn hint(manifests: &[Value]) -> String {
    let tags: Vec<_> = manifests.iter().filter_map(|m| m["annotations"][REF_NAME].as_str()).collect();
    match tags.is_empty() {
        true => "the layout has no tagged image; name one by `@sha256:…`".into(),
        false => format!("the layout has the tags {}", tags.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn references() {
        let dir = tempfile::tempdir().expect("a folder");
        let entry =
            |digest: &str, tag: &str| serde_json::json!({"digest": digest, "annotations": {REF_NAME: tag}});
        let write = |name: &str, manifests: Vec<Value>| {
            std::fs::create_dir(dir.path().join(name)).expect("made");
            let text = serde_json::json!({"manifests": manifests}).to_string();
            std::fs::write(dir.path().join(name).join("index.json"), text).expect("written");
        };
        write("two", vec![entry(A, "latest"), entry(B, "v1.0")]);
        write("one", vec![entry(B, "odd")]);
        write("none", vec![]);
        let check = |text: &str, expect: &str| {
            let told = match resolve(text, dir.path()) {
                Ok(layout) => layout.reference("id"),
                Err(e) => format!("{e}; {}", e.hints().join("; ")),
            };
            assert_eq!(told, expect, "{text}");
        };
        check("two", &format!("oci-layout://id:latest@{A}"));
        check("two:v1.0", &format!("oci-layout://id:v1.0@{B}"));
        check("one", &format!("oci-layout://id:latest@{B}"));
        check(&format!("two@{B}"), &format!("oci-layout://id@{B}"));
        check(&format!("two:x@{B}"), &format!("oci-layout://id:x@{B}"));
        check("two:v2", "failed to resolve digest; the layout has the tags latest, v1.0");
        check("none", "failed to resolve digest; the layout has no tagged image; name one by `@sha256:…`");
    }
}
