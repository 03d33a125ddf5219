//! Copies from a view into the tree, with the rules of BuildKit's file copy.

use std::collections::HashMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use fsutil::pattern::{MatchInfo, Matcher};

use super::{Mode, NOT_FOUND, TreeBuilder, path_error, wildcard};
use crate::chmod::Chmod;
use crate::layer::{Layer, LayerId};
use crate::meta::{Attrs, FileType, Meta, Owner, Time};
use crate::view::View;
use crate::{path, sys};

/// How files are copied: the fields of LLB's copy action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// The source's where there is none.
    pub owner: Option<Owner>,
    pub mode: Option<Mode>,
    /// The source's modification time where there is none.
    pub timestamp: Option<Time>,
    /// The source is followed where it is a link.
    pub follow_symlinks: bool,
    /// Of a directory only what is in it.
    pub dir_contents: bool,
    /// An archive is unpacked, anything else copied.
    pub attempt_unpack: bool,
    /// Makes what is missing of the destination's parents.
    pub create_dest_path: bool,
    pub allow_wildcard: bool,
    pub allow_empty_wildcard: bool,
    /// Patterns of which one must match, from the source.
    pub include: Vec<String>,
    /// Patterns of which none may match, from the source.
    pub exclude: Vec<String>,
    /// What is at the destination gives way even if it is of another kind.
    pub always_replace_existing: bool,
}

impl TreeBuilder {
    /// Copies `src` of `from` to `dest`. Trailing `/` and `/.` count as in BuildKit.
    pub fn copy(&mut self, from: &View, src: &[u8], dest: &[u8], options: &CopyOptions) -> Result<()> {
        let (src, dest) = (keep_slash(src), keep_slash(dest));
        if !options.create_dest_path {
            let parent = self.resolve(&dest, true)?;
            let parent = path::split(&parent).0;
            if !parent.is_empty() && self.find(parent)?.is_none() {
                let dest = String::from_utf8_lossy(&dest).into_owned();
                return Err(
                    path_error("lstat", parent, NOT_FOUND).context(format_args!("failed to stat {dest}"))
                );
            }
        }
        let sources = if options.allow_wildcard {
            wildcard::in_view(from, &src, options.follow_symlinks)?
        } else {
            vec![src.clone()]
        };
        if sources.is_empty() && !options.allow_empty_wildcard {
            return Err(Error::not_found(format!("{} not found", String::from_utf8_lossy(&src))));
        }
        for source in sources {
            if !(options.attempt_unpack && self.unpack(from, &source, &dest, options)?) {
                self.copy_one(from, &source, &dest, options)?;
            }
        }
        Ok(())
    }

    fn copy_one(&mut self, from: &View, src: &[u8], dest: &[u8], options: &CopyOptions) -> Result<()> {
        let mut copier = Copier::new(from, options)?;
        let dir_mode = match &options.mode {
            Some(Mode::Absolute(mode)) => *mode,
            _ => 0o755,
        };
        let mut made = Vec::new();
        let ensure = match dest.iter().rposition(|&b| b == b'/') {
            Some(slash) if !matches!(&dest[slash + 1..], b"" | b".") => &dest[..slash],
            _ => dest,
        };
        let ensure = self.resolve(ensure, true)?;
        made.extend(self.mkdir_all(&ensure, dir_mode, options.owner, options.timestamp)?);

        let followed = from.resolve(src, options.follow_symlinks)?;
        let source = from.lstat_clean(&followed)?.ok_or_else(|| path_error("lstat", &followed, NOT_FOUND))?;
        let mut target = self.resolve(dest, true)?;
        let there = self.stat(&target)?;
        if let Some(there) = &there
            && (if source.is_dir() { !options.dir_contents } else { there.is_dir() })
        {
            target = path::clean(&path::join(&target, path::base(src)));
        }
        let ensure = if options.dir_contents && source.is_dir() && there.is_none() {
            &target[..]
        } else if target.is_empty() {
            b""
        } else {
            path::split(&target).0
        };
        made.extend(self.mkdir_all(ensure, dir_mode, options.owner, options.timestamp)?);
        self.defer_links();
        copier.copy(self, &followed, b"", &target, false, &[])?;
        copier.finish(self)?;
        // Files that came into a new directory changed its time.
        if let Some(time) = options.timestamp {
            for dir in made.iter().rev().filter(|dir| self.own.is_dir(dir)) {
                sys::set_mtime(&self.own.real(dir), time)?;
            }
        }
        Ok(())
    }
}

/// Cleans a path but keeps a trailing slash or `/.`.
pub(super) fn keep_slash(path: &[u8]) -> Vec<u8> {
    let mut clean = Vec::from(b"/");
    clean.extend(path::clean(path));
    if path.ends_with(b"/.") {
        if clean != b"/" {
            clean.push(b'/');
        }
        clean.push(b'.');
    } else if path.ends_with(b"/") && clean != b"/" {
        clean.push(b'/');
    }
    clean
}

