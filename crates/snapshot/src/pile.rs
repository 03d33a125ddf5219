//! Layers that count as one: what a copy left before, and what changed of it since.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use errdefs::Result;

use crate::layer::{Kind, LayerId};
use crate::meta::{Attrs, FileType};
use crate::stack::link_or_copy;
use crate::store::Store;
use crate::tree::TreeWriter;
use crate::{path, sys};

impl Store {
    /// One layer that does to a base what the layers do to it together.
    pub fn flatten(self: &Arc<Self>, layers: &[LayerId]) -> Result<LayerId> {
        self.flattened(layers)?.commit()
    }

    /// The tree of that layer.
    pub(crate) fn flattened(self: &Arc<Self>, layers: &[LayerId]) -> Result<TreeWriter> {
        let pile = self.view(layers)?;
        let mut tree = self.new_tree()?;
        let root = tree.path();
        let (mut dirs, mut names) = (Vec::new(), HashMap::new());
        let mut todo = vec![Vec::new()];
        while let Some(at) = todo.pop() {
            let (Some(dir), Some(found)) = (pile.dir(&at)?, pile.find(&at)?) else { continue };
            let (from, to) = (found.layer.real(&at), sys::below(&root, &at));
            if !at.is_empty() {
                sys::mkdir(&to)?;
            }
            if dir.hides_below() {
                sys::set_xattr(&to, self.opaque_mark().as_bytes(), b"y")?;
            }
            for (name, kind) in &dir.as_one().entries {
                let path = path::join(&at, name);
                match kind {
                    Kind::Whiteout => sys::whiteout(&sys::below(&root, &path))?,
                    Kind::Present(FileType::Dir) => todo.push(path),
                    Kind::Present(_) => {
                        let Some(found) = dir.find(name) else { continue };
                        link_or_copy(&found.layer, &path, &HashSet::new(), &mut tree, &mut names)?;
                    }
                }
            }
            if let Some(meta) = sys::lstat(&from)? {
                dirs.push((to, Attrs::of(&meta, sys::xattrs(&from)?)));
            }
        }
        for (dir, attrs) in dirs.iter().rev() {
            sys::set_attrs(dir, FileType::Dir, attrs)?;
        }
        Ok(tree)
    }
}
