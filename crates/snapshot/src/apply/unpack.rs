use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use fsutil::tar::{Entry, EntryKind, Reader};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::meta::{Attrs, FileType, Owner, Time};
use crate::tree::TreeWriter;
use crate::view::resolve_in;
use crate::{path, sys};

/// Puts the members of an archive into a new tree.
///
/// Nobody else writes to the tree, so a path that was looked at stays what it is: names are cleaned (`..` ends at the
/// root of the tree), links on the way are followed inside the tree, and the last component is never followed.
pub struct Unpacker {
    tree: TreeWriter,
    root: PathBuf,
    opaque_mark: &'static str,
    /// The directory of the last member as the archive writes it, and where it is.
    last_dir: Option<(Vec<u8>, Vec<u8>)>,
    /// Directories of the archive with their times, which are set when all is in them.
    times: BTreeMap<Vec<u8>, Time>,
    /// Directories that the archive needs but does not hold.
    implied: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Unpacker {
    pub fn new(tree: TreeWriter, opaque_mark: &'static str) -> Self {
        let root = tree.path();
        let (last_dir, times, implied) = Default::default();
        Unpacker { tree, root, opaque_mark, last_dir, times, implied, buffer: vec![0; 128 << 10] }
    }

    /// Unpacks all members and gives the bytes of their content.
    pub fn run(&mut self, archive: impl Read) -> Result<u64> {
        let mut reader = Reader::new(archive);
        let mut size = 0;
        while let Some(entry) = reader.next_entry().context("failed to read the layer")? {
            size += entry.size;
            let name = path::clean(&entry.path);
            if !name.is_empty() {
                self.member(&name, &entry, &mut reader).with_context(|| {
                    format!("failed to unpack `{}`", String::from_utf8_lossy(&entry.path))
                })?;
            }
        }
        Ok(size)
    }

    /// Sets what can only be set at the end, and gives the tree.
    pub fn finish(self) -> Result<TreeWriter> {
        for (path, time) in &self.times {
            sys::set_mtime(&sys::below(&self.root, path), *time)?;
        }
        // Directories that the archive brought after all are no longer implied.
        let implied: Vec<_> =
            self.implied.into_iter().filter(|path| !self.times.contains_key(path)).collect();
        if !implied.is_empty() {
            let list = self.tree.dir().join("implied");
            std::fs::write(&list, implied.join(&0)).map_err(|e| sys::fail("write", &list, e))?;
        }
        Ok(self.tree)
    }

    fn member(&mut self, name: &[u8], entry: &Entry, content: &mut dyn Read) -> Result<()> {
        let (dir, base) = path::split(name);
        let dir = self.parent(dir)?;
        let at = path::join(&dir, base);
        if let Some(hidden) = base.strip_prefix(b".wh.") {
            return self.whiteout(&dir, hidden);
        }
        let attrs = attrs(entry);
        let real = sys::below(&self.root, &at);
        let file_type = match entry.kind {
            EntryKind::Dir => {
                self.dir(&at, &real)?;
                self.times.insert(at, attrs.mtime);
                FileType::Dir
            }
            EntryKind::File => {
                let mut file = self.make(&at, &real, create)?;
                self.content(&mut file, &real, content)?;
                FileType::File
            }
            EntryKind::Symlink => {
                self.make(&at, &real, |real| rustix::fs::symlink(&entry.link[..], real))?;
                FileType::Symlink
            }
            EntryKind::Hardlink => self.hardlink(&at, &real, &entry.link)?,
            EntryKind::Char => self.special(&at, &real, FileType::Char, entry.dev)?,
            EntryKind::Block => self.special(&at, &real, FileType::Block, entry.dev)?,
            EntryKind::Fifo => self.special(&at, &real, FileType::Fifo, (0, 0))?,
        };
        sys::set_attrs(&real, file_type, &attrs)
    }

    /// Finds or makes the directory of a member; `dir` is clean but may lead over links.
    fn parent(&mut self, dir: &[u8]) -> Result<Vec<u8>> {
        if let Some((_, at)) = self.last_dir.as_ref().filter(|(name, _)| name == dir) {
            return Ok(at.clone());
        }
        let root = &self.root;
        let at = resolve_in(dir, true, &mut |at| read_link(&sys::below(root, at)))?;
        let ends = at.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        for end in ends.chain((!at.is_empty()).then_some(at.len())) {
            let part = sys::below(root, &at[..end]);
            match sys::lstat(&part)? {
                Some(meta) if meta.is_dir() => {}
                Some(_) => {
                    return Err(Error::user(format!("`{}` is not a directory", path::show(&at[..end]))));
                }
                None => {
                    sys::mkdir(&part)?;
                    sys::chmod(&part, 0o755)?;
                    self.implied.push(at[..end].to_vec());
                }
            }
        }
        self.last_dir = Some((dir.to_vec(), at.clone()));
        Ok(at)
    }

    /// Makes something that must be new, in place of what an earlier member left there.
    fn make<T>(
        &mut self,
        at: &[u8],
        real: &Path,
        make: impl Fn(&Path) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make(real) {
            Err(Errno::EXIST) => {
                self.remove(at, real)?;
                make(real)
            }
            other => other,
        }
        .map_err(|e| sys::fail("create", real, e))
    }

    fn remove(&mut self, at: &[u8], real: &Path) -> Result<()> {
        self.last_dir = None;
        self.times.retain(|path, _| path != at && !path::is_below(path, at));
        self.implied.retain(|path| path != at && !path::is_below(path, at));
        sys::remove_all(real)
    }

    fn dir(&mut self, at: &[u8], real: &Path) -> Result<()> {
        let mode = Mode::from_raw_mode(0o700);
        match rustix::fs::mkdir(real, mode) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(sys::fail("make directory", real, e)),
        }
        let Some(there) = sys::lstat(real)? else { return sys::mkdir(real) };
        if there.is_dir() {
            return Ok(());
        }
        self.remove(at, real)?;
        sys::mkdir(real)?;
        if there.is_whiteout() {
            sys::set_xattr(real, self.opaque_mark.as_bytes(), b"y")?;
        }
        Ok(())
    }

