//! What the owner of an engine wants told with all provenance: the fields of some JSON files.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use errdefs::{Error, Result, ResultExt as _};
use serde_json::Value;

use crate::config::Config;
use crate::place::Name;

/// What nobody but the engine may say.
const OF_THE_ENGINE: [&str; 3] = ["buildConfig", "builderPlatform", "platform"];

/// Reads the folder that the configuration names, else the one beside the usual configuration. Files are read in the
/// order of their names; of a field that two have, the later counts.
pub fn env(config: &Config, name: Name) -> Result<BTreeMap<String, Value>> {
    let dir = match &config.provenance_env_dir {
        Some(dir) if !dir.as_os_str().is_empty() => dir.clone(),
        _ => name.config_file().with_file_name("provenance.d"),
    };
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.with_context(|| format!("failed to read `{}`", dir.display()))?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>();
    let mut paths = paths.with_context(|| format!("failed to read `{}`", dir.display()))?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "json") && path.is_file());
    paths.sort();
    let mut env = BTreeMap::new();
    for path in paths {
        let failed = || format!("failed to read `{}`", path.display());
        let bytes = std::fs::read(&path).with_context(failed)?;
        let fields: Option<BTreeMap<String, Value>> =
            serde_json::from_slice(&bytes).map_err(|e| Error::user(format!("{}: {e}", failed())))?;
        env.extend(fields.unwrap_or_default());
    }
    match OF_THE_ENGINE.iter().find(|key| env.contains_key(**key)) {
        Some(key) => {
            let message =
                format!("key {key:?} is builtin and not allowed to be modified in provenance config");
            Err(Error::user(message))
        }
        None => Ok(env),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_read_from_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let config =
            |dir: &Path| Config::parse(&format!("provenanceEnvDir = {dir:?}")).expect("a configuration");
        let read = || env(&config(dir.path()), Name::Kiln);
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("b.json", r#"{"a": 2, "b": [1]}"#);
        write("a.json", r#"{"a": 1, "c": "x"}"#);
        write("c.txt", "no JSON");
        write("d.json", "null");
        let expected = [("a", json!(2)), ("b", json!([1])), ("c", json!("x"))];
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(read().expect("valid"), BTreeMap::from(expected));
        write("e.json", r#"{"platform": "x"}"#);
        let told = read().expect_err("is the engine's").to_string();
        assert_eq!(told, "key \"platform\" is builtin and not allowed to be modified in provenance config");
        write("e.json", "{");
        assert!(read().is_err());
        assert!(env(&config(&dir.path().join("no")), Name::Kiln).expect("nothing").is_empty());
    }
}
