use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::Result;

use super::{DirEntry, Found};
use crate::layer::{Kind, Layer, LayerDir};
use crate::meta::FileType;

/// One directory of a view: the directories of this path in the layers that take part, topmost first.
#[derive(Debug)]
pub struct MergedDir {
    parts: Vec<(Arc<Layer>, Arc<LayerDir>)>,
    /// Hides what lies below all the layers at this path, as a whole.
    hides_below: bool,
}

impl MergedDir {
    /// The root of a stack of layers, lowest first.
    pub fn root(layers: &[Arc<Layer>]) -> Result<Self> {
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers.iter().rev() {
            parts.push((layer.clone(), layer.read_dir(b"")?));
        }
        Ok(MergedDir { parts, hides_below: false })
    }

    /// The directory `name`, at `path`; `None` where the topmost layer that knows the name shows no directory.
    pub fn subdir(&self, name: &[u8], path: &[u8]) -> Result<Option<MergedDir>> {
        let mut parts = Vec::new();
        let mut hides_below = false;
        for (layer, dir) in &self.parts {
            match dir.get(name) {
                None => continue,
                Some(Kind::Present(FileType::Dir)) => {
                    let dir = layer.read_dir(path)?;
                    let opaque = dir.opaque;
                    parts.push((layer.clone(), dir));
                    if opaque {
                        hides_below = true;
                        break;
                    }
                }
                Some(Kind::Whiteout | Kind::Present(_)) => {
                    hides_below = true;
                    break;
                }
            }
        }
        Ok((!parts.is_empty()).then_some(MergedDir { parts, hides_below }))
    }

    /// What a name is, and the topmost layer that shows it.
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        let (layer, kind) = self.parts.iter().find_map(|(layer, dir)| Some((layer, dir.get(name)?)))?;
        match kind {
            Kind::Present(file_type) => Some(Found { file_type, layer: layer.clone() }),
            Kind::Whiteout => None,
        }
    }

    /// Whether what lies below all the layers is hidden here as a whole.
    pub fn hides_below(&self) -> bool {
        self.hides_below
    }

    /// What one layer would have here that does to those below what all the layers do: with the names that are removed.
    pub fn as_one(&self) -> LayerDir {
        let mut merged = BTreeMap::new();
        for (_, dir) in &self.parts {
            for (name, kind) in &dir.entries {
                merged.entry(name).or_insert(*kind);
            }
        }
        let entries = merged.into_iter().map(|(name, kind)| (name.clone(), kind)).collect();
        LayerDir { entries, opaque: self.hides_below }
    }

    /// The names shown, sorted.
    pub fn list(&self) -> Vec<DirEntry> {
        if let [(_, only)] = &self.parts[..] {
            return only.entries.iter().filter_map(|(name, kind)| entry(name, *kind)).collect();
        }
        let mut merged = BTreeMap::new();
        for (_, dir) in &self.parts {
            for (name, kind) in &dir.entries {
                merged.entry(name).or_insert(*kind);
            }
        }
        merged.into_iter().filter_map(|(name, kind)| entry(name, kind)).collect()
    }
}

fn entry(name: &[u8], kind: Kind) -> Option<DirEntry> {
    match kind {
        Kind::Present(file_type) => Some(DirEntry { name: name.into(), file_type }),
        Kind::Whiteout => None,
    }
}
