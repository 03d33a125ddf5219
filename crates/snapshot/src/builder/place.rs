//! Puts files of every kind into the tree: the edits that all others are made of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use errdefs::{Error, Result};

use super::TreeBuilder;
use super::linker::Link;
use crate::layer::{Layer, LayerId, Origin, SharedInode};
use crate::meta::{Attrs, FileType, Meta};
use crate::object::{Object, Placed};
use crate::view::View;
use crate::{path, sys};

/// A place in a tree that is kept for a file.
#[derive(Debug)]
pub struct Spot {
    path: Vec<u8>,
    pub(crate) real: PathBuf,
}

impl Spot {
    /// The path in the tree.
    pub fn into_path(self) -> Vec<u8> {
        self.path
    }
}

impl TreeBuilder {
    /// Makes a directory, or gives one that is there these attributes. The time holds even if files come into it later.
    /// What else was at the path is replaced. The parent must be there.
    pub fn put_dir(&mut self, path: &[u8], attrs: &Attrs) -> Result<()> {
        let path = self.resolve(path, false)?;
        self.make_dir(&path)?;
        sys::set_attrs(&self.own.real(&path), FileType::Dir, attrs)?;
        self.dir_times.push((path, attrs.mtime));
        Ok(())
    }

    /// Makes a symbolic link, in place of whatever was at the path.
    pub fn put_symlink(&mut self, path: &[u8], target: &[u8], attrs: &Attrs) -> Result<()> {
        let path = self.resolve(path, false)?;
        self.make_room(&path)?;
        let real = self.own.real(&path);
        sys::symlink(target, &real)?;
        sys::set_attrs(&real, FileType::Symlink, attrs)?;
        self.own.add(&path, FileType::Symlink, false);
        Ok(())
    }

    /// Makes a device, pipe or socket, in place of whatever was at the path.
    pub fn put_special(
        &mut self,
        path: &[u8],
        file_type: FileType,
        rdev: (u32, u32),
        attrs: &Attrs,
    ) -> Result<()> {
        let path = self.resolve(path, false)?;
        if file_type == FileType::Char && rdev == (0, 0) {
            let text = format!("`{}` is a device that stands for a removed file", path::show(&path));
            return Err(Error::user(text).hint("leave out character devices with the number 0, 0"));
        }
        self.make_room(&path)?;
        let real = self.own.real(&path);
        sys::mknod(&real, file_type, rdev)?;
        sys::set_attrs(&real, file_type, attrs)?;
        self.own.add(&path, file_type, false);
        Ok(())
    }

    /// Makes `path` a hard link to the file at `target`.
    pub fn put_hardlink(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (path, target) = (self.resolve(path, false)?, self.resolve(target, false)?);
        match self.find(&target)? {
            None => Err(super::path_error("link", &target, super::NOT_FOUND)),
            Some((FileType::Dir, _)) => Err(super::path_error("link", &target, "is a directory")),
            Some(_) if path == target => Ok(()),
            // To make room for the link would take the target away.
            Some(_) if path::is_below(&target, &path) => {
                Err(super::path_error("link", &path, "it holds the target of the link"))
            }
            Some((file_type, place)) => {
                if let super::Place::Base(layer) = place {
                    self.copy_up(&layer, &target)?;
                }
                self.make_room(&path)?;
                self.link_own(&target, &path, file_type)
            }
        }
    }

    /// Keeps a place for a file whose content comes while this tree is built. Any thread may
    /// [write it there](crate::ObjectWriter::finish_in_place); [`put_placed`](Self::put_placed) follows when it is whole.
    pub fn keep_place(&mut self, path: &[u8]) -> Result<Spot> {
        let path = self.resolve(path, false)?;
        self.make_room(&path)?;
        self.own.add(&path, FileType::File, false);
        Ok(Spot { real: self.own.real(&path), path })
    }

    /// Takes note of a file that was written in the place kept for it. `false` where the store had it already: then it is
    /// to be [put](Self::put_object) there, once all others of this tree are noted.
    pub fn put_placed(&mut self, spot: &Spot, file: &Placed) -> bool {
        let Some(ino) = file.ino else { return false };
        let path = spot.path.as_slice();
        self.slots.insert(file.object.key.clone(), 1);
        self.tree.shared.insert(ino, SharedInode { path: path.into(), origin: Origin::Object });
        self.tree.digests.insert(path.into(), file.object.raw);
        true
    }

