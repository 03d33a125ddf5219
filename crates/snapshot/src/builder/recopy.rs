//! Brings an earlier copy up to date by what changed in its source since.

use std::collections::BTreeSet;
use std::sync::Arc;

use errdefs::{Error, Result};

use super::TreeBuilder;
use super::copy::{Copier, CopyOptions, keep_slash};
use super::wildcard;
use crate::layer::{Kind, Layer};
use crate::meta::FileType;
use crate::view::View;
use crate::{path, sys};

/// A copy that was made before.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// What it was copied onto.
    pub base: &'a View,
    /// What it was copied from.
    pub from: &'a View,
}

impl TreeBuilder {
    /// Copies `src` of `from` to `dest` where that was done before: this tree lies on what `earlier` gave with the same
    /// paths and options, and `from` is its source with more layers. Gives `false` where that is not told from the
    /// layers alone; then the tree is of no use and all is to be copied.
    pub fn recopy(
        &mut self,
        earlier: Earlier<'_>,
        from: &View,
        src: &[u8],
        dest: &[u8],
        options: &CopyOptions,
    ) -> Result<bool> {
        let (src, dest) = (keep_slash(src), keep_slash(dest));
        let plain = options.dir_contents && options.include.is_empty() && options.exclude.is_empty();
        if !plain
            || !from.chain().starts_with(earlier.from.chain())
            || (options.allow_wildcard && wildcard::is_one(&src))
        {
            return Ok(false);
        }
        let at = from.resolve(&src, options.follow_symlinks)?;
        let target = earlier.base.resolve(&dest, true)?;
        let is_dir = |view: &View| Ok::<_, Error>(kind(view, &at)? == Some(FileType::Dir));
        if at != earlier.from.resolve(&src, options.follow_symlinks)?
            || !(is_dir(earlier.from)? && is_dir(from)?)
            || !matches!(self.find(&target)?, Some((FileType::Dir, _)))
        {
            return Ok(false);
        }
        let Some(touched) = touched(&from.layers()[earlier.from.layers().len()..], &at)? else {
            return Ok(false);
        };
        let mut update =
            Update { earlier, from, copier: Copier::new(from, options)?, at, target, dirs: Vec::new() };
        for relative in touched.iter().filter(|relative| !relative.is_empty()) {
            if !update.one(self, relative)? {
                return Ok(false);
            }
        }
        update.finish(self, options)?;
        Ok(true)
    }
}

fn kind(view: &View, at: &[u8]) -> Result<Option<FileType>> {
    Ok(view.find(at)?.map(|found| found.file_type))
}

/// The paths below `at`, from there, that the layers have or hide; `None` where they hide a directory as a whole.
fn touched(layers: &[Arc<Layer>], at: &[u8]) -> Result<Option<BTreeSet<Vec<u8>>>> {
    let mut all = BTreeSet::from([Vec::new()]);
    for layer in layers {
        if !layer.touches(at)? {
            continue;
        }
        let mut todo = vec![Vec::new()];
        while let Some(relative) = todo.pop() {
            let dir = layer.read_dir(&path::join(at, &relative))?;
            if dir.opaque {
                return Ok(None);
            }
            for (name, kind) in &dir.entries {
                let below = path::join(&relative, name);
                if *kind == Kind::Present(FileType::Dir) {
                    todo.push(below.clone());
                }
                all.insert(below);
            }
        }
    }
    Ok(Some(all))
}

struct Update<'a> {
    earlier: Earlier<'a>,
    from: &'a View,
    copier: Copier<'a>,
    at: Vec<u8>,
    target: Vec<u8>,
    /// Directories that get the attributes of the source, parents first.
    dirs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Update<'_> {
    /// Brings what lies at a path of the source, or lay there, up to date.
    fn one(&mut self, tree: &mut TreeBuilder, relative: &[u8]) -> Result<bool> {
        let (at, target) = (path::join(&self.at, relative), path::join(&self.target, relative));
        let (old, new) = (kind(self.earlier.from, &at)?, kind(self.from, &at)?);
        let was_in_base = || Ok::<_, Error>(kind(self.earlier.base, &target)?.is_some());
        match (old, new) {
            (None, None) => {}
            // What the copy hid comes to light.
            (Some(_), None) if was_in_base()? => return Ok(false),
            (Some(_), None) => {
                if tree.find(&target)?.is_some() {
                    tree.remove_all(&target)?;
                }
            }
            (Some(FileType::Dir), Some(FileType::Dir)) => {
                // Attributes are added to those that are there.
                if self.earlier.from.xattrs(&at)? != self.from.xattrs(&at)? {
                    return Ok(false);
                }
                self.dir(tree, at, target)?;
            }
            (None, Some(FileType::Dir)) if !was_in_base()? => self.dir(tree, at, target)?,
            (_, Some(FileType::Dir)) | (Some(FileType::Dir), _) => return Ok(false),
            (_, Some(_)) => self.copier.copy(tree, &at, relative, &target, true, &[])?,
        }
        Ok(true)
    }

    fn dir(&mut self, tree: &mut TreeBuilder, at: Vec<u8>, target: Vec<u8>) -> Result<()> {
        self.copier.make_dir(tree, &at, &target, true)?;
        self.dirs.push((at, target));
        Ok(())
    }

    /// Files that came into a directory changed its time.
    fn finish(&mut self, tree: &mut TreeBuilder, options: &CopyOptions) -> Result<()> {
        self.copier.finish(tree)?;
        for (at, target) in self.dirs.iter().rev() {
            if let Some(meta) = self.from.lstat_clean(at)? {
                self.copier.finish_dir(tree, at, target, &meta)?;
            }
        }
        tree.own.ensure_dir(&self.target, &tree.base)?;
        match self.from.lstat_clean(&self.at)? {
            Some(meta) => {
                let time = options.timestamp.unwrap_or(meta.mtime);
                sys::set_mtime(&tree.own.real(&self.target), time)
            }
            None => Ok(()),
        }
    }
}