    fn content(&mut self, file: &mut File, real: &Path, content: &mut dyn Read) -> Result<()> {
        loop {
            let n = content.read(&mut self.buffer)?;
            if n == 0 {
                return Ok(());
            }
            io::Write::write_all(file, &self.buffer[..n]).map_err(|e| sys::fail("write", real, e))?;
        }
    }

    /// The target's directory is followed, the target is not.
    fn hardlink(&mut self, at: &[u8], real: &Path, target: &[u8]) -> Result<FileType> {
        let clean = path::clean(target);
        let (dir, base) = path::split(&clean);
        let root = self.root.clone();
        let dir = resolve_in(dir, true, &mut |at| read_link(&sys::below(&root, at)))?;
        let target_at = path::join(&dir, base);
        let from = sys::below(&root, &target_at);
        let shown = String::from_utf8_lossy(target).into_owned();
        let meta = match sys::lstat(&from)? {
            Some(meta) if meta.is_dir() => {
                return Err(Error::user(format!("hard link to the directory `{shown}`")));
            }
            Some(meta) if !meta.is_whiteout() => meta,
            _ => return Err(Error::user(format!("hard link to `{shown}`, which is not in the layer"))),
        };
        if path::is_below(&target_at, at) {
            return Err(Error::user(format!("hard link to `{shown}` in its own place")));
        }
        if target_at != at {
            self.make(at, real, |real| rustix::fs::link(&from, real))?;
        }
        Ok(meta.file_type)
    }

    fn special(&mut self, at: &[u8], real: &Path, file_type: FileType, dev: (u32, u32)) -> Result<FileType> {
        if sys::lstat(real)?.is_some() {
            self.remove(at, real)?;
        }
        sys::mknod(real, file_type, dev)?;
        Ok(file_type)
    }

    /// `hidden` is the name behind `.wh.` (OCI image-spec, layer.md, "Whiteouts"). A whiteout says nothing about members
    /// of its own archive, wherever they stand.
    fn whiteout(&mut self, dir: &[u8], hidden: &[u8]) -> Result<()> {
        if hidden == b".wh..opq" {
            return sys::set_xattr(&sys::below(&self.root, dir), self.opaque_mark.as_bytes(), b"y");
        }
        // Other names of this form are AUFS' own records.
        if hidden.starts_with(b".wh.") {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::user("invalid whiteout name"));
        }
        let real = sys::below(&self.root, &path::join(dir, hidden));
        match sys::lstat(&real)? {
            None => sys::whiteout(&real),
            Some(meta) if meta.is_dir() => sys::set_xattr(&real, self.opaque_mark.as_bytes(), b"y"),
            Some(_) => Ok(()),
        }
    }
}

fn create(real: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(real, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

/// The target where there is a link.
pub fn read_link(real: &Path) -> Result<Option<Vec<u8>>> {
    match rustix::fs::readlink(real, Vec::new()) {
        Ok(target) => Ok(Some(target.into_bytes())),
        Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(sys::fail("read link", real, e)),
    }
}

/// The attributes of a member. Those by which overlayfs marks its layers are not for an archive to set.
pub fn attrs(entry: &Entry) -> Attrs {
    let own = |name: &[u8]| !name.starts_with(b"trusted.") && !sys::is_overlay_mark(name);
    Attrs {
        mode: entry.mode & 0o7777,
        owner: Owner { uid: entry.uid, gid: entry.gid },
        mtime: bounded(Time { secs: entry.mtime.0, nanos: entry.mtime.1 }),
        xattrs: entry.xattrs.iter().filter(|(n, _)| own(n)).map(|(n, v)| (n.clone(), v.clone())).collect(),
    }
}

/// A time before 1970 or after 2262 counts as 1970, as containerd has it.
fn bounded(time: Time) -> Time {
    if time.secs < 0 || time.secs > i64::MAX / 1_000_000_000 { Time::default() } else { time }
}
