use client::{BuildRecord, Client, Descriptor};
use errdefs::{Error, Result};
use serde_json::Value;

use super::find::{Found, Histories};
use crate::args::AttachmentArgs;
use crate::console;

/// Manifests are small.
const MANIFEST: usize = 8 << 20;

/// A blob that belongs to a build.
pub(super) struct Attachment {
    pub digest: String,
    pub platform: String,
    pub kind: String,
}

/// Prints one.
pub(super) async fn print(args: &AttachmentArgs, histories: &Histories<'_>) -> Result<()> {
    if args.digest.is_none() && args.kind.is_none() && args.platform.is_none() {
        return Err(Error::user("at least one of --type, --platform or DIGEST must be specified"));
    }
    let Found { record, client, .. } = histories.find(&args.build).await?;
    if let Some(digest) = &args.digest {
        return client.read_blob(digest, console::out).await;
    }
    let wanted = |a: &Attachment| {
        args.kind.as_deref().is_none_or(|kind| is_of(kind, &a.kind))
            && args.platform.as_ref().is_none_or(|platform| *platform == a.platform)
    };
    let found = all(&client, &record).await?.into_iter().find(wanted);
    match found {
        Some(found) => client.read_blob(&found.digest, console::out).await,
        None => Err(Error::not_found(format!("no matching attachment found for ref {:?}", args.build))
            .hint("`kiln history inspect` lists what there is")),
    }
}

fn is_of(wanted: &str, kind: &str) -> bool {
    match wanted {
        "index" => kind.ends_with("image.index.v1+json") || kind.ends_with("manifest.list.v2+json"),
        "manifest" => {
            kind.ends_with("image.manifest.v1+json") || kind.ends_with("distribution.manifest.v2+json")
        }
        "image" => kind.ends_with("image.config.v1+json") || kind.ends_with("container.image.v1+json"),
        "provenance" => kind.starts_with("https://slsa.dev/provenance/"),
        "sbom" => kind == "https://spdx.dev/Document",
        other => kind == other,
    }
}

/// All blobs of a build, its images with their parts first.
pub(super) async fn all(client: &Client, record: &BuildRecord) -> Result<Vec<Attachment>> {
    let mut all = Vec::new();
    for image in record.results.values() {
        add_image(client, image, &mut all).await;
    }
    for (platform, attestations) in &record.attestations {
        all.extend(attestations.iter().map(|d| of(d, platform)));
    }
    let own = [&record.logs, &record.trace, &record.external_error];
    all.extend(own.into_iter().flatten().map(|d| of(d, "")));
    let mut seen = std::collections::HashSet::new();
    all.retain(|a| seen.insert((a.digest.clone(), a.kind.clone())));
    Ok(all)
}

fn of(d: &Descriptor, platform: &str) -> Attachment {
    let kind = d.annotations.get(oci::media::PREDICATE_TYPE).unwrap_or(&d.media_type).clone();
    Attachment { digest: d.digest.clone(), platform: platform.to_owned(), kind }
}

/// An index with its manifests, and their configs. What the engine has no more is left out.
async fn add_image(client: &Client, image: &Descriptor, all: &mut Vec<Attachment>) {
    let mut todo = vec![of(image, "")];
    while let Some(at) = todo.pop() {
        let bytes = client.blob(&at.digest, MANIFEST).await;
        let Some(json) = bytes.ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok()) else { continue };
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        for manifest in json["manifests"].as_array().into_iter().flatten() {
            let platform = &manifest["platform"];
            let words = [text(platform, "os"), text(platform, "architecture"), text(platform, "variant")];
            let platform = words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join("/");
            let (digest, kind) = (text(manifest, "digest"), text(manifest, "mediaType"));
            todo.push(Attachment { digest, platform, kind });
        }
        let config = &json["config"];
        if config.is_object() {
            let (digest, kind) = (text(config, "digest"), text(config, "mediaType"));
            all.push(Attachment { digest, platform: at.platform.clone(), kind });
        }
        all.push(at);
    }
}
