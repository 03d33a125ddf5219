//! Directories that are written to again and again, such as those of cache mounts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use errdefs::Result;
use fsutil::mount::Source;

use crate::layer::LayerId;
use crate::meta::{Attrs, FileType};
use crate::store::Store;
use crate::sys;
use crate::view::View;

impl Store {
    /// A directory that stays over restarts and may be mounted for writing any number of times at once. It begins with
    /// copies of what `base` holds. It lies among the layers and is removed like one, but is part of no chain.
    pub fn new_scratch(self: &Arc<Self>, base: Option<&View>) -> Result<LayerId> {
        let tree = self.new_tree()?;
        if let Some(base) = base {
            copy(base, &tree.path())?;
        }
        tree.commit()
    }

    /// A mount of the directory that takes writes.
    pub fn scratch_source(&self, id: &LayerId) -> Result<Source> {
        Ok(Source::Bind(self.layer(id)?.tree().to_owned()))
    }
}

/// Copies a view, with its hard links.
fn copy(view: &View, root: &std::path::Path) -> Result<()> {
    let mut names: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut dirs = Vec::new();
    for entry in view.walk(b"")? {
        let entry = entry?;
        let (Some(found), meta) = (view.find(&entry.path)?, entry.meta) else { continue };
        let (from, to) = (found.layer.real(&entry.path), sys::below(root, &entry.path));
        match meta.file_type {
            FileType::Dir => {
                if !entry.path.is_empty() {
                    sys::mkdir(&to)?;
                }
                dirs.push((to, Attrs::of(&meta, sys::xattrs(&from)?)));
                continue;
            }
            FileType::File if meta.nlink > 1 && names.contains_key(&(meta.dev, meta.ino)) => {
                sys::link(&names[&(meta.dev, meta.ino)], &to)?;
                continue;
            }
            FileType::File => {
                sys::clone_file(&from, &to)?;
                names.insert((meta.dev, meta.ino), to.clone());
            }
            FileType::Symlink => sys::symlink(&sys::read_link(&from)?, &to)?,
            other => sys::mknod(&to, other, meta.rdev)?,
        }
        sys::copy_attrs(&from, &to)?;
    }
    for (dir, attrs) in dirs.iter().rev() {
        sys::set_attrs(dir, FileType::Dir, attrs)?;
    }
    Ok(())
}
