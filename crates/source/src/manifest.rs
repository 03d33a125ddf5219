//! From a name to the manifest and config of one platform.

use errdefs::{Error, Result, ResultExt};
use oci::{Descriptor, ImageConfig, Index, Manifest, Platform, media};

use crate::origin::{SharedOrigin, small};

/// Indexes within indexes that are followed.
const DEPTH: usize = 4;

/// An image of one platform.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What the name stands for: an index or a manifest.
    pub root: Descriptor,
    pub manifest: Manifest,
    /// The config as it is.
    pub config: Vec<u8>,
}

impl Resolved {
    pub fn parse_config(&self) -> Result<ImageConfig> {
        serde_json::from_slice(&self.config).map_err(|e| Error::user(format!("invalid image config: {e}")))
    }
}

/// Fetches manifest and config; nothing of the layers.
pub async fn resolve(
    content: &content::Store,
    origin: &SharedOrigin,
    root: Descriptor,
    platform: &Platform,
) -> Result<Resolved> {
    let mut at = root.clone();
    for _ in 0..DEPTH {
        let bytes = small(content, &**origin, &at).await?;
        let detected = || media::detect(&bytes).map_err(|e| Error::user(e.to_string()));
        let kind = match at.media_type.as_str() {
            // Some registries do not know what they serve.
            "" | "application/json" | "application/octet-stream" => detected()?,
            named => named.to_owned(),
        };
        if media::is_index(&kind) {
            at = select(&parse(&bytes, "index")?, platform)?;
            continue;
        }
        if !media::is_manifest(&kind) {
            return Err(Error::user(format!("encountered unknown type {kind}; children may not be fetched"))
                .hint("this is no image"));
        }
        let manifest: Manifest = parse(&bytes, "manifest")?;
        let config =
            small(content, &**origin, &manifest.config).await.context("failed to fetch image config")?;
        return Ok(Resolved { root, manifest, config });
    }
    Err(Error::user("indexes are nested too deeply"))
}

fn select(index: &Index, platform: &Platform) -> Result<Descriptor> {
    index.select(platform).cloned().ok_or_else(|| {
        let offered = index.manifests.iter().filter_map(|m| m.platform.as_ref()).map(Platform::to_string);
        let offered: Vec<_> = offered.filter(|p| !p.starts_with("unknown")).collect();
        Error::not_found("no match for platform in manifest: not found")
            .hint(format!("wanted {platform}; the image is there for {}", offered.join(", ")))
    })
}

pub fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::user(format!("invalid image {what}: {e}")))
}
