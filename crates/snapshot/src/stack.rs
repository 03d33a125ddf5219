//! Chains of layers: mounting them, putting layers on another base than they were made on, and differences of trees.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use errdefs::Result;
use fsutil::mount::Source;

use crate::builder::TreeBuilder;
use crate::layer::{Kind, Layer, LayerId, Origin, SharedInode};
use crate::meta::{Attrs, FileType};
use crate::same::is_same;
use crate::store::Store;
use crate::tree::TreeWriter;
use crate::view::View;
use crate::{path, sys};

/// A layer with the chain that it was made on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    pub layer: LayerId,
    pub base: Vec<LayerId>,
}

/// The chain with each layer once, where it is highest: below that it shows nothing, and overlayfs takes none twice.
fn topmost(chain: &[LayerId]) -> Vec<LayerId> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = chain.iter().rev().filter(|id| seen.insert(*id)).cloned().collect();
    kept.reverse();
    kept
}

impl Store {
    /// A mount that shows `chain`, lowest first. It is to be mounted read-only.
    pub fn mount_source(self: &Arc<Self>, chain: &[LayerId]) -> Result<Source> {
        let mut lower = self.lower_dirs(chain)?;
        Ok(match lower.len() {
            0 => Source::Bind(self.empty_dir()?),
            1 => Source::Bind(lower.swap_remove(0)),
            _ => Source::Overlay { lower, upper: None },
        })
    }

    /// The trees of a chain, topmost first, no more of them than a mount takes.
    pub(crate) fn lower_dirs(self: &Arc<Self>, chain: &[LayerId]) -> Result<Vec<PathBuf>> {
        let mut chain = topmost(chain);
        let max = self.options().max_layers.max(4);
        while chain.len() > max {
            // Counted from the lowest, so that what is stacked on a chain later finds its blocks made.
            let block = max / 2;
            let rest = chain.split_off(chain.len() / block * block);
            chain = chain.chunks(block).map(|block| self.squash(block)).collect::<Result<_>>()?;
            chain.extend(rest);
        }
        chain.iter().rev().map(|id| Ok(self.layer(id)?.tree().to_owned())).collect()
    }

    /// One layer that does what the layers do together. It lasts until one of them is removed, or until the next start.
    fn squash(self: &Arc<Self>, layers: &[LayerId]) -> Result<LayerId> {
        // Held to the end, so that nobody makes one twice.
        let mut squashed = self.squashed.lock().unwrap_or_else(PoisonError::into_inner);
        let id = LayerId::squashed_of(layers);
        if !squashed.contains_key(&id) {
            self.flattened(layers)?.commit_as(id.clone())?;
            squashed.insert(id.clone(), layers.to_vec());
        }
        Ok(id)
    }

    /// Puts parts on the chain `below`, lowest first, each with the effect it has on its own base, and gives the whole
    /// chain.
    ///
    /// Most layers serve as they are. A copy is made (of links) where a layer hides a directory of its base as a whole or
    /// has what its base has, and where the chain would show one inode at two paths.
    pub fn stack(self: &Arc<Self>, below: &[LayerId], parts: &[Part]) -> Result<Vec<LayerId>> {
        let mut chain = below.to_vec();
        for part in parts {
            // What lies on the base it was made on needs no look.
            if part.base == chain {
                chain.push(part.layer.clone());
                continue;
            }
            let mut layer = self.layer(&part.layer)?;
            let mut fixes = self.find_fixes(&layer, &part.base)?;
            fixes.copies = self.find_clashes(&layer, &chain)?;
            if !fixes.is_empty() {
                layer = self.layer(&self.fixed(&layer, &part.base, &fixes)?)?;
            }
            chain.push(layer.id.clone());
        }
        Ok(chain)
    }

