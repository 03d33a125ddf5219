//! The result of a build, as exporters see it.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Error, Result};
use oci::{ImageConfig, Platform};
use refs::ImmutableRef;
use serde::Deserialize;

use crate::attestation::Attestation;

pub(crate) const PLATFORMS: &str = "refs.platforms";
pub(crate) const IMAGE_CONFIG: &str = "containerimage.config";
pub(crate) const BASE_CONFIG: &str = "containerimage.base.config";
pub(crate) const IMAGE_NAME: &str = "image.name";

/// A result with all of its refs computed.
#[derive(Debug, Clone)]
pub struct Exportable {
    pub refs: Refs,
    /// What the frontend said: `containerimage.config`, `refs.platforms`; those of one platform end in `/<platform>`.
    pub metadata: BTreeMap<String, Bytes>,
    /// By platform id; those of a result with one ref may stand under the empty name.
    pub attestations: BTreeMap<String, Vec<Attestation>>,
}

/// File systems; `None` is scratch.
#[derive(Debug, Clone)]
pub enum Refs {
    Single(Option<ImmutableRef>),
    /// By platform id, as `linux/arm64`.
    Map(BTreeMap<String, Option<ImmutableRef>>),
}

/// A platform of a result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ResultPlatform {
    #[serde(rename = "ID", default)]
    pub id: String,
    #[serde(rename = "Platform", default)]
    pub platform: Platform,
}

impl Exportable {
    /// With metadata of the attributes, which win.
    pub(crate) fn with_metadata(&self, more: &BTreeMap<String, Bytes>) -> Self {
        let mut all = self.clone();
        all.metadata.extend(more.clone());
        all
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(&self.refs, Refs::Map(map) if !map.is_empty())
    }

    /// The ref of a platform. A result without platforms has one ref for all.
    pub(crate) fn find(&self, id: &str) -> Result<Option<&ImmutableRef>> {
        match &self.refs {
            Refs::Single(only) => Ok(only.as_ref()),
            Refs::Map(map) if map.is_empty() => Ok(None),
            Refs::Map(map) => match map.get(id) {
                Some(found) => Ok(found.as_ref()),
                None => Err(Error::user(format!("failed to find ref for ID {id}"))),
            },
        }
    }

    /// Metadata of a platform, or else of all.
    pub(crate) fn key(&self, key: &str, platform: &ResultPlatform) -> Option<&Bytes> {
        self.metadata.get(&format!("{key}/{}", platform.id)).or_else(|| self.metadata.get(key))
    }

    /// Whether the frontend said which platforms there are.
    pub fn names_platforms(&self) -> bool {
        self.metadata.contains_key(PLATFORMS)
    }

    /// The platforms of the result, one at least.
    pub fn platform_list(&self) -> Result<Vec<Platform>> {
        Ok(self.platforms()?.into_iter().map(|named| named.platform).collect())
    }

    /// The platforms of the result with their names.
    pub(crate) fn platforms(&self) -> Result<Vec<ResultPlatform>> {
        if self.is_map() && !self.metadata.contains_key(PLATFORMS) {
            return Err(Error::user("unable to export multiple refs, missing platforms mapping"));
        }
        platforms(&self.metadata)
    }
}

/// The platforms of a result with this metadata, one at least.
pub fn platforms(metadata: &BTreeMap<String, Bytes>) -> Result<Vec<ResultPlatform>> {
    if let Some(json) = metadata.get(PLATFORMS) {
        return named_platforms(json);
    }
    let platform = match metadata.get(IMAGE_CONFIG) {
        Some(json) => platform_of_config(json)?,
        None => Platform::host(),
    };
    Ok(vec![ResultPlatform { id: platform.format_all(), platform }])
}

fn named_platforms(json: &[u8]) -> Result<Vec<ResultPlatform>> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "Platforms")]
        platforms: Option<Vec<ResultPlatform>>,
    }
    let mut platforms = Vec::new();
    if !json.is_empty() {
        let named: Option<Named> = serde_json::from_slice(json)
            .map_err(|e| Error::user(format!("failed to parse platforms passed to exporter: {e}")))?;
        platforms = named.and_then(|named| named.platforms).unwrap_or_default();
    }
    if platforms.is_empty() {
        return Err(Error::user("invalid empty platforms index for exporter"));
    }
    for named in &mut platforms {
        if named.id.is_empty() {
            return Err(Error::user("invalid empty platform key for exporter"));
        }
        let p = &named.platform;
        if p.os.is_empty() || p.architecture.is_empty() {
            // Go's way to print it.
            let features = p.os_features.join(" ");
            let shown =
                format!("{{{} {} {} [{features}] {}}}", p.architecture, p.os, p.os_version, p.variant);
            return Err(Error::user(format!("invalid platform value {shown} for exporter")));
        }
        named.platform = p.normalize();
    }
    Ok(platforms)
}

fn platform_of_config(json: &[u8]) -> Result<Platform> {
    let config: Option<ImageConfig> = serde_json::from_slice(json)
        .map_err(|e| Error::user(format!("invalid image config for export: {e}")))?;
    let config = config.unwrap_or_default();
    match (config.os.is_empty(), config.architecture.is_empty()) {
        (false, false) => Ok(config.platform().normalize()),
        (true, true) => Ok(Platform::default()),
        _ => Err(Error::user("invalid image config: os and architecture must be specified together")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(metadata: &[(&str, &str)]) -> Exportable {
        let metadata =
            metadata.iter().map(|(k, v)| ((*k).to_owned(), Bytes::copy_from_slice(v.as_bytes()))).collect();
        Exportable { refs: Refs::Single(None), metadata, attestations: BTreeMap::new() }
    }

    #[test]
    fn platforms_are_read_or_guessed() {
        let check = |metadata: &[(&str, &str)], expected: Result<&[&str], &str>| {
            let ids =
                result(metadata).platforms().map(|all| all.into_iter().map(|p| p.id).collect::<Vec<_>>());
            let ids = ids.map_err(|e| e.to_string());
            assert_eq!(
                ids,
                expected.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()).map_err(str::to_owned)
            );
        };
        let config = r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#;
        check(&[], Ok(&[&Platform::host().to_string()]));
        check(&[(IMAGE_CONFIG, config)], Ok(&["linux/arm64"]));
        check(
            &[(PLATFORMS, r#"{"Platforms":[{"ID":"a","Platform":{"os":"linux","architecture":"x86_64"}}]}"#)],
            Ok(&["a"]),
        );
        check(&[(PLATFORMS, "")], Err("invalid empty platforms index for exporter"));
        check(&[(PLATFORMS, "null")], Err("invalid empty platforms index for exporter"));
        check(&[(PLATFORMS, r#"{"Platforms":null}"#)], Err("invalid empty platforms index for exporter"));
        check(&[(PLATFORMS, r#"{"Platforms":[{}]}"#)], Err("invalid empty platform key for exporter"));
        check(
            &[(PLATFORMS, r#"{"Platforms":[{"ID":"a","Platform":{"os":"linux"}}]}"#)],
            Err("invalid platform value { linux  [] } for exporter"),
        );
        check(
            &[(IMAGE_CONFIG, r#"{"os":"linux"}"#)],
            Err("invalid image config: os and architecture must be specified together"),
        );
    }
}
