//! Unpacks an archive into the tree, as `ADD` does.

use std::io::Read;

use errdefs::{Error, Result, ResultExt as _};
use fsutil::tar::{Entry, EntryKind, Reader};

use super::{CopyOptions, TreeBuilder};
use crate::apply::member_attrs;
use crate::meta::{Attrs, FileType, Owner, Time};
use crate::view::{View, open_file, resolve_in};
use crate::{path, sys};
use fsutil::Decoder;

impl TreeBuilder {
    /// Unpacks the archive at `src` into `dest`; `false` where it is no archive. Links in the destination and in the
    /// archive lead nowhere outside of `dest`.
    pub(super) fn unpack(
        &mut self,
        from: &View,
        src: &[u8],
        dest: &[u8],
        options: &CopyOptions,
    ) -> Result<bool> {
        let src = from.resolve(src, true)?;
        let Some(found) = from.find(&src)?.filter(|found| found.file_type == FileType::File) else {
            return Ok(false);
        };
        let open = || -> Result<_> { Ok(Reader::new(Decoder::detect(open_file(&found.layer, &src)?)?)) };
        if !matches!(open().and_then(|mut reader| reader.next_entry()), Ok(Some(_))) {
            return Ok(false);
        }
        let dest = self.resolve(dest, true)?;
        self.mkdir_all(&dest, 0o755, options.owner, options.timestamp)?;
        let mut unpack = Unpack { tree: self, dest, owner: options.owner, times: Vec::new() };
        unpack.run(open()?).with_context(|| format!("failed to unpack `{}`", path::show(&src)))?;
        Ok(true)
    }
}

struct Unpack<'a> {
    tree: &'a mut TreeBuilder,
    dest: Vec<u8>,
    owner: Option<Owner>,
    times: Vec<(Vec<u8>, Time)>,
}

impl Unpack<'_> {
    fn run<R: Read>(&mut self, mut reader: Reader<R>) -> Result<()> {
        while let Some(entry) = reader.next_entry()? {
            let name = path::clean(&entry.path);
            // The destination itself keeps its attributes.
            if !name.is_empty() {
                let shown = || format!("failed to unpack `{}`", String::from_utf8_lossy(&entry.path));
                self.member(&name, &entry, &mut reader).with_context(shown)?;
            }
        }
        for (dir, time) in self.times.iter().filter(|(dir, _)| self.tree.own.is_dir(dir)) {
            sys::set_mtime(&self.tree.own.real(dir), *time)?;
        }
        Ok(())
    }

    fn member(&mut self, name: &[u8], entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let (dir, base) = path::split(name);
        let dir = self.resolve(dir)?;
        self.tree.mkdir_all(&dir, 0o755, Some(Owner::default()), None)?;
        let at = path::join(&dir, base);
        let mut attrs = member_attrs(entry);
        attrs.owner = self.owner.unwrap_or(attrs.owner);
        match entry.kind {
            EntryKind::Dir => {
                self.tree.make_dir(&at)?;
                self.set(&at, FileType::Dir, &attrs)?;
                self.times.push((at, attrs.mtime));
                Ok(())
            }
            EntryKind::File => {
                self.tree.make_room(&at)?;
                let real = self.tree.own.real(&at);
                let mut file = std::fs::File::create_new(&real).map_err(|e| sys::fail("create", &real, e))?;
                std::io::copy(content, &mut file).map_err(|e| Error::user(format!("failed to read: {e}")))?;
                self.tree.own.add(&at, FileType::File, false);
                self.set(&at, FileType::File, &attrs)
            }
            EntryKind::Symlink => {
                self.tree.make_room(&at)?;
                sys::symlink(&entry.link, &self.tree.own.real(&at))?;
                self.tree.own.add(&at, FileType::Symlink, false);
                self.set(&at, FileType::Symlink, &attrs)
            }
            EntryKind::Hardlink => self.hardlink(&at, &entry.link, &attrs),
            EntryKind::Char => self.tree.put_special(&at, FileType::Char, entry.dev, &attrs),
            EntryKind::Block => self.tree.put_special(&at, FileType::Block, entry.dev, &attrs),
            EntryKind::Fifo => self.tree.put_special(&at, FileType::Fifo, (0, 0), &attrs),
        }
    }

    fn hardlink(&mut self, at: &[u8], target: &[u8], attrs: &Attrs) -> Result<()> {
        let clean = path::clean(target);
        let (dir, base) = path::split(&clean);
        let target = path::join(&self.resolve(dir)?, base);
        self.tree.put_hardlink(at, &target)?;
        match self.tree.lstat_clean(at)? {
            Some(meta) => self.set(at, meta.file_type, attrs),
            None => Ok(()),
        }
    }

    fn set(&self, at: &[u8], file_type: FileType, attrs: &Attrs) -> Result<()> {
        sys::set_attrs(&self.tree.own.real(at), file_type, attrs)
    }

    /// Resolves a clean path as if the destination were the root.
    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>> {
        let resolved = resolve_in(path, true, &mut |at| {
            let at = path::join(&self.dest, at);
            match self.tree.find(&at)? {
                Some((FileType::Symlink, place)) => Ok(Some(sys::read_link(&self.tree.real(&at, &place))?)),
                _ => Ok(None),
            }
        })?;
        Ok(if resolved.is_empty() { self.dest.clone() } else { path::join(&self.dest, &resolved) })
    }
}