/// One copy under way.
pub(super) struct Copier<'a> {
    from: &'a View,
    options: &'a CopyOptions,
    chmod: Option<Chmod>,
    include: Option<Matcher>,
    exclude: Option<Matcher>,
    /// Where files with several names went first.
    names: HashMap<(LayerId, u64), Vec<u8>>,
    /// The source directories on the way to the current file.
    parents: Vec<Parent>,
    /// Directories that are given their attributes when all files are in them.
    ended: Vec<Ended>,
}

struct Ended {
    at: Vec<u8>,
    target: Vec<u8>,
    meta: Meta,
    /// Only the time: it is the directory that the source was copied into.
    only_time: bool,
}

/// A directory that is made when something in it is copied.
struct Parent {
    at: Vec<u8>,
    target: Vec<u8>,
    copied: bool,
}

/// What the patterns said of a path, for the paths below it.
#[derive(Default)]
pub(super) struct Matched {
    include: MatchInfo,
    exclude: MatchInfo,
}

impl<'a> Copier<'a> {
    pub(super) fn new(from: &'a View, options: &'a CopyOptions) -> Result<Self> {
        let chmod = match &options.mode {
            Some(Mode::Symbolic(text)) => Some(Chmod::parse(text)?),
            _ => None,
        };
        let matcher = |patterns: &[String], kind: &str| match patterns {
            [] => Ok(None),
            patterns => Matcher::new(patterns)
                .map(Some)
                .map_err(|e| Error::user(format!("invalid {kind}patterns: {patterns:?}: {e}"))),
        };
        let (include, exclude) =
            (matcher(&options.include, "include")?, matcher(&options.exclude, "exclude")?);
        let (names, parents, ended) = Default::default();
        Ok(Copier { from, options, chmod, include, exclude, names, parents, ended })
    }

