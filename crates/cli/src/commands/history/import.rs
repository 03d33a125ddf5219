//! Builds from files, into the engine's history.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use client::{BuildRecord, Descriptor, Failure, Steps};
use errdefs::{Error, Result, ResultExt as _};
use flate2::read::MultiGzDecoder;
use fsutil::tar::Reader;
use jiff::Timestamp;
use serde_json::Value;

use super::Local;
use super::bundle::{INDEX, RECORD};
use crate::args::HistoryImportArgs;
use crate::console;
use crate::engine::{Place, connect};
use crate::environment::Environment;

/// The most that an archive may hold, in bytes.
const LIMIT: u64 = 1 << 30;
/// Indexes within indexes that are followed.
const DEPTH: usize = 4;

/// A build, and its blobs by digest.
type Build = (BuildRecord, Vec<(String, Bytes)>);

/// Takes builds in.
pub(super) async fn import(args: &HistoryImportArgs, place: &Place, env: &Environment) -> Result<()> {
    let mut builds = Vec::new();
    if args.stdin.is_some() {
        builds.extend(read(std::io::stdin().lock()).context("failed to read standard input")?);
    }
    for path in &args.files {
        let failed = || format!("failed to read `{}`", path.display());
        builds.extend(read(File::open(env.cwd.join(path)).with_context(failed)?).with_context(failed)?);
    }
    for (record, local) in &builds {
        if *local != Local::default() && record.0.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            local.save(&record.0.id, env);
        }
    }
    let builds = builds.into_iter().map(|(build, _)| build).collect();
    let client = connect(place).await?;
    let (imported, known) = client.import_records(builds).await?;
    known.iter().for_each(|id| console::note(format_args!("{id} is known already\n")));
    imported.iter().try_for_each(|id| console::out(format!("{id}\n")))
}

/// The builds of an archive.
fn read(archive: impl Read) -> Result<Vec<(Build, Local)>> {
    let files = files(archive)?;
    let index =
        files.get("index.json").ok_or_else(|| Error::user("it is no .dockerbuild file: it has no index"))?;
    let mut builds = Vec::new();
    for descriptor in parse(index)?["manifests"].as_array().into_iter().flatten() {
        add(descriptor, &files, DEPTH, &mut builds)?;
    }
    match builds.is_empty() {
        true => Err(Error::user("it holds no build")),
        false => Ok(builds),
    }
}

fn files(archive: impl Read) -> Result<HashMap<String, Bytes>> {
    let mut files = HashMap::new();
    // One byte more tells that there is too much.
    let mut reader = Reader::new(MultiGzDecoder::new(archive).take(LIMIT + 1));
    let mut total = 0;
    while let Some(entry) = reader.next_entry().context("it is no .dockerbuild file")? {
        total += entry.size;
        if total > LIMIT {
            return Err(Error::user("it is too large"));
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).context("it is no .dockerbuild file")?;
        files.insert(String::from_utf8_lossy(&entry.path).into_owned(), Bytes::from(bytes));
    }
    Ok(files)
}

fn blob<'a>(descriptor: &Value, files: &'a HashMap<String, Bytes>) -> Result<(String, &'a Bytes)> {
    let digest = text(descriptor, "digest");
    let bytes = files.get(&format!("blobs/{}", digest.replacen(':', "/", 1)));
    let bytes = bytes.ok_or_else(|| Error::user(format!("the blob {digest} is missing")))?;
    match oci::Digest::of(bytes).to_string() == digest {
        true => Ok((digest, bytes)),
        false => Err(Error::user(format!("the blob {digest} is damaged"))),
    }
}

