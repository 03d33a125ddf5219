//! The manifest of a cache: an image's, or an index of layers; or that of an image with a cache inside.

use std::collections::HashSet;

use errdefs::{Error, Result};
use oci::{Descriptor, Digest, Index, Manifest, media};

use crate::config::{CacheConfig, MEDIA_TYPE};
use crate::inline;
use crate::keys::{Blobs, Keys};
use crate::place::{Place, read};

/// Most bytes of the config of a cache.
const CONFIG: u64 = 1 << 20;
/// Most bytes of the manifest or the config of an image.
const IMAGE: u64 = 8 << 20;
/// How deep indexes may be nested.
const DEPTH: usize = 4;

/// Label of a layer: the digest of what it unpacks to.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Label of a layer: when it was made.
pub const CREATED_AT: &str = "buildkit/createdat";
/// Label of a layer: what it was made by.
pub const DESCRIPTION: &str = "buildkit/description";

/// Reads the keys of a cache. `name` begins the ids of its keys and results.
pub async fn keys(place: &dyn Place, name: &str) -> Result<Keys> {
    let bytes = place.manifest().await?;
    let (config, layers) = parts(&bytes)?;
    let Some(config) = config else { return image_keys(place, name, bytes).await };
    let missing = place.missing(&layers).await?;
    let mut blobs = Blobs::new();
    for mut layer in layers.into_iter().filter(|layer| !missing.contains(&layer.digest)) {
        place.annotate(&mut layer);
        blobs.insert(layer.digest.clone(), layer);
    }
    let config: CacheConfig = parse(&read(place, &config, CONFIG).await?, "cache config")?;
    let mut keys = Keys::default();
    keys.add(name, &config, &blobs)?;
    Ok(keys)
}

/// The config and the layers that a manifest names; no config where it is none of a cache.
fn parts(bytes: &[u8]) -> Result<(Option<Descriptor>, Vec<Descriptor>)> {
    let kind = media::detect(bytes).map_err(|e| Error::user(e.to_string()))?;
    if media::is_index(&kind) {
        let index: Index = parse(bytes, "cache manifest")?;
        let (mut configs, layers): (Vec<_>, Vec<_>) =
            index.manifests.into_iter().partition(|d| d.media_type == MEDIA_TYPE);
        return Ok((configs.pop(), layers));
    }
    let manifest: Manifest = parse(bytes, "cache manifest")?;
    let config = (manifest.config.media_type == MEDIA_TYPE).then_some(manifest.config);
    Ok((config, manifest.layers))
}

/// The keys that the images of a manifest or an index have in their configs.
async fn image_keys(place: &dyn Place, name: &str, root: Vec<u8>) -> Result<Keys> {
    let mut keys = Keys::default();
    for (at, manifest) in manifests(place, root).await?.into_iter().enumerate() {
        if manifest.layers.is_empty() {
            continue;
        }
        let image = read(place, &manifest.config, IMAGE).await?;
        if let Some((config, layers)) = inline::parse(&image, manifest.layers)? {
            let missing = place.missing(&layers).await?;
            let mut blobs = Blobs::new();
            for mut layer in layers.into_iter().filter(|layer| !missing.contains(&layer.digest)) {
                place.annotate(&mut layer);
                blobs.insert(layer.digest.clone(), layer);
            }
            keys.add(&format!("{name}/{at}"), &config, &blobs)?;
        }
    }
    Ok(keys)
}

/// All manifests of images below one.
async fn manifests(place: &dyn Place, root: Vec<u8>) -> Result<Vec<Manifest>> {
    let mut found = HashSet::from([Digest::of(&root)]);
    let mut list = Vec::new();
    let mut todo = vec![(root, 0)];
    while let Some((bytes, depth)) = todo.pop() {
        let kind = media::detect(&bytes).map_err(|e| Error::user(e.to_string()))?;
        if media::is_manifest(&kind) {
            list.push(parse(&bytes, "image manifest")?);
            continue;
        }
        let index: Index = parse(&bytes, "image index")?;
        if depth == DEPTH {
            return Err(Error::user("indexes are nested too deeply"));
        }
        for descriptor in index.manifests {
            let known = media::is_manifest(&descriptor.media_type) || media::is_index(&descriptor.media_type);
            if known && found.insert(descriptor.digest.clone()) {
                todo.push((read(place, &descriptor, IMAGE).await?, depth + 1));
            }
        }
    }
    Ok(list)
}

pub fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::user(format!("invalid {what}: {e}")))
}