    /// Copies `at`, which lies at `relative` below the source, to `target`. Below the source, directories that are
    /// there get the source's attributes (`overwrite`).
    pub(super) fn copy(
        &mut self,
        tree: &mut TreeBuilder,
        at: &[u8],
        relative: &[u8],
        target: &[u8],
        overwrite: bool,
        above: &[Matched],
    ) -> Result<()> {
        let (included, excluded, matched) = self.is_included(relative, above.last())?;
        if !included && self.include.is_none() && !self.has_exceptions() {
            return Ok(());
        }
        let found = self.from.find(at)?;
        let meta = self.from.lstat_clean(at)?.ok_or_else(|| path_error("lstat", at, NOT_FOUND))?;
        if !included && !meta.is_dir() {
            return Ok(());
        }
        let there = tree.lstat_clean(target)?;
        if included {
            if let Some(there) = &there
                && self.options.always_replace_existing
                && !(meta.is_dir() && there.is_dir())
            {
                tree.remove_all(target)?;
            }
            self.make_parents(tree)?;
        }
        if meta.is_dir() {
            return self.copy_dir(tree, at, relative, target, overwrite, included, excluded, matched);
        }
        if there.is_some_and(|there| there.is_dir()) && !self.options.always_replace_existing {
            let target = path::show(target);
            return Err(Error::user(format!("cannot replace to directory {target} with file")));
        }
        let layer = found.ok_or_else(|| path_error("lstat", at, NOT_FOUND))?.layer;
        self.copy_file(tree, &layer, at, &meta, target)
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one directory of a recursion")]
    fn copy_dir(
        &mut self,
        tree: &mut TreeBuilder,
        at: &[u8],
        relative: &[u8],
        target: &[u8],
        overwrite: bool,
        included: bool,
        excluded: bool,
        matched: Matched,
    ) -> Result<()> {
        let mut made = false;
        let was_there = tree.lstat_clean(target)?.is_some();
        if included {
            made = self.make_dir(tree, at, target, overwrite)?;
        }
        if !excluded || self.has_exceptions() {
            self.parents.push(Parent { at: at.to_vec(), target: target.to_vec(), copied: included });
            let above = [matched];
            if let Some(dir) = self.from.dir(at)? {
                for entry in dir.list() {
                    let child = path::join(at, &entry.name);
                    let relative = path::join(relative, &entry.name);
                    let target = path::join(target, &entry.name);
                    self.copy(tree, &child, &relative, &target, true, &above)?;
                }
            }
            self.parents.pop();
        }
        let meta = self.from.lstat_clean(at)?.ok_or_else(|| path_error("lstat", at, NOT_FOUND))?;
        let whole = included && (overwrite || made);
        if whole || !overwrite && !made && was_there {
            let (at, target) = (at.to_vec(), target.to_vec());
            self.ended.push(Ended { at, target, meta, only_time: !whole });
        }
        Ok(())
    }

    /// Ends the copy: all links are made, and directories have their attributes, which files that come would change.
    pub(super) fn finish(&mut self, tree: &mut TreeBuilder) -> Result<()> {
        tree.settle_links()?;
        tree.linker = None;
        for Ended { at, target, meta, only_time } in std::mem::take(&mut self.ended) {
            if only_time {
                tree.own.ensure_dir(&target, &tree.base)?;
                sys::set_mtime(&tree.own.real(&target), self.options.timestamp.unwrap_or(meta.mtime))?;
            } else {
                self.finish_dir(tree, &at, &target, &meta)?;
            }
        }
        Ok(())
    }

    /// Makes a directory; `true` where there was none.
    pub(super) fn make_dir(
        &self,
        tree: &mut TreeBuilder,
        at: &[u8],
        target: &[u8],
        overwrite: bool,
    ) -> Result<bool> {
        match tree.lstat_clean(target)? {
            Some(there) if !there.is_dir() => {
                Err(Error::user(format!("cannot copy to non-directory: {}", path::show(target))))
            }
            Some(_) if overwrite => {
                tree.own.ensure_dir(target, &tree.base)?;
                let mode = self.from.lstat_clean(at)?.map_or(0o755, |meta| meta.mode);
                sys::chmod(&tree.own.real(target), mode)?;
                Ok(false)
            }
            Some(_) => Ok(false),
            None => tree.make_dir(target),
        }
    }

    /// Gives a directory the attributes of the source, adding to its extended ones.
    pub(super) fn finish_dir(
        &self,
        tree: &mut TreeBuilder,
        at: &[u8],
        target: &[u8],
        meta: &Meta,
    ) -> Result<()> {
        tree.own.ensure_dir(target, &tree.base)?;
        let attrs = self.attrs(meta, self.from.xattrs(at)?);
        sys::set_attrs(&tree.own.real(target), FileType::Dir, &attrs)
    }

    /// Makes the directories that lead to a file which the patterns chose.
    fn make_parents(&mut self, tree: &mut TreeBuilder) -> Result<()> {
        let mut parents = std::mem::take(&mut self.parents);
        for parent in parents.iter_mut().filter(|parent| !parent.copied) {
            if self.make_dir(tree, &parent.at, &parent.target, false)?
                && let Some(meta) = self.from.lstat_clean(&parent.at)?
            {
                self.finish_dir(tree, &parent.at, &parent.target, &meta)?;
            }
            parent.copied = true;
        }
        self.parents = parents;
        Ok(())
    }

    fn copy_file(
        &mut self,
        tree: &mut TreeBuilder,
        layer: &Arc<Layer>,
        at: &[u8],
        meta: &Meta,
        target: &[u8],
    ) -> Result<()> {
        if meta.is_file() {
            let name = (layer.id.clone(), meta.ino);
            if meta.nlink > 1
                && let Some(first) = self.names.get(&name)
            {
                tree.make_room(target)?;
                return tree.link_own(first, target, FileType::File);
            }
            if meta.nlink > 1 {
                self.names.insert(name, target.to_vec());
            }
            let stays = self.mode(meta) == meta.mode
                && self.options.owner.is_none_or(|owner| owner == meta.owner())
                && self.options.timestamp.is_none_or(|time| time == meta.mtime);
            let attrs = match stays {
                true => None,
                false => Some(self.attrs(meta, sys::xattrs(&layer.real(at))?)),
            };
            return tree.put_file(layer, at, meta, target, attrs.as_ref());
        }
        tree.make_room(target)?;
        let (from, real) = (layer.real(at), tree.own.real(target));
        match meta.file_type {
            FileType::Symlink => sys::symlink(&sys::read_link(&from)?, &real)?,
            other => sys::mknod(&real, other, meta.rdev)?,
        }
        sys::set_attrs(&real, meta.file_type, &self.attrs(meta, sys::xattrs(&from)?))?;
        tree.own.add(target, meta.file_type, false);
        Ok(())
    }

    fn mode(&self, meta: &Meta) -> u32 {
        match (&self.chmod, &self.options.mode) {
            (Some(chmod), _) => chmod.apply(meta.mode, meta.is_dir()),
            (None, Some(Mode::Absolute(mode))) => mode & 0o7777,
            _ => meta.mode,
        }
    }

    fn attrs(&self, meta: &Meta, xattrs: std::collections::BTreeMap<Vec<u8>, Vec<u8>>) -> Attrs {
        Attrs {
            mode: self.mode(meta),
            owner: self.options.owner.unwrap_or(meta.owner()),
            mtime: self.options.timestamp.unwrap_or(meta.mtime),
            xattrs,
        }
    }

    /// Whether a pattern may take back what another one left out, so that directories must be looked into.
    fn has_exceptions(&self) -> bool {
        self.exclude.as_ref().is_some_and(Matcher::has_exclusions)
    }

    /// Whether the path is to be copied, and whether a pattern left it out. The source itself always is.
    fn is_included(&self, relative: &[u8], above: Option<&Matched>) -> Result<(bool, bool, Matched)> {
        let mut matched = Matched::default();
        if relative.is_empty() {
            return Ok((true, false, matched));
        }
        let none = Matched::default();
        let above = above.unwrap_or(&none);
        let mut included = true;
        if let Some(include) = &self.include {
            (included, matched.include) = include.matches_using_parent(relative, &above.include);
        }
        let mut excluded = false;
        if let Some(exclude) = &self.exclude {
            (excluded, matched.exclude) = exclude.matches_using_parent(relative, &above.exclude);
        }
        Ok((included && !excluded, excluded, matched))
    }
}
