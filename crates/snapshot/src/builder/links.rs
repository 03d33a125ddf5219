use std::collections::HashMap;
use std::sync::Arc;

use errdefs::Result;

use crate::layer::Layer;

/// After so many questions, one table of all layers is made to answer the others.
const FEW: usize = 200;

/// The inodes that the layers of the base link from elsewhere.
///
/// A small copy onto a long chain asks each layer; a large one is answered from one table, which takes long to make.
#[derive(Debug, Default)]
pub struct BaseLinks {
    asked: usize,
    /// With the path; an empty path stands for several.
    all: Option<HashMap<u64, Box<[u8]>>>,
}

impl BaseLinks {
    /// Whether none of the layers shows the inode at another path.
    pub fn is_shown_only_at(&mut self, ino: u64, path: &[u8], layers: &[Arc<Layer>]) -> Result<bool> {
        if let Some(all) = &self.all {
            return Ok(all.get(&ino).is_none_or(|shown| **shown == *path));
        }
        self.asked += 1;
        if self.asked > FEW {
            self.all = Some(links_of(layers)?);
        }
        for layer in layers {
            if layer.shared()?.get(ino).is_some_and(|shared| *shared.path != *path) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn links_of(layers: &[Arc<Layer>]) -> Result<HashMap<u64, Box<[u8]>>> {
    let mut links: HashMap<u64, Box<[u8]>> = HashMap::new();
    for layer in layers {
        for (ino, shared) in layer.shared()?.iter() {
            links
                .entry(ino)
                .and_modify(|path| {
                    if *path != shared.path {
                        *path = Box::default();
                    }
                })
                .or_insert_with(|| shared.path.clone());
        }
    }
    Ok(links)
}
