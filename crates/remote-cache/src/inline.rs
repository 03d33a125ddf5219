//! Caches inside the config of an image: the keys are there, the layers are those of the image.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::{Descriptor, Digest};
use refs::LayerBlob;
use serde::Deserialize;

use crate::chains::Chains;
use crate::config::{CacheConfig, ChainResult, Layer, LayerResult, Record};
use crate::manifest::{self, CREATED_AT, DESCRIPTION, UNCOMPRESSED};

/// The field of an image's config.
pub const FIELD: &str = "moby.buildkit.cache.v0";

/// What is read of an image's config.
#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    rootfs: RootFs,
    #[serde(default, rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
    #[serde(default)]
    history: Option<Vec<History>>,
}

#[derive(Deserialize, Default)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    empty_layer: bool,
}

/// The cache of an image, with its layers as they are to be imported.
pub fn parse(image: &[u8], mut layers: Vec<Descriptor>) -> Result<Option<(CacheConfig, Vec<Descriptor>)>> {
    let image: Image = manifest::parse(image, "image config")?;
    let diff_ids = image.rootfs.diff_ids.unwrap_or_default();
    let Some(cache) = image.cache.filter(|_| diff_ids.len() == layers.len()) else { return Ok(None) };
    let records = STANDARD.decode(cache).map_err(|e| Error::user(format!("invalid inline cache: {e}")))?;
    let records: Option<Vec<Record>> = manifest::parse(&records, "inline cache")?;
    let history = image.history.unwrap_or_default().into_iter().filter(|h| !h.empty_layer);
    let mut history = history.map(Some).chain(std::iter::repeat_with(|| None));
    for (layer, diff_id) in layers.iter_mut().zip(&diff_ids) {
        layer.annotations.insert(UNCOMPRESSED.into(), diff_id.to_string());
        let Some(History { created, created_by, .. }) = history.next().flatten() else { continue };
        if let Some(created) = created {
            layer.annotations.insert(CREATED_AT.into(), created.to_string());
        }
        if !created_by.is_empty() {
            layer.annotations.insert(DESCRIPTION.into(), created_by);
        }
    }
    let stack = layers.iter().enumerate();
    let config = CacheConfig {
        layers: stack
            .map(|(at, layer)| Layer { blob: layer.digest.clone(), parent: at as i64 - 1 })
            .collect(),
        records: records.unwrap_or_default(),
    };
    Ok(Some((config, layers)))
}

/// The records for an image of these layers, as they go into its config: results with other layers are left out. `None`
/// where none is left.
pub fn records_for(chains: &Chains, layers: &[LayerBlob]) -> Option<Vec<u8>> {
    let (config, blobs) = chains.config();
    let diff_id = |blob: &Digest| blobs.get(blob).and_then(|d| d.annotations.get(UNCOMPRESSED));
    // A blob may be packed in another way than in the image, and one image may have a blob twice.
    let mut places: HashMap<&Digest, Vec<i64>> = HashMap::new();
    for blob in blobs.keys() {
        let is_it = |layer: &LayerBlob| {
            layer.descriptor.digest == *blob || diff_id(blob).is_some_and(|d| d == layer.diff_id.as_str())
        };
        let found = layers.iter().enumerate().filter(|(_, layer)| is_it(layer));
        places.insert(blob, found.map(|(at, _)| at as i64).collect());
    }
    let mut any = false;
    let records = config.records.iter().map(|record| {
        let mut record = record.clone();
        let results = std::mem::take(&mut record.results);
        for LayerResult { layer, created_at } in results {
            let stack = stack(&config, layer);
            let known: Option<Vec<&Vec<i64>>> =
                stack.iter().map(|blob| places.get(blob).filter(|places| !places.is_empty())).collect();
            let Some(known) = known else { continue };
            any = true;
            let in_order = known.iter().enumerate().all(|(at, places)| places.contains(&(at as i64)));
            if in_order {
                record.results.push(LayerResult { layer: known.len() as i64 - 1, created_at });
            } else {
                let layers = known.iter().map(|places| places[places.len() - 1]).collect();
                record.chains.push(ChainResult { layers, created_at });
            }
        }
        record
    });
    let records: Vec<Record> = records.collect();
    any.then(|| oci::json::to_vec(&records))
}

