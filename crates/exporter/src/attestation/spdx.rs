//! SBOMs in SPDX, to which exporters add what only they know: the layer of each file.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::Result;
use frontend::sbom::SPDX;
use oci::Digest;
use oci::json::to_vec;
use serde_json::{Map, Value};
use snapshot::View;

use super::Predicate;

const VERSIONS: [&str; 3] = ["SPDX-2.1", "SPDX-2.2", "SPDX-2.3"];

/// Finds the layers of files.
pub struct LayerFinder {
    /// The file system up to each layer, lowest first.
    pub layers: Vec<(Digest, View)>,
}

impl LayerFinder {
    /// The layer that a file came with; for one that was removed, the last that it came with.
    fn find(&self, path: &str) -> Result<Option<&Digest>> {
        let mut found = None;
        for (digest, view) in self.layers.iter().rev() {
            match (view.real_path(path.as_bytes())?, &found) {
                (None, None) => {}
                (Some(place), None) => found = Some((place, digest)),
                // The same file lies in a lower layer.
                (Some(place), Some((same, _))) if place == *same => found = Some((place, digest)),
                (_, Some(_)) => break,
            }
        }
        Ok(found.map(|(_, digest)| digest))
    }
}

/// The content of the SBOM of a result with the layers of its files; `None` where it is none that is understood.
pub fn supplement(predicate: &Predicate, layers: &LayerFinder) -> Result<Option<Bytes>> {
    if predicate.predicate_type != SPDX || !predicate.is_core_sbom() {
        return Ok(None);
    }
    let Ok(mut document) = serde_json::from_slice::<Map<String, Value>>(&predicate.content) else {
        return Ok(None);
    };
    let version = document.get("spdxVersion").and_then(Value::as_str);
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return Ok(None);
    }
    let mut known = BTreeMap::new();
    comment_files(&mut document, layers, &mut known)?;
    for package in list(&mut document, "packages") {
        if let Value::Object(package) = package {
            comment_files(package, layers, &mut known)?;
        }
    }
    sign(&mut document);
    Ok(Some(to_vec(&document).into()))
}

fn list<'a>(object: &'a mut Map<String, Value>, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// A comment that is there already has no form, and stays.
fn comment_files(
    object: &mut Map<String, Value>,
    layers: &LayerFinder,
    known: &mut BTreeMap<String, Option<Digest>>,
) -> Result<()> {
    for file in list(object, "files") {
        let Value::Object(file) = file else { continue };
        let comment = file.get("comment").and_then(Value::as_str).unwrap_or_default();
        let Some(name) = file.get("fileName").and_then(Value::as_str).filter(|_| comment.is_empty()) else {
            continue;
        };
        let layer = match known.get(name) {
            Some(layer) => layer.clone(),
            None => {
                let layer = layers.find(name)?.cloned();
                known.insert(name.to_owned(), layer.clone());
                layer
            }
        };
        if let Some(layer) = layer {
            file.insert("comment".into(), format!("layerID: {layer}").into());
        }
    }
    Ok(())
}

/// Says who else worked on the document.
fn sign(document: &mut Map<String, Value>) {
    let info = document.entry("creationInfo").or_insert(Value::Null);
    if info.is_null() {
        *info = Value::Object(Map::new());
    }
    let Value::Object(info) = info else { return };
    let creators = info.entry("creators").or_insert(Value::Null);
    if creators.is_null() {
        *creators = Value::Array(Vec::new());
    }
    let own = Value::from(concat!("Tool: kiln-v", env!("CARGO_PKG_VERSION")));
    if let Value::Array(creators) = creators
        && !creators.contains(&own)
    {
        creators.push(own);
    }
}
