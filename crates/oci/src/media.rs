//! Media types of images, and what they say.

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub const OCI_FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
pub const OCI_FOREIGN_LAYER_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
pub const OCI_FOREIGN_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A statement about an artifact; which kind of one, its descriptor says by the annotation [`PREDICATE_TYPE`].
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Docker's first form of a manifest, which nobody serves any more.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
pub const DOCKER_FOREIGN_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// How a layer blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerCompression {
    Uncompressed,
    Gzip,
    Zstd,
}

pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

pub fn is_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

pub fn is_layer(media_type: &str) -> bool {
    let base = media_type.split('+').next().unwrap_or_default();
    media_type.starts_with("application/vnd.oci.image.layer.")
        || base.starts_with("application/vnd.docker.image.rootfs.")
}

pub fn is_docker(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.")
}

/// Layers that are not to be pushed, but fetched from their URLs.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

/// The compression that the media type of a layer names; `None` for what is no layer.
pub fn layer_compression(media_type: &str) -> Option<LayerCompression> {
    if !is_layer(media_type) {
        return None;
    }
    let suffix = media_type.rsplit(['+', '.']).next().unwrap_or_default();
    match suffix {
        "gzip" => Some(LayerCompression::Gzip),
        "zstd" => Some(LayerCompression::Zstd),
        "tar" => Some(LayerCompression::Uncompressed),
        _ => None,
    }
}

/// Bytes that are neither a manifest nor an index, or both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoManifest {
    #[error("invalid manifest: {0}")]
    Json(String),
    #[error("invalid ambiguous manifest and manifest list")]
    Ambiguous,
    #[error("mediaType in manifest does not match manifest contents")]
    Mismatch,
}

/// The media type of a manifest or index by its bytes. Where they name none, it is taken for Docker's.
pub fn detect(bytes: &[u8]) -> Result<String, NoManifest> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        config: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(bytes).map_err(|e| NoManifest::Json(e.to_string()))?;
    let manifest = shape.config.is_some() || shape.layers.is_some();
    if manifest && shape.manifests.is_some() {
        return Err(NoManifest::Ambiguous);
    }
    match shape.media_type {
        Some(m) if is_manifest(&m) && manifest || is_index(&m) && !manifest => Ok(m),
        Some(m) if is_manifest(&m) || is_index(&m) => Err(NoManifest::Mismatch),
        _ if manifest => Ok(DOCKER_MANIFEST.into()),
        _ => Ok(DOCKER_LIST.into()),
    }
}

/// The media type of a layer.
pub fn layer(compression: LayerCompression, oci: bool) -> &'static str {
    match (compression, oci) {
        (LayerCompression::Uncompressed, true) => OCI_LAYER,
        (LayerCompression::Gzip, true) => OCI_LAYER_GZIP,
        (LayerCompression::Zstd, true) => OCI_LAYER_ZSTD,
        (LayerCompression::Uncompressed, false) => DOCKER_LAYER,
        (LayerCompression::Gzip, false) => DOCKER_LAYER_GZIP,
        (LayerCompression::Zstd, false) => DOCKER_LAYER_ZSTD,
    }
}

/// The media type of a layer that is not to be pushed; Docker has none for zstd.
pub fn foreign_layer(compression: LayerCompression, oci: bool) -> Option<&'static str> {
    Some(match (compression, oci) {
        (LayerCompression::Uncompressed, true) => OCI_FOREIGN_LAYER,
        (LayerCompression::Gzip, true) => OCI_FOREIGN_LAYER_GZIP,
        (LayerCompression::Zstd, true) => OCI_FOREIGN_LAYER_ZSTD,
        (LayerCompression::Uncompressed, false) => DOCKER_FOREIGN_LAYER,
        (LayerCompression::Gzip, false) => DOCKER_FOREIGN_LAYER_GZIP,
        (LayerCompression::Zstd, false) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_types_name_their_compression() {
        for oci in [true, false] {
            for c in [LayerCompression::Uncompressed, LayerCompression::Gzip, LayerCompression::Zstd] {
                assert_eq!(layer_compression(layer(c, oci)), Some(c));
            }
        }
        assert_eq!(layer_compression(DOCKER_FOREIGN_LAYER_GZIP), Some(LayerCompression::Gzip));
        assert!(is_foreign(DOCKER_FOREIGN_LAYER_GZIP));
        assert_eq!(layer_compression(OCI_CONFIG), None);
    }

    #[test]
    fn manifests_are_told_by_their_shape() {
        for (text, expected) in [
            (r#"{"config":{},"layers":[]}"#, Ok(DOCKER_MANIFEST)),
            (r#"{"manifests":[]}"#, Ok(DOCKER_LIST)),
            (r#"{"manifests":[],"layers":[]}"#, Err(NoManifest::Ambiguous)),
        ] {
            assert_eq!(detect(text.as_bytes()), expected.map(str::to_owned), "{text}");
        }
        let own = |m: &str, rest: &str| detect(format!(r#"{{"mediaType":"{m}",{rest}}}"#).as_bytes());
        assert_eq!(own(OCI_INDEX, r#""manifests":[]"#), Ok(OCI_INDEX.to_owned()));
        assert_eq!(own(OCI_INDEX, r#""layers":[]"#), Err(NoManifest::Mismatch));
        assert!(matches!(detect(b"x"), Err(NoManifest::Json(_))));
    }
}
