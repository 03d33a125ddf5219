//! What is said about files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;

use archive::copy;
use bytes::Bytes;
use errdefs::{Error, Result};
use oci::json::indent;
use oci::{Digest, DigestWriter};
use snapshot::{FileType, View};
use tokio_util::sync::CancellationToken;

use super::{Artifact, predicates, statement};
use crate::Exportable;
use crate::context::ExportContext;
use crate::exportable::ResultPlatform;
use crate::files::FileOptions;

/// The statements about the files of a platform, by the names that they have beside those.
pub async fn of_files(
    result: &Exportable,
    platform: &ResultPlatform,
    files: &View,
    options: &FileOptions,
    cx: &ExportContext,
) -> Result<BTreeMap<Vec<u8>, Bytes>> {
    let mut attestations = result.attestations_of(platform);
    attestations.retain(|attestation| !attestation.is_inline_only());
    let predicates = predicates(attestations, cx).await?;
    if predicates.is_empty() {
        return Ok(BTreeMap::new());
    }
    // Where platforms share a folder, names tell them apart.
    let suffix = (result.is_map() && !options.is_split(result)).then(|| platform.id.replace('/', "_"));
    let (files, prefix) = (files.clone(), options.attestation_prefix.clone());
    let made = cx.blocking(move |cancel| {
        let artifacts = artifacts(&files, cancel)?;
        let mut statements = BTreeMap::new();
        for predicate in &predicates {
            let name = name(&prefix, predicate.name(), suffix.as_deref());
            match statements.entry(name.into_bytes()) {
                Entry::Vacant(slot) => {
                    slot.insert(Bytes::from(indent(&statement(predicate, &artifacts)?)));
                }
                Entry::Occupied(slot) => {
                    let name = slot.key().escape_ascii();
                    return Err(Error::user(format!("duplicate attestation path name {name}")));
                }
            }
        }
        Ok(statements)
    });
    made.await
}

/// `<prefix><name>`, with the suffix in front of its ending.
fn name(prefix: &str, name: &str, suffix: Option<&str>) -> String {
    let Some(suffix) = suffix else { return format!("{prefix}{name}") };
    let name = format!("{prefix}{name}");
    let end = name.rfind('.').unwrap_or(name.len());
    format!("{}.{suffix}{}", &name[..end], &name[end..])
}

/// All regular files.
fn artifacts(files: &View, cancel: &CancellationToken) -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    for entry in files.walk(b"")? {
        let entry = entry?;
        if entry.meta.file_type == FileType::File {
            let digest = digest(files.open(&entry.path)?, cancel)?;
            artifacts.push(Artifact::new(String::from_utf8_lossy(&entry.path).into_owned(), &digest));
        }
    }
    Ok(artifacts)
}

fn digest(mut file: File, cancel: &CancellationToken) -> Result<Digest> {
    let mut digest = DigestWriter::default();
    copy(&mut file, &mut digest, cancel)?;
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_told_apart_by_names() {
        for (prefix, file, suffix, expected) in [
            ("", "provenance.json", None, "provenance.json"),
            ("a.", "sbom.spdx.json", Some("linux_amd64"), "a.sbom.spdx.linux_amd64.json"),
            ("", "plain", Some("linux_arm64"), "plain.linux_arm64"),
        ] {
            assert_eq!(name(prefix, file, suffix), expected);
        }
    }
}