    /// Puts an object at the path, in place of whatever was there. A tree that holds the object already gets a copy.
    pub fn put_object(&mut self, path: &[u8], object: &Object) -> Result<()> {
        let path = self.resolve(path, false)?;
        self.make_room(&path)?;
        let (real, store) = (self.own.real(&path), self.tree.store().clone());
        let mut slot = self.slots.get(&object.key).copied().unwrap_or(0);
        loop {
            let from = store.objects().slot(object, slot)?;
            slot += 1;
            let Some(meta) = sys::lstat(&from)? else {
                return Err(Error::internal(format!("object `{}` is gone", from.display())));
            };
            if !self.may_show(meta.ino, &path)? {
                continue;
            }
            if sys::link(&from, &real)? {
                let inode = SharedInode { path: path.as_slice().into(), origin: Origin::Object };
                self.tree.shared.insert(meta.ino, inode);
                break;
            }
            store.objects().renew(&from)?;
            slot -= 1;
        }
        self.slots.insert(object.key.clone(), slot);
        self.tree.digests.insert(path.as_slice().into(), object.raw);
        self.own.add(&path, FileType::File, false);
        Ok(())
    }

    /// Puts a regular file of a layer at a clean path, as a link where nobody can tell, else as a copy.
    pub(super) fn put_file(
        &mut self,
        layer: &Arc<Layer>,
        at: &[u8],
        meta: &Meta,
        path: &[u8],
        attrs: Option<&Attrs>,
    ) -> Result<()> {
        self.make_room(path)?;
        let (from, real) = (layer.real(at), self.own.real(path));
        let origin = match attrs {
            None => self.may_link(layer, meta, path)?,
            Some(_) => None,
        };
        match origin {
            Some(origin) if self.link(from.clone(), real.clone(), meta.ino)? => {
                self.tree.shared.insert(meta.ino, SharedInode { path: path.into(), origin });
            }
            _ => copy_file(&from, &real, attrs)?,
        }
        let same_header = attrs.is_none_or(|a| a.mode == meta.mode && a.owner == meta.owner());
        if same_header && let Some(raw) = layer.digests().get(at) {
            self.tree.digests.insert(path.into(), raw);
        }
        self.own.add(path, FileType::File, false);
        Ok(())
    }

    /// Puts what a view has at a clean path to the same path of this tree. `names` tells where files with several names
    /// went first.
    pub(crate) fn put_from(
        &mut self,
        view: &View,
        path: &[u8],
        names: &mut HashMap<(LayerId, u64), Vec<u8>>,
    ) -> Result<()> {
        let Some(found) = view.find(path)? else { return Ok(()) };
        let real = found.layer.real(path);
        let Some(meta) = sys::lstat(&real)? else { return Ok(()) };
        if meta.is_file() {
            let name = (found.layer.id.clone(), meta.ino);
            if meta.nlink > 1
                && let Some(first) = names.get(&name)
            {
                self.make_room(path)?;
                return self.link_own(first, path, FileType::File);
            }
            names.insert(name, path.to_vec());
            return self.put_file(&found.layer, path, &meta, path, None);
        }
        let attrs = Attrs::of(&meta, sys::xattrs(&real)?);
        match meta.file_type {
            FileType::Dir => self.put_dir(path, &attrs),
            FileType::Symlink => self.put_symlink(path, &sys::read_link(&real)?, &attrs),
            other => self.put_special(path, other, meta.rdev, &attrs),
        }
    }

    /// Links a file into this tree, now or before the links are settled. `false` where the file system cannot.
    fn link(&mut self, from: PathBuf, to: PathBuf, ino: u64) -> Result<bool> {
        match &mut self.linker {
            Some(linker) => linker.push(Link { from, to, ino }).map(|()| true),
            None => sys::link(&from, &to),
        }
    }

    /// Whether the file may be linked to `path`, and where it was first.
    fn may_link(&mut self, layer: &Arc<Layer>, meta: &Meta, path: &[u8]) -> Result<Option<Origin>> {
        let origin = match layer.shared()?.get(meta.ino) {
            Some(shared) => shared.origin.clone(),
            None => Origin::Layer(layer.id.clone()),
        };
        let is_below = matches!(&origin, Origin::Layer(id) if self.base.chain().contains(id));
        Ok((!is_below && self.may_show(meta.ino, path)?).then_some(origin))
    }

    /// Whether the merged tree would show the inode at no other path.
    fn may_show(&mut self, ino: u64, path: &[u8]) -> Result<bool> {
        if self.tree.shared.get(ino).is_some() {
            return Ok(false);
        }
        self.base_links.is_shown_only_at(ino, path, self.base.layers())
    }