/// The blobs of a layer and all below it, lowest first.
fn stack(config: &CacheConfig, top: i64) -> Vec<&Digest> {
    let mut stack = Vec::new();
    let mut at = usize::try_from(top).ok();
    while let Some(layer) = at.and_then(|at| config.layers.get(at)) {
        stack.push(&layer.blob);
        at = usize::try_from(layer.parent).ok();
    }
    stack.reverse();
    stack
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chains::Layers;

    fn layer(name: &str) -> LayerBlob {
        LayerBlob {
            descriptor: Descriptor::of("layer", name.as_bytes()),
            diff_id: Digest::of(format!("{name}.tar")),
        }
    }

    fn descriptor(name: &str) -> Descriptor {
        let LayerBlob { mut descriptor, diff_id } = layer(name);
        descriptor.annotations.insert(UNCOMPRESSED.into(), diff_id.to_string());
        descriptor
    }

    /// One key that leads to these layers.
    fn chains(layers: &[Descriptor]) -> Chains {
        let mut chains = Chains::default();
        let root = chains.root(&Digest::of("base"));
        let run = chains.op(&Digest::of("run"), &[vec![(root, None)]]);
        chains.add_result(run, Layers { descriptors: layers.to_vec(), created_at: Timestamp::UNIX_EPOCH });
        chains
    }

    /// What an image of the layers `abc` says of results.
    fn check(layers: &[Descriptor], expected: Option<&str>) {
        let image: Vec<LayerBlob> = ["a", "b", "c"].into_iter().map(layer).collect();
        let told = records_for(&chains(layers), &image);
        let records: Option<Vec<Record>> = told.map(|json| serde_json::from_slice(&json).expect("records"));
        let shown = records.map(|records| {
            let record = records.iter().find(|r| !r.inputs.is_empty()).expect("run");
            let results = record.results.iter().map(|r| format!("to {}", r.layer));
            let chains = record.chains.iter().map(|c| format!("{:?}", c.layers));
            results.chain(chains).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shown.as_deref(), expected);
    }

    #[test]
    fn results_are_layers_of_the_image() {
        check(&[descriptor("a"), descriptor("b")], Some("to 1"));
        check(&[descriptor("b"), descriptor("c")], Some("[1, 2]"));
        check(&[descriptor("a"), descriptor("x")], None);
        // Packed in another way.
        let mut zstd = descriptor("a");
        zstd.digest = Digest::of("a.zst");
        check(&[zstd], Some("to 0"));
    }

    #[test]
    fn what_was_written_is_read() {
        let layers: Vec<Descriptor> = ["a", "b"].into_iter().map(descriptor).collect();
        let blobs = [layer("a"), layer("b")];
        let records = STANDARD.encode(records_for(&chains(&layers), &blobs).expect("records"));
        let image = serde_json::json!({
            "rootfs": {"diff_ids": [Digest::of("a.tar"), Digest::of("b.tar")]},
            "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "x"}, {"empty_layer": true}],
            FIELD: records,
        });
        let bare = blobs.iter().map(|blob| blob.descriptor.clone()).collect();
        let (config, layers) = parse(image.to_string().as_bytes(), bare).expect("reads").expect("a cache");
        assert_eq!(config.layers.iter().map(|l| l.parent).collect::<Vec<_>>(), [-1, 0]);
        assert_eq!(config.records.len(), 2);
        assert_eq!(layers[0].annotations[CREATED_AT], "2026-01-02T03:04:05Z");
        assert_eq!(layers[1].annotations[UNCOMPRESSED], Digest::of("b.tar").to_string());
        let without = serde_json::json!({"rootfs": {"diff_ids": [Digest::of("a.tar")]}}).to_string();
        assert!(parse(without.as_bytes(), vec![descriptor("a")]).expect("reads").is_none());
    }
}
