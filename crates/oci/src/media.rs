//! Media types of images, and what they say.

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
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

pub fn is_docker(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.")
}

/// Layers that are not to be pushed, but fetched from their URLs.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

/// The compression that the media type of a layer names; `None` for what is no layer.
pub fn layer_compression(media_type: &str) -> Option<LayerCompression> {
    if !(media_type.contains(".image.layer.") || media_type.contains(".rootfs.")) {
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
}
