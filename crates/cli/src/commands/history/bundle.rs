//! Builds as files: a gzipped OCI layout whose manifests stand for builds. The config of one is the record, its layers
//! are the blobs that belong to it. Docker Desktop reads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use client::{BuildRecord, Client, Descriptor, HistoryChange, HistoryQuery};
use errdefs::{Error, Result, ResultExt as _};
use flate2::Compression;
use flate2::write::GzEncoder;
use fsutil::tar::{Entry, EntryKind, Writer};
use serde_json::{Value, json};

use super::Local;
use super::find::{Found, Histories, newest};
use crate::args::HistoryExportArgs;
use crate::buildctl::record_json;
use crate::environment::Environment;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a record.
pub(super) const RECORD: &str = "application/vnd.buildkit.historyrecord.v0";
/// Where the true media type of a result is noted: nobody is to look for what it consists of.
const TRUE_TYPE: &str = "vnd.export-build.descriptor.mediatype";
/// Where an index notes the id of a build.
const REFERENCE: &str = "vnd.buildkit.history.reference";
/// The longest blob that is taken along.
const LONGEST: usize = 256 << 20;

/// The blobs of an archive, by digest.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = oci::Digest::of(&bytes).to_string();
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.0.insert(digest, bytes);
        descriptor
    }

    fn add_json(&mut self, media_type: &str, value: &Value) -> Value {
        self.add(media_type, format!("{value:#}").into_bytes())
    }
}

/// Writes builds to a file.
pub(super) async fn export(args: &HistoryExportArgs, all: &Histories<'_>) -> Result<()> {
    let env = all.env;
    if args.output.is_none() && env.stdout_is_terminal {
        return Err(Error::user("refusing to write to console, use --output to specify a file"));
    }
    let found = chosen(args, all).await?;
    if let Some(running) = found.iter().find(|found| found.record.completed_at.is_none()) {
        let message = format!("the build {} still runs", running.record.id);
        return Err(Error::user(message).hint("wait for its end"));
    }
    let mut blobs = Blobs::default();
    let mut manifests = Vec::new();
    for found in found {
        let Found { record, client, .. } = if args.finalize { finalized(found).await? } else { found };
        let mut manifest = manifest(&client, &record, env, &mut blobs).await?;
        manifest["annotations"] = json!({REFERENCE: record.id});
        manifests.push(manifest);
    }
    let root = match manifests.len() {
        1 => manifests.remove(0),
        _ => blobs.add_json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})),
    };
    match &args.output {
        Some(path) => {
            let path = env.cwd.join(path);
            let failed = || format!("failed to write `{}`", path.display());
            write(&root, &blobs, File::create(&path).with_context(failed)?).with_context(failed)
        }
        None => write(&root, &blobs, std::io::stdout().lock()).context("failed to write to stdout"),
    }
}

/// The builds that are meant, each with its parts on all nodes.
async fn chosen(args: &HistoryExportArgs, all: &Histories<'_>) -> Result<Vec<Found>> {
    let mut chosen = Vec::new();
    if args.all {
        chosen = newest(all.builder, None, &HistoryQuery::default()).await?;
        chosen.retain(|found| found.record.completed_at.is_some());
    } else if args.builds.is_empty() {
        chosen = all.find_all("").await?;
    }
    for build in &args.builds {
        chosen.extend(all.find_all(build).await?);
    }
    if chosen.is_empty() { Err(Error::not_found("no records found")) } else { Ok(chosen) }
}

async fn finalized(found: Found) -> Result<Found> {
    found.client.update_history(&found.record.id, HistoryChange::Finalize).await?;
    found.again().await
}

/// The manifest of one build.
async fn manifest(
    client: &Client,
    record: &BuildRecord,
    env: &Environment,
    blobs: &mut Blobs,
) -> Result<Value> {
    let mut json = record_json(record);
    let workers = client.workers().await?;
    let platform = workers.first().and_then(|w| w.platforms.first()).cloned().unwrap_or_default();
    json["DefaultPlatform"] = Value::String(platform);
    let local = Local::load(&record.id, env);
    if local != Local::default() {
        json["localState"] = json!({"LocalPath": local.context, "DockerfilePath": local.dockerfile});
    }
    if let Some(imports) = json["FrontendAttrs"]["cache-imports"].as_str().map(without_credentials) {
        json["FrontendAttrs"]["cache-imports"] = Value::String(imports);
    }
    let config = blobs.add_json(RECORD, &json);
    let mut layers = Vec::new();
    for blob in record.blobs() {
        layers.push(layer(client, blob, &blob.media_type, blobs).await?);
    }
    for result in record.results.values() {
        let mut descriptor = layer(client, result, "application/json", blobs).await?;
        descriptor["annotations"][TRUE_TYPE] = Value::String(result.media_type.clone());
        layers.push(descriptor);
    }
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    Ok(blobs.add_json(MANIFEST, &manifest))
}

async fn layer(client: &Client, blob: &Descriptor, media_type: &str, blobs: &mut Blobs) -> Result<Value> {
    let bytes = client.blob(&blob.digest, LONGEST).await;
    let bytes = bytes.with_context(|| format!("failed to read the blob {}", blob.digest))?;
    let mut descriptor = blobs.add(media_type, bytes);
    if !blob.annotations.is_empty() {
        descriptor["annotations"] = json!(blob.annotations);
    }
    Ok(descriptor)
}

/// Of caches that were imported only where they are: tokens lie among their attributes.
fn without_credentials(imports: &str) -> String {
    let Ok(Value::Array(mut imports)) = serde_json::from_str(imports) else { return String::new() };
    for import in &mut imports {
        if let Some(attrs) = import["Attrs"].as_object_mut() {
            attrs.retain(|key, _| key == "scope" || key == "ref");
        }
    }
    Value::Array(imports).to_string()
}

/// An OCI layout as a gzipped archive.
fn write(root: &Value, blobs: &Blobs, out: impl Write) -> Result<()> {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [root]}).to_string();
    let mut archive = Writer::new(GzEncoder::new(out, Compression::default()));
    let folder =
        |path: &str| Entry { path: path.into(), kind: EntryKind::Dir, mode: 0o755, ..Entry::default() };
    for path in ["blobs/", "blobs/sha256/"] {
        archive.ustar_header(&folder(path))?;
    }
    for (digest, bytes) in &blobs.0 {
        file(&mut archive, &format!("blobs/{}", digest.replace(':', "/")), bytes)?;
    }
    file(&mut archive, "index.json", index.as_bytes())?;
    file(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.finish()?.finish()?.flush()?;
    Ok(())
}

fn file<W: Write>(archive: &mut Writer<W>, path: &str, bytes: &[u8]) -> Result<()> {
    let size = bytes.len() as u64;
    archive.ustar_header(&Entry { path: path.into(), mode: 0o644, size, ..Entry::default() })?;
    archive.write_all(bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_taken_along() {
        let imports = r#"[{"Type":"gha","Attrs":{"scope":"x","token":"secret"}}]"#;
        assert_eq!(without_credentials(imports), r#"[{"Attrs":{"scope":"x"},"Type":"gha"}]"#);
        assert_eq!(without_credentials("no JSON"), "");
    }
}
