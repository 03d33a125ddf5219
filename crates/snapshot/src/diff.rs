//! A layer as an archive, with the entries that BuildKit's overlay differ writes.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use fsutil::tar::{Entry, EntryKind, Writer};

use crate::layer::{Kind, Layer, LayerId};
use crate::meta::{FileType, Meta};
use crate::same::is_same;
use crate::store::Store;
use crate::view::{View, open_file};
use crate::{path, sys};

impl Store {
    /// Writes layers that lie on `base` as one archive (OCI image-spec, layer.md): what was added and changed, the
    /// directories that lead there, and whiteouts. The bytes depend on the trees alone, not on how many there are.
    pub fn write_diff(self: &Arc<Self>, base: &View, layers: &[LayerId], out: &mut dyn Write) -> Result<()> {
        let pile = self.view(layers)?;
        let writer = Writer::new(out);
        let mut diff = Diff { base, pile: &pile, writer, names: HashMap::new(), written: HashSet::new() };
        diff.dir(b"").with_context(|| format!("failed to pack layer {layers:?}"))?;
        diff.writer.finish()?;
        Ok(())
    }
}

struct Diff<'a, 'w> {
    base: &'a View,
    /// The layers.
    pile: &'a View,
    writer: Writer<&'w mut (dyn Write + 'w)>,
    /// The first name of each inode that has several.
    names: HashMap<u64, Vec<u8>>,
    /// Directories that are in the archive.
    written: HashSet<Vec<u8>>,
}

impl Diff<'_, '_> {
    /// Writes what is in a directory of the layer, not the directory itself.
    fn dir(&mut self, at: &[u8]) -> Result<()> {
        let Some(dir) = self.pile.dir(at)? else { return Ok(()) };
        for (name, kind) in &dir.as_one().entries {
            let path = path::join(at, name);
            let below = self.base.find(&path)?;
            let file_type = match kind {
                Kind::Present(file_type) => *file_type,
                Kind::Whiteout if below.is_some() => {
                    self.whiteout(&path)?;
                    continue;
                }
                Kind::Whiteout => continue,
            };
            let meta = self.meta(&path)?;
            let same = match &below {
                Some(below) => is_same(&below.layer.real(&path), &self.real(&path)?, &meta)?,
                None => false,
            };
            if !same {
                self.file(&path, &meta)?;
            }
            if file_type != FileType::Dir {
                continue;
            }
            if below.is_some() && self.pile.dir(&path)?.is_some_and(|dir| dir.hides_below()) {
                self.opaque_dir(&path)?;
            } else {
                self.dir(&path)?;
            }
        }
        Ok(())
    }

    /// Writes what is in a directory that hides all the base has there: the difference name by name.
    fn opaque_dir(&mut self, at: &[u8]) -> Result<()> {
        let own = self.pile.dir(at)?.map(|dir| dir.as_one()).unwrap_or_default();
        let below = self.base.dir(at)?.map(|dir| dir.list()).unwrap_or_default();
        let own_names = own.entries.iter().filter(|(_, kind)| *kind != Kind::Whiteout).map(|(name, _)| name);
        let mut names: Vec<_> = own_names.chain(below.iter().map(|entry| &entry.name)).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = path::join(at, name);
            if !matches!(own.get(name), Some(Kind::Present(_))) {
                self.whiteout(&path)?;
                continue;
            }
            let meta = self.meta(&path)?;
            let below = self.base.find(&path)?;
            let same = match &below {
                Some(below) => is_same(&below.layer.real(&path), &self.real(&path)?, &meta)?,
                None => false,
            };
            if !same {
                self.file(&path, &meta)?;
            }
            if meta.is_dir() {
                self.opaque_dir(&path)?;
            }
        }
        Ok(())
    }

    fn layer(&self, path: &[u8]) -> Result<Arc<Layer>> {
        let found = self.pile.find(path)?;
        let gone = || Error::internal(format!("`{}` is gone from its layer", path::show(path)));
        Ok(found.ok_or_else(gone)?.layer)
    }

    /// Where the topmost of the layers that have the path has it.
    fn real(&self, path: &[u8]) -> Result<PathBuf> {
        Ok(self.layer(path)?.real(path))
    }

    fn meta(&self, path: &[u8]) -> Result<Meta> {
        let real = self.real(path)?;
        sys::lstat(&real)?
            .ok_or_else(|| Error::internal(format!("`{}` is gone from its layer", real.display())))
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let (dir, name) = path::split(path);
        self.parents(path)?;
        let mut path = dir.to_vec();
        path::push(&mut path, &[b".wh.", name].concat());
        Ok(self.writer.ustar_header(&Entry { path, kind: EntryKind::File, ..Entry::default() })?)
    }

    /// Writes the directories above a path that are not yet in the archive.
    fn parents(&mut self, path: &[u8]) -> Result<()> {
        let (dir, _) = path::split(path);
        if dir.is_empty() || self.written.contains(dir) {
            return Ok(());
        }
        let meta = self.meta(dir)?;
        self.file(dir, &meta)
    }

    fn file(&mut self, path: &[u8], meta: &Meta) -> Result<()> {
        let real = self.real(path)?;
        let mut entry = Entry {
            path: path.to_vec(),
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: (meta.mtime.secs, 0),
            ..Entry::default()
        };
        entry.kind = match meta.file_type {
            // An archive has no place for it.
            FileType::Socket => return Ok(()),
            FileType::File => EntryKind::File,
            FileType::Dir => EntryKind::Dir,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Char => EntryKind::Char,
            FileType::Block => EntryKind::Block,
            FileType::Fifo => EntryKind::Fifo,
        };
        match meta.file_type {
            FileType::File => entry.size = meta.size,
            FileType::Symlink => entry.link = sys::read_link(&real)?,
            FileType::Dir => entry.path.push(b'/'),
            FileType::Char | FileType::Block => entry.dev = meta.rdev,
            _ => {}
        }
        if !meta.is_dir() && meta.nlink > 1 {
            if let Some(first) = self.names.get(&meta.ino) {
                entry.kind = EntryKind::Hardlink;
                entry.link.clone_from(first);
                entry.size = 0;
            } else {
                self.names.insert(meta.ino, path.to_vec());
            }
        }
        if let Some(capability) = sys::xattr(&real, "security.capability")?.filter(|value| !value.is_empty())
        {
            entry.xattrs.insert(b"security.capability".to_vec(), capability);
        }
        if meta.is_dir() {
            self.written.insert(path.to_vec());
        }
        self.parents(path)?;
        self.writer.pax_header(&entry)?;
        if entry.kind == EntryKind::File && entry.size > 0 {
            self.content(path, meta)?;
        }
        Ok(())
    }

    fn content(&mut self, path: &[u8], meta: &Meta) -> Result<()> {
        let layer = self.layer(path)?;
        let mut file = open_file(&layer, path)?;
        let mut buffer = vec![0; (128 << 10).min(meta.size as usize)];
        let mut left = meta.size;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = file.read(&mut buffer[..want]).map_err(|e| sys::fail("read", &layer.real(path), e))?;
            if n == 0 {
                return Err(Error::internal(format!("`{}` became shorter", path::show(path))));
            }
            self.writer.write_all(&buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }
}
