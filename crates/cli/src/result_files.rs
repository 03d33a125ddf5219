//! Files that tell a script what was built.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, fchown};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Result, ResultExt as _};
use serde_json::{Map, Value};

/// The ID of an image: the digest of its config, or else of its manifest.
pub(crate) fn image_id(response: &BTreeMap<String, String>) -> &str {
    let get = |key: &str| response.get(key).map(String::as_str);
    get("containerimage.config.digest").or_else(|| get("containerimage.digest")).unwrap_or_default()
}

/// `--metadata-file`: what exporters answered. Values that are JSON in base64 are written as JSON.
/// `more` is written as it is.
pub(crate) fn metadata(
    response: &BTreeMap<String, String>,
    build_ref: &str,
    more: Map<String, Value>,
) -> String {
    pretty(metadata_map(response, build_ref, more))
}

/// The same as a value.
pub(crate) fn metadata_map(
    response: &BTreeMap<String, String>,
    build_ref: &str,
    more: Map<String, Value>,
) -> Map<String, Value> {
    let mut out = unpacked(response);
    out.extend(more);
    out.insert("buildx.build.ref".into(), Value::String(build_ref.to_owned()));
    out
}

/// The same without the name of the build.
pub(crate) fn plain_metadata(response: &BTreeMap<String, String>) -> String {
    pretty(unpacked(response))
}

/// What a frontend answered to a question.
pub(crate) fn answer_metadata(answer: &BTreeMap<String, Vec<u8>>) -> String {
    pretty(answer_map(answer))
}

/// The same as a value.
pub(crate) fn answer_map(answer: &BTreeMap<String, Vec<u8>>) -> Map<String, Value> {
    let value = |bytes: &Vec<u8>| match serde_json::from_slice(bytes) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => json,
        _ => Value::String(String::from_utf8_lossy(bytes).into_owned()),
    };
    answer.iter().map(|(key, bytes)| (key.clone(), value(bytes))).collect()
}

fn unpacked(response: &BTreeMap<String, String>) -> Map<String, Value> {
    let value = |text: &String| unpack(text).unwrap_or_else(|| Value::String(text.clone()));
    response.iter().map(|(key, text)| (key.clone(), value(text))).collect()
}

pub(crate) fn pretty(map: Map<String, Value>) -> String {
    serde_json::to_string_pretty(&Value::Object(map)).expect("only strings as keys")
}

fn unpack(value: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&STANDARD.decode(value).ok()?).ok()?;
    let filled = match &value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_object),
        _ => false,
    };
    filled.then_some(value)
}

/// Writes a file as a whole: a reader sees the old one or the new one.
pub(crate) fn write_atomic(path: &Path, text: &str) -> Result<()> {
    put(path, text, |file| file.set_permissions(PermissionsExt::from_mode(0o644)))
}

/// As [`write_atomic`], in place of a file of which mode and owner stay. Behind a link it is the file that changes.
pub(crate) fn rewrite(path: &Path, text: &str) -> Result<()> {
    let failed = || format!("failed to write `{}`", path.display());
    let path = path.canonicalize().with_context(failed)?;
    let before = path.metadata().with_context(failed)?;
    put(&path, text, |file| {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            fchown(file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(before.permissions())
    })
}

fn put(path: &Path, text: &str, prepare: impl FnOnce(&File) -> std::io::Result<()>) -> Result<()> {
    let failed = || format!("failed to write `{}`", path.display());
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    prepare(file.as_file()).with_context(failed)?;
    file.persist(path).map_err(|e| e.error).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> BTreeMap<String, String> {
        let descriptor = r#"{"mediaType":"m","digest":"sha256:aa","size":506}"#;
        BTreeMap::from([
            ("containerimage.digest".to_owned(), "sha256:aa".to_owned()),
            ("containerimage.config.digest".to_owned(), "sha256:bb".to_owned()),
            ("containerimage.descriptor".to_owned(), STANDARD.encode(descriptor)),
            ("image.name".to_owned(), "docker.io/library/app:latest".to_owned()),
        ])
    }

    #[test]
    fn metadata_is_unpacked() {
        insta::assert_snapshot!(metadata(&response(), "default/default/abc", Map::new()));
    }

    #[test]
    fn answers_are_json_or_text() {
        let pairs = [("result.json", r#"{"a": []}"#), ("result.statuscode", "1"), ("version", "1.0.0")];
        let answer = pairs.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let expected = "{\n  \"result.json\": {\n    \"a\": []\n  },\n  \"result.statuscode\": \"1\",\n  \"version\": \"1.0.0\"\n}";
        assert_eq!(answer_metadata(&answer.into()), expected);
    }

    #[test]
    fn ids() {
        let mut response = response();
        assert_eq!(image_id(&response), "sha256:bb");
        response.remove("containerimage.config.digest");
        assert_eq!(image_id(&response), "sha256:aa");
        assert_eq!(image_id(&BTreeMap::new()), "");
    }

    #[test]
    fn files_are_replaced_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("iid");
        write_atomic(&path, "one").expect("written");
        write_atomic(&path, "two").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "two");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 1);
        assert!(write_atomic(&dir.path().join("no/such"), "x").is_err());
    }
}