/// Adds the builds that a manifest or an index stands for.
fn add(
    descriptor: &Value,
    files: &HashMap<String, Bytes>,
    depth: usize,
    builds: &mut Vec<(Build, Local)>,
) -> Result<()> {
    let manifest = parse(blob(descriptor, files)?.1)?;
    if text(&manifest, "mediaType") == INDEX && depth > 0 {
        let inner = manifest["manifests"].as_array().into_iter().flatten();
        return inner.into_iter().try_for_each(|inner| add(inner, files, depth - 1, builds));
    }
    let kind = text(&manifest["config"], "mediaType");
    if kind != RECORD {
        return Err(Error::user(format!("it holds `{kind}`, which is no build")));
    }
    let json = parse(blob(&manifest["config"], files)?.1)?;
    let record = record(&json)?;
    let local = &json["localState"];
    let local = Local { context: text(local, "LocalPath"), dockerfile: text(local, "DockerfilePath") };
    let mut blobs = Vec::new();
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        let (digest, bytes) = blob(layer, files)?;
        blobs.push((digest, bytes.clone()));
    }
    builds.push(((record, blobs), local));
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| Error::user(format!("invalid JSON: {e}")))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A record as Go writes it: what has no value is left out.
fn record(json: &Value) -> Result<BuildRecord> {
    let (mut results, mut attestations) = (BTreeMap::new(), BTreeMap::new());
    let empty = serde_json::Map::new();
    let platforms = json["Results"].as_object().unwrap_or(&empty);
    let all = platforms.iter().map(|(platform, info)| (platform.as_str(), info));
    for (platform, info) in std::iter::once(("", &json["Result"])).chain(all) {
        for (index, d) in info["Results"].as_object().into_iter().flatten() {
            results.extend(index.parse::<i64>().ok().zip(descriptor(d)));
        }
        let found: Vec<_> =
            info["Attestations"].as_array().into_iter().flatten().filter_map(descriptor).collect();
        if !found.is_empty() {
            attestations.insert(platform.to_owned(), found);
        }
    }
    let exporters = json["Exporters"].as_array().into_iter().flatten();
    let error = json["error"]
        .as_object()
        .map(|_| Failure { code: number(&json["error"], "code"), message: text(&json["error"], "message") });
    let record = BuildRecord {
        id: text(json, "Ref"),
        frontend: text(json, "Frontend"),
        frontend_attrs: texts(&json["FrontendAttrs"]),
        exporters: exporters.map(|e| (text(e, "Type"), texts(&e["Attrs"]))).collect(),
        error,
        created_at: time(&json["CreatedAt"]),
        completed_at: time(&json["CompletedAt"]),
        logs: descriptor(&json["logs"]),
        trace: descriptor(&json["trace"]),
        external_error: descriptor(&json["externalError"]),
        exporter_response: texts(&json["ExporterResponse"]),
        results,
        attestations,
        generation: number(json, "Generation"),
        pinned: json["pinned"].as_bool().unwrap_or_default(),
        steps: Steps {
            total: number(json, "numTotalSteps"),
            completed: number(json, "numCompletedSteps"),
            cached: number(json, "numCachedSteps"),
            warnings: number(json, "numWarnings"),
        },
    };
    match record.id.is_empty() || record.completed_at.is_none() {
        true => Err(Error::user("its record is not of a build that is over")),
        false => Ok(record),
    }
}

fn number(value: &Value, key: &str) -> i32 {
    value[key].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default()
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::new(value["seconds"].as_i64()?, number(value, "nanos")).ok()
}

fn descriptor(value: &Value) -> Option<Descriptor> {
    value.as_object()?;
    Some(Descriptor {
        media_type: text(value, "media_type"),
        digest: text(value, "digest"),
        size: value["size"].as_i64().unwrap_or_default(),
        annotations: texts(&value["annotations"]),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_read() {
        let log = json!({"media_type": "m", "digest": "sha256:aa", "size": 3});
        let json = json!({
            "Ref": "a", "CreatedAt": {"seconds": 1}, "CompletedAt": {"seconds": 2, "nanos": 3},
            "error": {"code": 2, "message": "boom"}, "logs": log, "numTotalSteps": 4,
            "FrontendAttrs": {"target": "x"}, "Exporters": [{"Type": "image"}],
            "Result": {"Results": {"0": log}}, "Results": {"linux/arm64": {"Attestations": [log]}},
        });
        let record = record(&json).expect("a record");
        assert_eq!(crate::buildctl::record_json(&record)["Results"]["linux/arm64"]["Attestations"][0], log);
        assert_eq!(record.results[&0].size, 3);
        assert_eq!(record.error.map(|e| e.message).as_deref(), Some("boom"));
        let running = json!({"Ref": "a", "CreatedAt": {"seconds": 1}});
        assert!(super::record(&running).is_err());
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let check = |bytes: &[u8], expect: &str| {
            let told = read(bytes).map(drop).expect_err("no archive").to_string();
            assert!(told.starts_with(expect), "{told}");
        };
        check(b"", "it is no .dockerbuild file");
        check(b"hello", "it is no .dockerbuild file");
    }
}
