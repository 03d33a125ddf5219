//! Descriptors, manifests and indexes (OCI image-spec v1.1: descriptor.md, manifest.md, image-index.md,
//! image-layout.md). The order of fields is Go's, so that the JSON is byte for byte the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::null_is_default;
use crate::digest::Digest;
use crate::media;
use crate::platform::Platform;

pub type Annotations = BTreeMap<String, String>;

/// Names a blob: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: Annotations,
    /// The blob itself, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

impl Descriptor {
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: String::new(),
            platform: None,
            artifact_type: String::new(),
        }
    }

    /// Names `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

/// One image of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: Annotations,
}

/// Images of several platforms, or of one with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: Annotations,
}

impl Manifest {
    /// An image of these layers, lowest first.
    pub fn new(media_type: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Manifest {
            schema_version: 2,
            media_type: media_type.into(),
            artifact_type: String::new(),
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }
}

/// The file `oci-layout` of an image layout.
pub const LAYOUT_FILE: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Annotation with the name of an image in a layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Index {
    pub fn new(media_type: &str, manifests: Vec<Descriptor>) -> Self {
        Index {
            schema_version: 2,
            media_type: media_type.into(),
            artifact_type: String::new(),
            manifests,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// The manifest that suits `platform` best, if any does; the first of equals. Entries without a platform suit all,
    /// but come last.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        best(self.manifests.iter(), platform)
    }

    /// The same among images alone: no indexes.
    pub fn select_image(&self, platform: &Platform) -> Option<&Descriptor> {
        best(self.manifests.iter().filter(|d| media::is_manifest(&d.media_type)), platform)
    }
}

fn best<'a>(entries: impl Iterator<Item = &'a Descriptor>, platform: &Platform) -> Option<&'a Descriptor> {
    let rank = |d: &Descriptor| match &d.platform {
        None => Some(usize::MAX),
        Some(offered) => platform.rank(offered),
    };
    let ranked = entries.filter_map(|d| rank(d).map(|r| (r, d)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, d)| d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: Option<&str>) -> Descriptor {
        let mut d = Descriptor::of(crate::media::OCI_MANIFEST, platform.unwrap_or("any").as_bytes());
        d.platform = platform.map(|p| p.parse().expect("valid"));
        d
    }

    #[test]
    fn the_best_platform_is_selected() {
        let index = Index::new(
            crate::media::OCI_INDEX,
            vec![
                entry(None),
                entry(Some("linux/386")),
                entry(Some("linux/arm/v6")),
                entry(Some("linux/amd64")),
            ],
        );
        let select = |p: &str| {
            let chosen = index.select(&p.parse().expect("valid"));
            chosen.and_then(|d| d.platform.as_ref()).map(|p| p.to_string())
        };
        assert_eq!(select("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(select("linux/arm64").as_deref(), Some("linux/arm/v6"));
        assert_eq!(select("linux/s390x"), None);
    }

    #[test]
    fn json_is_laid_out_as_go_does() {
        let config = Descriptor::of(crate::media::OCI_CONFIG, b"{}");
        let manifest = Manifest::new(crate::media::OCI_MANIFEST, config, Vec::new());
        insta::assert_snapshot!(String::from_utf8_lossy(&crate::json::to_vec_indent(&manifest)), @r#"
        {
          "schemaVersion": 2,
          "mediaType": "application/vnd.oci.image.manifest.v1+json",
          "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2
          },
          "layers": []
        }
        "#);
    }
}