    /// What of a layer means something else on another base.
    fn find_fixes(self: &Arc<Self>, layer: &Arc<Layer>, base: &[LayerId]) -> Result<Fixes> {
        let base = self.view(base)?;
        let mut fixes = Fixes::default();
        // Directories, those above first, and whether something in them is to stay.
        let mut dirs = Vec::new();
        layer.for_each_dir(&mut |at, dir| {
            if dir.opaque {
                fixes.opaque.insert(at.to_vec());
            }
            let mut stays = dir.opaque;
            for (name, kind) in &dir.entries {
                let path = path::join(at, name);
                match kind {
                    Kind::Present(FileType::Dir) => {}
                    Kind::Present(_) if has_same(&base, layer, &path)? => {
                        fixes.unchanged.insert(path);
                    }
                    Kind::Whiteout if base.find(&path)?.is_none() => {
                        fixes.dead_whiteouts.insert(path);
                    }
                    _ => stays = true,
                }
            }
            dirs.push((at.to_vec(), stays));
            Ok(())
        })?;
        let mut needed = HashSet::new();
        for (at, stays) in dirs.into_iter().rev().filter(|(at, _)| !at.is_empty()) {
            if stays || needed.contains(&at) || !has_same(&base, layer, &at)? {
                needed.insert(path::split(&at).0.to_vec());
            } else {
                fixes.unchanged.insert(at);
            }
        }
        Ok(fixes)
    }

    /// The inodes of a layer that the chain shows at another path.
    fn find_clashes(&self, layer: &Layer, chain: &[LayerId]) -> Result<HashSet<u64>> {
        let mut clashes = HashSet::new();
        let mut shown: HashMap<u64, Vec<Box<[u8]>>> = HashMap::new();
        for id in chain {
            for (ino, shared) in self.layer(id)?.shared()?.iter() {
                shown.entry(ino).or_default().push(shared.path.clone());
                if shared.origin == Origin::Layer(layer.id.clone()) {
                    clashes.insert(ino);
                }
            }
        }
        for (ino, shared) in layer.shared()?.iter() {
            let from_chain = matches!(&shared.origin, Origin::Layer(id) if chain.contains(id));
            // No path stands for several, which need not be the same ones.
            let elsewhere = shown
                .get(&ino)
                .is_some_and(|paths| paths.iter().any(|path| path.is_empty() || *path != shared.path));
            if from_chain || elsewhere {
                clashes.insert(ino);
            }
        }
        Ok(clashes)
    }

    /// A layer that does on any base what `layer` does on its own.
    fn fixed(self: &Arc<Self>, layer: &Arc<Layer>, base: &[LayerId], fixes: &Fixes) -> Result<LayerId> {
        let base = self.view(base)?;
        let mut tree = self.new_tree()?;
        let root = tree.path();
        let mut dirs = Vec::new();
        let mut names: HashMap<u64, PathBuf> = HashMap::new();
        layer.for_each_dir(&mut |at, dir| {
            if fixes.unchanged.contains(at) {
                return Ok(());
            }
            let (from, to) = (layer.real(at), sys::below(&root, at));
            if !at.is_empty() {
                sys::mkdir(&to)?;
            }
            for (name, kind) in &dir.entries {
                let path = path::join(at, name);
                match kind {
                    Kind::Present(FileType::Dir) => {}
                    Kind::Whiteout if fixes.dead_whiteouts.contains(&path) => {}
                    Kind::Whiteout => sys::whiteout(&sys::below(&root, &path))?,
                    Kind::Present(_) if fixes.unchanged.contains(&path) => {}
                    Kind::Present(_) => {
                        link_or_copy(layer, &path, &fixes.copies, &mut tree, &mut names)?;
                    }
                }
            }
            if fixes.opaque.contains(at)
                && let Some(below) = base.dir(at)?
            {
                for entry in below.list().iter().filter(|entry| dir.get(&entry.name).is_none()) {
                    sys::whiteout(&sys::below(&to, &entry.name))?;
                }
            }
            if let Some(meta) = sys::lstat(&from)? {
                dirs.push((to, Attrs::of(&meta, sys::xattrs(&from)?)));
            }
            Ok(())
        })?;
        for (dir, attrs) in dirs.iter().rev() {
            sys::set_attrs(dir, FileType::Dir, attrs)?;
        }
        tree.commit()
    }

    /// The tree that turns `lower` into `upper`; it lies on `lower`.
    pub fn diff(self: &Arc<Self>, lower: &View, upper: &View) -> Result<TreeWriter> {
        let mut builder = self.new_tree()?.builder(lower.clone());
        diff_dir(&mut builder, lower, upper, b"", &mut HashMap::new())?;
        builder.finish()
    }
}

