//! Edits a new tree as if it lay on a view, in the way overlayfs would, without a mount.

mod copy;
mod files;
mod linker;
mod links;
mod own;
mod place;
mod recopy;
mod unpack;
mod wildcard;

use std::collections::HashMap;

use errdefs::{Error, Result};

pub use copy::CopyOptions;
pub use place::Spot;
pub use recopy::Earlier;

use crate::layer::LayerId;
use crate::meta::{FileType, Meta, Owner, Time};
use crate::tree::TreeWriter;
use crate::view::{View, open_file, resolve_in};
use crate::{path, sys};
use linker::Linker;
use links::BaseLinks;
use own::{Own, Place};

/// How a directory is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MkdirOptions {
    /// Permission bits; only the low nine count.
    pub mode: u32,
    /// Makes what is missing of the parents too, with the same mode and owner.
    pub parents: bool,
    pub owner: Option<Owner>,
    /// The modification time; now where there is none.
    pub timestamp: Option<Time>,
}

/// How a file or a link is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// Permission bits of a new file; only the low nine count. A file that was there keeps its own.
    pub mode: u32,
    pub owner: Option<Owner>,
    pub timestamp: Option<Time>,
}

/// How a path is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveOptions {
    pub allow_not_found: bool,
    /// The path may hold wildcards; that none match is no error.
    pub wildcard: bool,
}

/// The mode that copied files get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The low 12 bits of `st_mode`.
    Absolute(u32),
    /// As chmod(1) takes it, such as `u=rwX,go=rX`.
    Symbolic(String),
}

/// A new tree, edited as if it lay on a view. Nothing of it is seen before [`TreeBuilder::commit`].
///
/// Paths are taken from the root of the merged tree and never lead out of it. What comes from another view is linked
/// where that can be done unseen: where owner, mode and time stay, and where the merged tree does not show the same
/// inode at another path.
#[derive(Debug)]
#[must_use = "a tree that is not committed is removed"]
pub struct TreeBuilder {
    /// Where links wait to be made, while something is copied. Before the tree: it ends first.
    linker: Option<Linker>,
    tree: TreeWriter,
    base: View,
    own: Own,
    base_links: BaseLinks,
    /// How often this tree holds each object.
    slots: HashMap<String, usize>,
    /// Times of directories that are set when no more files come into them.
    dir_times: Vec<(Vec<u8>, Time)>,
}

impl TreeBuilder {
    pub(crate) fn new(tree: TreeWriter, base: View) -> Self {
        let own = Own::new(tree.path());
        let (linker, base_links, slots, dir_times) = Default::default();
        TreeBuilder { linker, tree, base, own, base_links, slots, dir_times }
    }

    /// Makes the tree a layer of the store.
    pub fn commit(self) -> Result<LayerId> {
        self.finish()?.commit()
    }

    /// Ends the edits and gives the tree, to be committed by another hand.
    pub fn finish(mut self) -> Result<TreeWriter> {
        // Deepest first is not needed: setting a time changes no other.
        for (path, time) in std::mem::take(&mut self.dir_times) {
            if self.own.is_dir(&path) {
                sys::set_mtime(&self.own.real(&path), time)?;
            }
        }
        Ok(self.tree)
    }

    /// Lets directories of the base keep their time though files came into them or went, unless
    /// [`put_dir`](Self::put_dir) said another. To be called when all is there.
    pub fn keep_dir_times(&mut self) -> Result<()> {
        let mut times = Vec::new();
        for path in self.own.dirs() {
            if let Some(meta) = self.base.lstat_clean(path)?.filter(Meta::is_dir) {
                times.push((path.to_vec(), meta.mtime));
            }
        }
        times.append(&mut self.dir_times);
        self.dir_times = times;
        Ok(())
    }

    /// The store that the tree is made in.
    pub fn store(&self) -> &std::sync::Arc<crate::Store> {
        self.tree.store()
    }

    /// The view that the tree lies on.
    pub fn base(&self) -> &View {
        &self.base
    }

    /// The stat of a path in the merged tree, the last component not followed.
    pub fn lstat(&self, path: &[u8]) -> Result<Option<Meta>> {
        self.lstat_clean(&self.resolve(path, false)?)
    }

    /// The stat of what a path of the merged tree leads to.
    pub fn stat(&self, path: &[u8]) -> Result<Option<Meta>> {
        self.lstat_clean(&self.resolve(path, true)?)
    }

    /// Follows the links of a path in the merged tree, as [`View::resolve`].
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>> {
        resolve_in(path, follow_last, &mut |at| match self.find(at)? {
            Some((FileType::Symlink, place)) => Ok(Some(sys::read_link(&self.real(at, &place))?)),
            _ => Ok(None),
        })
    }

    /// The content of the regular file that `path` leads to, for files of no more than `limit` bytes.
    pub fn read(&self, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        use std::io::Read as _;
        let path = self.resolve(path, true)?;
        let file = match self.find(&path)? {
            Some((FileType::File, Place::Base(layer))) => open_file(&layer, &path)?,
            Some((FileType::File, Place::Own)) => {
                let real = self.own.real(&path);
                std::fs::File::open(&real).map_err(|e| sys::fail("open", &real, e))?
            }
            _ => return Ok(None),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Error::user(format!("`{}` is larger than {limit} bytes", path::show(&path))));
        }
        Ok(Some(bytes))
    }

    /// Remembers the digest of a file or of a directory's own header, where the caller knows it.
    pub fn remember_digest(&mut self, path: &[u8], digest: &oci::Digest) {
        self.tree.digests.insert(path::clean(path).into(), crate::layer::raw_digest(digest));
    }

    fn lstat_clean(&self, path: &[u8]) -> Result<Option<Meta>> {
        match self.find(path)? {
            Some((_, place)) => sys::lstat(&self.real(path, &place)),
            None => Ok(None),
        }
    }

    fn real(&self, path: &[u8], place: &Place) -> std::path::PathBuf {
        match place {
            Place::Own => self.own.real(path),
            Place::Base(layer) => layer.real(path),
        }
    }

    /// Looks up a clean path that goes through no link.
    fn find(&self, path: &[u8]) -> Result<Option<(FileType, Place)>> {
        self.own.find(path, &self.base)
    }
}

/// An error in the words of Go's `os.PathError`, as clients of BuildKit know them.
fn path_error(op: &str, path: &[u8], what: &str) -> Error {
    let text = format!("{op} {}: {what}", path::show(path));
    if what == NOT_FOUND { Error::not_found(text) } else { Error::user(text) }
}

const NOT_FOUND: &str = "no such file or directory";
const NOT_A_DIRECTORY: &str = "not a directory";