    /// Makes a second name for a file of this tree.
    pub(super) fn link_own(&mut self, target: &[u8], path: &[u8], file_type: FileType) -> Result<()> {
        self.settle_links()?;
        let (from, real) = (self.own.real(target), self.own.real(path));
        if !sys::link(&from, &real)? {
            return Err(Error::environment(format!("too many hard links to `{}`", path::show(target))));
        }
        if let Some(meta) = sys::lstat(&from)? {
            self.tree.shared.mark_several(meta.ino);
        }
        if let Some(raw) = self.tree.digests.get(target).copied() {
            self.tree.digests.insert(path.into(), raw);
        }
        self.own.add(path, file_type, false);
        Ok(())
    }

    /// Brings a file of the base into this tree, as overlayfs does before it is changed.
    pub(super) fn copy_up(&mut self, layer: &Arc<Layer>, path: &[u8]) -> Result<()> {
        let from = layer.real(path);
        let Some(meta) = sys::lstat(&from)? else { return Ok(()) };
        let (parent, _) = path::split(path);
        self.own.ensure_dir(parent, &self.base)?;
        let real = self.own.real(path);
        match meta.file_type {
            FileType::File => sys::clone_file(&from, &real)?,
            FileType::Symlink => sys::symlink(&sys::read_link(&from)?, &real)?,
            FileType::Dir => return self.own.ensure_dir(path, &self.base),
            other => sys::mknod(&real, other, meta.rdev)?,
        }
        sys::copy_attrs(&from, &real)?;
        self.own.add(path, meta.file_type, false);
        Ok(())
    }

    /// Makes the clean path a directory of this tree; `true` where the merged tree showed none there before.
    pub(super) fn make_dir(&mut self, path: &[u8]) -> Result<bool> {
        if path.is_empty() || matches!(self.find(path)?, Some((FileType::Dir, _))) {
            self.own.ensure_dir(path, &self.base)?;
            return Ok(false);
        }
        let hidden = matches!(self.own.find_below(path, &self.base)?, Some((FileType::Dir, _)));
        self.make_room(path)?;
        let real = self.own.real(path);
        sys::mkdir(&real)?;
        if hidden {
            sys::set_xattr(&real, self.tree.store().opaque_mark().as_bytes(), b"y")?;
        }
        self.own.add(path, FileType::Dir, hidden);
        Ok(true)
    }

    /// Clears a clean path of this tree, so that something may be made there, and brings in the parent directory.
    pub(super) fn make_room(&mut self, path: &[u8]) -> Result<()> {
        let (parent, _) = path::split(path);
        if !matches!(self.find(parent)?, Some((FileType::Dir, _))) && !parent.is_empty() {
            return Err(super::path_error("open", path, super::NOT_FOUND));
        }
        if path.is_empty() {
            return Err(Error::user("cannot replace the root directory"));
        }
        self.own.ensure_dir(parent, &self.base)?;
        if self.own.get(path).is_some() {
            self.forget(path)?;
            sys::remove_all(&self.own.real(path))?;
        }
        Ok(())
    }

    /// Removes a clean path from the merged tree, with all below.
    pub(super) fn remove_all(&mut self, path: &[u8]) -> Result<()> {
        let in_base = self.own.find_below(path, &self.base)?.is_some();
        if self.own.get(path).is_some() {
            self.forget(path)?;
            sys::remove_all(&self.own.real(path))?;
        }
        if in_base {
            let (parent, _) = path::split(path);
            self.own.ensure_dir(parent, &self.base)?;
            sys::whiteout(&self.own.real(path))?;
            self.own.add_whiteout(path);
        }
        Ok(())
    }

    /// Forgets what this tree has at `path`, before it is removed.
    fn forget(&mut self, path: &[u8]) -> Result<()> {
        self.settle_links()?;
        for gone in self.own.forget(path) {
            self.tree.digests.remove(&gone[..]);
            if let Some(meta) = sys::lstat(&self.own.real(&gone))?
                && self.tree.shared.get(meta.ino).is_some_and(|shared| *shared.path == *gone)
            {
                self.tree.shared.remove(meta.ino);
            }
        }
        Ok(())
    }
}

/// Copies content and attributes; `attrs` replace all but the extended ones, which they hold too.
pub(super) fn copy_file(from: &Path, to: &Path, attrs: Option<&Attrs>) -> Result<()> {
    sys::clone_file(from, to)?;
    match attrs {
        Some(attrs) => sys::set_attrs(to, FileType::File, attrs),
        None => sys::copy_attrs(from, to),
    }
}