/// What must change in a layer that comes to lie on another base.
#[derive(Debug, Default)]
struct Fixes {
    /// Directories that hide what the base has there, as a whole.
    opaque: HashSet<Vec<u8>>,
    /// Removals of what the layer's base does not have.
    dead_whiteouts: HashSet<Vec<u8>>,
    /// Files that are as the layer's base has them, for they went and came back, and directories of nothing else.
    unchanged: HashSet<Vec<u8>>,
    /// Files that may be no links, by inode: all names of one go together.
    copies: HashSet<u64>,
}

impl Fixes {
    fn is_empty(&self) -> bool {
        self.opaque.is_empty()
            && self.dead_whiteouts.is_empty()
            && self.unchanged.is_empty()
            && self.copies.is_empty()
    }
}

/// Whether the base has what the layer has at a path.
fn has_same(base: &View, layer: &Layer, path: &[u8]) -> Result<bool> {
    let Some(below) = base.find(path)? else { return Ok(false) };
    let real = layer.real(path);
    match sys::lstat(&real)? {
        Some(meta) => is_same(&below.layer.real(path), &real, &meta),
        None => Ok(false),
    }
}

/// Links a file of a layer to the same path of another tree, or copies it. Files with several names keep them.
pub(crate) fn link_or_copy(
    layer: &Layer,
    path: &[u8],
    copies: &HashSet<u64>,
    tree: &mut TreeWriter,
    names: &mut HashMap<u64, PathBuf>,
) -> Result<()> {
    let (from, to) = (layer.real(path), sys::below(&tree.path(), path));
    let Some(meta) = sys::lstat(&from)? else { return Ok(()) };
    if let Some(raw) = layer.digests().get(path) {
        tree.digests.insert(path.into(), raw);
    }
    if meta.nlink > 1
        && let Some(first) = names.get(&meta.ino)
    {
        tree.shared.mark_several(meta.ino);
        sys::link(first, &to)?;
        return Ok(());
    }
    if meta.nlink > 1 {
        names.insert(meta.ino, to.clone());
    }
    if !copies.contains(&meta.ino) && sys::link(&from, &to)? {
        let origin = match layer.shared()?.get(meta.ino) {
            Some(shared) => shared.origin.clone(),
            None => Origin::Layer(layer.id.clone()),
        };
        tree.shared.insert(meta.ino, SharedInode { path: path.into(), origin });
        return Ok(());
    }
    match meta.file_type {
        FileType::Symlink => sys::symlink(&sys::read_link(&from)?, &to)?,
        FileType::File | FileType::Dir => sys::clone_file(&from, &to)?,
        other => sys::mknod(&to, other, meta.rdev)?,
    }
    sys::copy_attrs(&from, &to)
}

/// Makes in `builder`, which lies on `lower`, what `upper` has else in the directory `at`.
fn diff_dir(
    builder: &mut TreeBuilder,
    lower: &View,
    upper: &View,
    at: &[u8],
    names: &mut HashMap<(LayerId, u64), Vec<u8>>,
) -> Result<()> {
    let old = lower.dir(at)?.map(|dir| dir.list()).unwrap_or_default();
    let new = upper.dir(at)?.map(|dir| dir.list()).unwrap_or_default();
    for entry in old.iter().filter(|old| new.binary_search_by(|new| new.name.cmp(&old.name)).is_err()) {
        builder.remove_if_there(&path::join(at, &entry.name))?;
    }
    for entry in &new {
        let path = path::join(at, &entry.name);
        let Some(above) = upper.find(&path)? else { continue };
        let real = above.layer.real(&path);
        let Some(meta) = sys::lstat(&real)? else { continue };
        let same = match lower.find(&path)? {
            Some(below) => is_same(&below.layer.real(&path), &real, &meta)?,
            None => false,
        };
        if !same {
            builder.put_from(upper, &path, names)?;
        }
        if meta.is_dir() {
            diff_dir(builder, lower, upper, &path, names)?;
        }
    }
    Ok(())
}
