//! The image config that a stage makes.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use oci::{History, ImageConfig, Platform};
use serde_json::Value;

use crate::windows;

/// Where programs are looked up when an image does not say.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The name of the image that has nothing in it.
pub(crate) const SCRATCH: &str = "scratch";

/// Reads the config of a base image. Fields that mean nothing to a Dockerfile do not pass to the new image.
///
/// # Errors
/// For what is no image config.
pub(crate) fn read(json: &[u8]) -> Result<ImageConfig> {
    let mut image: ImageConfig = serde_json::from_slice(json)
        .map_err(|e| Error::user(format!("failed to parse image config: {e}")))?;
    image.other.clear();
    image.config.other.clear();
    image.config.stop_timeout = None;
    Ok(image)
}

/// The config of an image that has nothing in it.
pub(crate) fn empty(platform: &Platform) -> ImageConfig {
    let mut image = ImageConfig { rootfs: oci::RootFs::default(), ..ImageConfig::default() };
    set_platform(&mut image, platform);
    image.config.working_dir = "/".into();
    // Windows knows by itself where its programs are.
    if platform.os != windows::OS {
        image.config.env = vec![format!("PATH={DEFAULT_PATH}")];
    }
    image
}

pub(crate) fn set_platform(image: &mut ImageConfig, platform: &Platform) {
    image.architecture.clone_from(&platform.architecture);
    image.os.clone_from(&platform.os);
    image.os_version.clone_from(&platform.os_version);
    image.os_features.clone_from(&platform.os_features);
    image.variant.clone_from(&platform.variant);
}

/// The config as the engine gets it. What is empty is left out.
pub(crate) fn write(image: &ImageConfig) -> Vec<u8> {
    let mut image = image.clone();
    let config = &mut image.config;
    drop_empty(&mut config.entrypoint, Vec::is_empty);
    drop_empty(&mut config.cmd, Vec::is_empty);
    drop_empty(&mut config.exposed_ports, BTreeMap::is_empty);
    drop_empty(&mut config.volumes, BTreeMap::is_empty);
    drop_empty(&mut config.labels, BTreeMap::is_empty);
    oci::json::to_vec(&image)
}

fn drop_empty<T>(slot: &mut Option<T>, is_empty: impl Fn(&T) -> bool) {
    if slot.as_ref().is_some_and(is_empty) {
        *slot = None;
    }
}

/// No layer, and no history of one: old images do not list their layers.
pub(crate) fn has_no_layers(image: &ImageConfig) -> bool {
    image.rootfs.diff_ids.is_empty() && image.history.iter().all(|h| h.empty_layer)
}

/// Whether a step leaves a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    None,
    One,
}

/// Notes a step. `created` is an RFC 3339 time.
pub(crate) fn note(image: &mut ImageConfig, created_by: String, layer: Layer, created: Option<&str>) {
    image.history.push(History {
        created: created.map(str::to_owned),
        created_by,
        comment: "buildkit.dockerfile.v0".into(),
        empty_layer: layer == Layer::None,
        ..History::default()
    });
}

/// Sets a variable; one that is there keeps its place.
pub(crate) fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match env.iter_mut().find(|known| crate::environment::split_line(known).0 == name) {
        Some(known) => *known = line,
        None => env.push(line),
    }
}

/// The set of ports or volumes, as the config holds it.
pub(crate) fn insert_all(set: &mut Option<BTreeMap<String, Value>>, names: &[String]) {
    let set = set.get_or_insert_default();
    set.extend(names.iter().map(|name| (name.clone(), Value::Object(serde_json::Map::new()))));
}
