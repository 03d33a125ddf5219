//! A committed layer tree, and what is remembered of it while it is in use.
//!
//! On disk a layer is `layers-v1/<id>/` with
//! - `tree/`: the files, in overlayfs' form;
//! - `shared`: which inodes are shown by other trees or objects as well, see [`Shared`];
//! - `digests`: file digests that are known, see [`Digests`]; only grows;
//! - `implied`: directories that an unpacked archive needed but did not hold, until their parents are known.

mod digests;
mod shared;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use errdefs::{Error, Result};
use oci::Digest;

pub use digests::{Digests, Raw, encode as encode_digests, raw as raw_digest};
pub use shared::{Origin, Shared, SharedInode};

use crate::meta::FileType;
use crate::{path, sys};

/// How the names begin of layers that stand for others.
const SQUASHED: &str = "squashed";

/// The name of a layer tree: letters and digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(Arc<str>);

impl LayerId {
    /// Takes a name that was stored. It must be one that [`LayerId::as_str`] gave.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::internal(format!("invalid layer id `{text}`")));
        }
        Ok(LayerId(text.into()))
    }

    /// The name of the layer that stands for these in a mount.
    pub(crate) fn squashed_of(layers: &[LayerId]) -> Self {
        let names: String = layers.iter().flat_map(|id| [id.as_str(), "/"]).collect();
        // Short, since overlayfs takes few bytes of paths.
        LayerId(format!("{SQUASHED}{}", &Digest::of(names).hex()[..20]).into())
    }

    pub(crate) fn is_squashed(&self) -> bool {
        // Other names are shorter.
        self.0.len() == SQUASHED.len() + 20 && self.0.starts_with(SQUASHED)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one name in one layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Present(FileType),
    /// The name is hidden in the layers below.
    Whiteout,
}

/// One directory of one layer.
#[derive(Debug, Default)]
pub struct LayerDir {
    /// Sorted by name.
    pub entries: Vec<(Box<[u8]>, Kind)>,
    /// The directories of this path in the layers below are hidden.
    pub opaque: bool,
}

impl LayerDir {
    pub fn get(&self, name: &[u8]) -> Option<Kind> {
        let i = self.entries.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(self.entries[i].1)
    }
}

/// A committed layer.
#[derive(Debug)]
pub struct Layer {
    pub id: LayerId,
    /// `layers-v1/<id>`.
    dir: PathBuf,
    tree: PathBuf,
    /// The attribute that makes a directory hide what lies below it.
    opaque_mark: &'static str,
    dirs: Mutex<HashMap<Box<[u8]>, Arc<LayerDir>>>,
    digests: OnceLock<Digests>,
    shared: OnceLock<Shared>,
}

impl Layer {
    /// Opens the layer in the folder `dir`.
    pub fn open(id: LayerId, dir: PathBuf, opaque_mark: &'static str) -> Result<Self> {
        let tree = dir.join("tree");
        match sys::lstat(&tree)? {
            Some(meta) if meta.is_dir() => {}
            _ => return Err(Error::internal(format!("layer `{id}` is not in the store"))),
        }
        let (dirs, digests, shared) = Default::default();
        Ok(Layer { id, dir, tree, opaque_mark, dirs, digests, shared })
    }

    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// The folder of the layer.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a clean path of this layer lies on disk.
    pub fn real(&self, path: &[u8]) -> PathBuf {
        sys::below(&self.tree, path)
    }

    /// The directory at `path`, which must be one in this layer, with no symbolic link on the way.
    pub fn read_dir(&self, path: &[u8]) -> Result<Arc<LayerDir>> {
        if let Some(dir) = self.dirs.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(dir.clone());
        }
        let dir = Arc::new(self.load_dir(path)?);
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner).insert(path.into(), dir.clone());
        Ok(dir)
    }

    fn load_dir(&self, path: &[u8]) -> Result<LayerDir> {
        let real = self.real(path);
        let mut entries = Vec::new();
        for (name, kind) in sys::read_dir(&real)? {
            let whiteout = kind == FileType::Char
                && sys::lstat(&sys::below(&real, &name))?.is_some_and(|meta| meta.is_whiteout());
            entries.push((name, if whiteout { Kind::Whiteout } else { Kind::Present(kind) }));
        }
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let opaque = sys::xattr(&real, self.opaque_mark)?.as_deref() == Some(b"y");
        Ok(LayerDir { entries, opaque })
    }

    /// Calls `f` with each directory of the layer, parents first.
    pub fn for_each_dir(&self, f: &mut dyn FnMut(&[u8], &LayerDir) -> Result<()>) -> Result<()> {
        let mut todo = vec![Vec::new()];
        while let Some(at) = todo.pop() {
            let dir = self.read_dir(&at)?;
            f(&at, &dir)?;
            let subdirs = dir.entries.iter().rev().filter(|(_, kind)| *kind == Kind::Present(FileType::Dir));
            todo.extend(subdirs.map(|(name, _)| path::join(&at, name)));
        }
        Ok(())
    }

    /// Whether the layer has a part in what is shown at a clean path, or hides it.
    pub fn touches(&self, path: &[u8]) -> Result<bool> {
        let mut dir = self.read_dir(b"")?;
        let mut end = 0;
        while end < path.len() {
            let rest = &path[end..];
            let name = rest.split(|&b| b == b'/').next().unwrap_or(rest);
            end += name.len();
            match dir.get(name) {
                None => return Ok(false),
                Some(Kind::Present(FileType::Dir)) => dir = self.read_dir(&path[..end])?,
                Some(_) => return Ok(true),
            }
            if dir.opaque {
                return Ok(true);
            }
            end += 1;
        }
        Ok(true)
    }

    pub fn digests(&self) -> &Digests {
        self.digests.get_or_init(|| Digests::load(self.dir.join("digests")))
    }

    pub fn shared(&self) -> Result<&Shared> {
        if let Some(shared) = self.shared.get() {
            return Ok(shared);
        }
        let loaded = Shared::load(&self.dir.join("shared"))?;
        Ok(self.shared.get_or_init(|| loaded))
    }
}
