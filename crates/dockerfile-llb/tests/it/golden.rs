//! The ops, names, configs and errors that BuildKit's frontend makes of the same Dockerfiles.
//!
//! Each file of `tests/golden` has the input and what BuildKit said of it: digests of all ops, which are equal only when
//! every byte is, what is said of each op, and the metadata of the result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use dockerfile_llb::DockerfileFrontend;
use frontend::{Frontend, FrontendRequest};
use llb::Definition;
use oci::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bridge::FakeBridge;

#[derive(Deserialize)]
struct Case {
    files: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    opts: BTreeMap<String, String>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    error: Option<String>,
    lines: Option<Vec<u32>>,
    #[serde(default)]
    solves: Vec<Vec<Value>>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
    resolves: Vec<String>,
}

#[tokio::test]
async fn builds_are_those_of_buildkit() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |path: &Path| std::fs::read(path).expect("readable");
    let images: BTreeMap<String, String> =
        serde_json::from_slice(&read(&dir.join("images.json"))).expect("valid");
    let mut faults = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if name != "images" {
            let case: Case = serde_json::from_slice(&read(&path)).expect("valid");
            faults.extend(check(&images, case).await.into_iter().map(|fault| format!("{name}: {fault}")));
            count += 1;
        }
    }
    assert!(count > 70, "only {count} cases");
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

async fn check(images: &BTreeMap<String, String>, case: Case) -> Vec<String> {
    let bridge = Arc::new(FakeBridge {
        files: case.files.into_iter().map(|(path, lines)| (path, lines.join("\n"))).collect(),
        images: images.clone(),
        ..FakeBridge::default()
    });
    let request = FrontendRequest { opts: case.opts, inputs: BTreeMap::new() };
    let result = DockerfileFrontend.solve(bridge.clone(), request).await;
    let mut faults = Vec::new();
    let mut same = |what: &str, got: Value, expected: Value| {
        let (got, expected) = differing(got, expected);
        if got != expected {
            faults.push(format!("{what}\n     got {got}\nexpected {expected}"));
        }
    };
    let expected = case.expected;
    let result = match (result, &expected.error) {
        (Err(e), Some(message)) => {
            same("error", json!(e.message()), json!(message));
            if let Some(lines) = expected.lines {
                let got = e.source_location().map(|l| l.ranges.iter().map(|r| r.start.line).collect());
                same("lines", json!(got.unwrap_or_else(BTreeSet::new)), json!(lines));
            }
            return faults;
        }
        (Err(e), None) => return vec![format!("refused: {e}")],
        (Ok(_), Some(message)) => return vec![format!("accepted, expected {message}")],
        (Ok(result), None) => result,
    };
    let solved = bridge.solved.lock().expect("no panic").iter().map(|d| json!(ops(d))).collect();
    same("ops", sorted(solved), sorted(expected.solves.into_iter().map(sorted).collect()));
    let metadata: BTreeMap<String, Value> = result
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), serde_json::from_slice(value).expect("JSON")))
        .collect();
    for (key, value) in expected.metadata {
        same(&key, without_nulls(metadata.get(&key).cloned().unwrap_or_default()), without_nulls(value));
    }
    let resolved: BTreeSet<String> = bridge.resolved.lock().expect("no panic").iter().cloned().collect();
    same("images", json!(resolved), json!(expected.resolves.into_iter().collect::<BTreeSet<_>>()));
    faults
}

/// What is known of each op, in an order of its own.
fn ops(definition: &Definition) -> Value {
    let ops = definition.ops.split_last().map_or(&[][..], |(_, ops)| ops);
    let describe = |bytes: &bytes::Bytes| {
        let digest = Digest::of(bytes);
        let metadata = &definition.metadata[&digest];
        let mut op = json!({"digest": digest.as_str()});
        let mut add = |key: &str, value: Value| op[key] = value;
        for (key, text) in [("name", "llb.customname"), ("command", "com.docker.dockerfile.v1.command")] {
            if let Some(value) = metadata.description.get(text) {
                add(key, json!(value));
            }
        }
        if !metadata.caps.is_empty() {
            add("caps", json!(metadata.caps.keys().collect::<Vec<_>>()));
        }
        if metadata.ignore_cache {
            add("ignore_cache", json!(true));
        }
        if let Some(group) = &metadata.progress_group {
            add("group", json!([group.name, group.weak]));
        }
        let lines: Vec<u32> = definition
            .source
            .locations
            .get(&digest)
            .into_iter()
            .flatten()
            .flat_map(|place| place.ranges.iter().map(|r| r.start.line))
            .collect();
        if !lines.is_empty() {
            add("lines", json!(lines));
        }
        op
    };
    sorted(ops.iter().map(describe).collect())
}

/// Leaves out the elements that two lists have in common, at all depths.
fn differing(got: Value, expected: Value) -> (Value, Value) {
    let (Value::Array(mut a), Value::Array(mut b)) = (got.clone(), expected.clone()) else {
        return (got, expected);
    };
    a.retain(|v| match b.iter().position(|w| w == v || w == &without_lines(v)) {
        Some(at) => {
            b.remove(at);
            false
        }
        None => true,
    });
    match (a.as_slice(), b.as_slice()) {
        ([one], [other]) if one.is_array() => differing(one.clone(), other.clone()),
        _ => (Value::Array(a), Value::Array(b)),
    }
}

/// An image that only a mount names has a place here, but none in BuildKit.
fn without_lines(op: &Value) -> Value {
    let mut op = op.clone();
    if let Some(op) = op.as_object_mut() {
        op.remove("lines");
    }
    op
}

fn sorted(mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    Value::Array(values)
}

/// An empty list of layers is written as `null` or `[]`.
fn without_nulls(mut value: Value) -> Value {
    if let Some(diff_ids) = value.pointer_mut("/rootfs/diff_ids")
        && diff_ids.is_null()
    {
        *diff_ids = json!([]);
    }
    value
}
