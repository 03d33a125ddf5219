//! What the engine knows a build was made from, for the metadata file.

use client::{BuildRecord, Client, Descriptor, HistoryQuery};
use errdefs::{Error, Result};
use oci::media::{IN_TOTO, PREDICATE_TYPE};
use provenance::{PREDICATE_TYPES, Version, as_v02};
use serde_json::{Map, Value};

use crate::settings::MetadataProvenance;

const KEY: &str = "buildx.build.provenance";
/// It is read whole.
const LIMIT: usize = 64 << 20;

/// Fields of the metadata file, in the form of SLSA v0.2, which is what is expected there. Results of several platforms
/// have one each.
pub(crate) async fn of_build(
    client: &Client,
    id: &str,
    mode: MetadataProvenance,
) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    if mode == MetadataProvenance::None {
        return Ok(fields);
    }
    let query = HistoryQuery { id: id.to_owned(), early_exit: true, ..HistoryQuery::default() };
    for record in client.records(&query).await? {
        for (key, descriptor) in statements(&record) {
            let bytes = client.blob(&descriptor.digest, LIMIT).await?;
            let statement = serde_json::from_slice(&bytes).map_err(|e| {
                Error::environment(format!("failed to read provenance {}: {e}", descriptor.digest))
            })?;
            let is_v1 = predicate_type(descriptor) == Version::V1.predicate_type();
            let mut statement: Value = if is_v1 { as_v02(statement) } else { statement };
            if let (MetadataProvenance::Min, Some(all)) = (mode, statement.as_object_mut()) {
                all.retain(|key, _| key != "buildConfig" && key != "metadata");
            }
            fields.insert(key, statement);
        }
    }
    Ok(fields)
}

/// The first provenance of each platform, by its key in the file.
fn statements(record: &BuildRecord) -> Vec<(String, &Descriptor)> {
    let has_platforms = record.attestations.keys().any(|platform| !platform.is_empty());
    let shown = record.attestations.iter().filter(|(platform, _)| platform.is_empty() != has_platforms);
    let first = shown.filter_map(|(platform, all)| {
        let is_provenance =
            |d: &&Descriptor| d.media_type == IN_TOTO && predicate_type(d).starts_with(PREDICATE_TYPES);
        let key = if platform.is_empty() { KEY.to_owned() } else { format!("{KEY}/{platform}") };
        Some((key, all.iter().find(is_provenance)?))
    });
    first.collect()
}

fn predicate_type(descriptor: &Descriptor) -> &str {
    descriptor.annotations.get(PREDICATE_TYPE).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keys() {
        let of = |kind: &str| Descriptor {
            media_type: IN_TOTO.into(),
            digest: kind.into(),
            size: 1,
            annotations: BTreeMap::from([(PREDICATE_TYPE.to_owned(), kind.to_owned())]),
        };
        let all = || vec![of("https://spdx.dev/Document"), of("https://slsa.dev/provenance/v1")];
        let check = |platforms: &[&str], expected: &[&str]| {
            let attestations = platforms.iter().map(|p| ((*p).to_owned(), all())).collect();
            let record = BuildRecord { attestations, ..BuildRecord::default() };
            let found = statements(&record);
            assert!(found.iter().all(|(_, d)| d.digest == "https://slsa.dev/provenance/v1"));
            assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), expected);
        };
        check(&[], &[]);
        check(&[""], &["buildx.build.provenance"]);
        check(
            &["linux/amd64", "linux/arm64"],
            &["buildx.build.provenance/linux/amd64", "buildx.build.provenance/linux/arm64"],
        );
    }
}
