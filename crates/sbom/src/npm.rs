//! Packages of npm: what lies in `node_modules`, and lock files.

use serde_json::Value;

use crate::package::{Kind, Package};

/// Folders in folders of a lock file, at most.
const DEPTH: usize = 64;

/// A `package.json`; `None` where it names no package (npm, package-json(5)).
pub fn manifest(bytes: &[u8]) -> Option<Package> {
    let json: Value = serde_json::from_slice(bytes).ok()?;
    let mut package = package(json["name"].as_str()?, &json)?;
    package.homepage = json["homepage"].as_str().unwrap_or_default().into();
    package.supplier = match &json["author"] {
        Value::String(author) => author.clone(),
        author => author["name"].as_str().unwrap_or_default().into(),
    };
    Some(package)
}

/// What a `package-lock.json` of any version would have installed.
pub fn lock(bytes: &[u8]) -> Vec<Package> {
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(packages) = json["packages"].as_object() {
        for (place, entry) in packages {
            // The project itself and links into it are no packages of others.
            let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
            if entry["link"] != true {
                found.extend(package(entry["name"].as_str().unwrap_or(name), entry));
            }
        }
    } else {
        nested(&json, DEPTH, &mut found);
    }
    found
}

/// The form of the first version: packages in packages.
fn nested(json: &Value, depth: usize, found: &mut Vec<Package>) {
    let Some(entries) = json["dependencies"].as_object().filter(|_| depth > 0) else { return };
    for (name, entry) in entries {
        let mut here = package(name, entry);
        if let Some(package) = &mut here {
            package.needs = keys(&entry["requires"]);
        }
        found.extend(here);
        nested(entry, depth - 1, found);
    }
}

fn package(name: &str, json: &Value) -> Option<Package> {
    let version = json["version"].as_str()?;
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let mut package = Package::new(Kind::Npm, name, version);
    package.license = license(json);
    package.needs = keys(&json["dependencies"]);
    Some(package)
}

fn keys(object: &Value) -> Vec<String> {
    object.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// An expression, or the forms of old: an object, or several of which one may choose.
fn license(json: &Value) -> String {
    let one = |value: &Value| value.as_str().or_else(|| value["type"].as_str()).map(str::to_owned);
    let many = json["licenses"].as_array().into_iter().flatten().filter_map(one).collect::<Vec<_>>();
    one(&json["license"]).unwrap_or_else(|| many.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests() {
        for (text, expected) in [
            (r#"{"name":"@a/b","version":"1","license":"MIT","dependencies":{"c":"^1"}}"#, "@a/b 1 MIT c"),
            (r#"{"name":"b","version":"1","licenses":[{"type":"MIT"},{"type":"X"}]}"#, "b 1 MIT OR X "),
            (r#"{"name":"b","version":"1","license":{"type":"MIT"}}"#, "b 1 MIT "),
            (r#"{"type":"module"}"#, "-"),
            (r#"{"name":"b","version":1}"#, "-"),
        ] {
            let told = |p: Package| format!("{} {} {} {}", p.name, p.version, p.license, p.needs.join(","));
            assert_eq!(manifest(text.as_bytes()).map_or("-".into(), told), expected);
        }
    }

    #[test]
    fn lock_files() {
        for (text, expected) in [
            (
                r#"{"packages":{"":{"name":"x","version":"1"},"node_modules/a":{"version":"1"},
                    "node_modules/a/node_modules/@s/b":{"version":"2"},"node_modules/l":{"link":true,"version":"1"}}}"#,
                vec!["a 1", "@s/b 2"],
            ),
            (
                r#"{"dependencies":{"a":{"version":"1","requires":{"b":"1"},"dependencies":{"b":{"version":"1"}}}}}"#,
                vec!["a 1", "b 1"],
            ),
            ("[", vec![]),
        ] {
            let read: Vec<_> =
                lock(text.as_bytes()).iter().map(|p| format!("{} {}", p.name, p.version)).collect();
            assert_eq!(read, expected);
        }
    }
}
