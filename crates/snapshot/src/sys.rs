//! The few system calls that the rest of the crate is made of, with the path in every error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;

use crate::meta::{Attrs, FileType, Meta, Owner, Time};

/// An I/O error with what was tried on which path.
pub fn fail(doing: &str, path: &Path, e: impl Into<io::Error>) -> Error {
    Error::from(e.into()).context(format_args!("failed to {doing} `{}`", path.display()))
}

/// The stat of `path` itself; `None` where there is nothing.
pub fn lstat(path: &Path) -> Result<Option<Meta>> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(fail("stat", path, e)),
    }
}

pub fn read_link(path: &Path) -> Result<Vec<u8>> {
    rustix::fs::readlink(path, Vec::new())
        .map(std::ffi::CString::into_bytes)
        .map_err(|e| fail("read link", path, e))
}

/// Names and kinds in a directory, unsorted. The kind is asked for where the file system does not tell.
pub fn read_dir(path: &Path) -> Result<Vec<(Box<[u8]>, FileType)>> {
    let dir = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| fail("open", path, e))?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut found = Vec::new();
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|e| fail("read", path, e))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        use rustix::fs::FileType as T;
        let kind = match entry.file_type() {
            T::RegularFile => FileType::File,
            T::Directory => FileType::Dir,
            T::Symlink => FileType::Symlink,
            T::CharacterDevice => FileType::Char,
            T::BlockDevice => FileType::Block,
            T::Fifo => FileType::Fifo,
            T::Socket => FileType::Socket,
            _ => match lstat(&path.join(OsStr::from_bytes(name)))? {
                Some(meta) => meta.file_type,
                None => continue,
            },
        };
        found.push((name.into(), kind));
    }
    Ok(found)
}

/// The value of one extended attribute of `path` itself; `None` where it has none or the file system knows none.
pub fn xattr(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0u8; 256];
    loop {
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(len) => {
                value.truncate(len);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) => {
                let len = rustix::fs::lgetxattr(path, name, &mut [0u8; 0][..])
                    .map_err(|e| fail("read attribute of", path, e))?;
                value.resize(len.max(value.len() * 2), 0);
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => return Ok(None),
            Err(e) => return Err(fail("read attribute of", path, e)),
        }
    }
}

/// All extended attributes of `path` itself, without those by which overlayfs marks its layers.
pub fn xattrs(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = [0u8; 1024];
    let mut more = Vec::new();
    let names = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(len) => &names[..len],
        Err(Errno::OPNOTSUPP) => &[],
        Err(Errno::RANGE) => {
            more.resize(64 << 10, 0);
            let len = rustix::fs::llistxattr(path, &mut more[..])
                .map_err(|e| fail("list attributes of", path, e))?;
            &more[..len]
        }
        Err(e) => return Err(fail("list attributes of", path, e)),
    };
    let mut found = BTreeMap::new();
    for name in names.split(|&b| b == 0).filter(|n| !n.is_empty() && !is_overlay_mark(n)) {
        let Ok(text) = std::str::from_utf8(name) else { continue };
        if let Some(value) = xattr(path, text)? {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

pub fn is_overlay_mark(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Sets an attribute of `path` itself. A file system or a kind of file that cannot hold it is no error.
pub fn set_xattr(path: &Path, name: &[u8], value: &[u8]) -> Result<()> {
    match rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        // Links and devices hold no `user.` attributes.
        Err(Errno::PERM) if name.starts_with(b"user.") => Ok(()),
        Err(e) => Err(fail("set attribute of", path, e)),
    }
}

pub fn chown(path: &Path, owner: Owner) -> Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| fail("chown", path, e))
}

/// Sets the permission bits. `path` must not be a symbolic link.
pub fn chmod(path: &Path, mode: u32) -> Result<()> {
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(|e| fail("chmod", path, e))
}

pub fn set_mtime(path: &Path, time: Time) -> Result<()> {
    rustix::fs::utimensat(CWD, path, &times(time), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| fail("set time of", path, e))
}

fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: mtime.timespec(),
    }
}

/// As [`set_attrs`], for a regular file that is open.
pub fn set_file_attrs(file: &std::fs::File, path: &Path, attrs: &Attrs) -> Result<()> {
    let Owner { uid, gid } = attrs.owner;
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|e| fail("chown", path, e))?;
    for (name, value) in &attrs.xattrs {
        set_xattr(path, name, value)?;
    }
    rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(attrs.mode & 0o7777))
        .map_err(|e| fail("chmod", path, e))?;
    rustix::fs::futimens(file, &times(attrs.mtime)).map_err(|e| fail("set time of", path, e))
}

/// As [`set_file_attrs`], for a file that has its owner and mode.
pub fn set_file_rest(file: &std::fs::File, path: &Path, attrs: &Attrs) -> Result<()> {
    for (name, value) in &attrs.xattrs {
        set_xattr(path, name, value)?;
    }
    rustix::fs::futimens(file, &times(attrs.mtime)).map_err(|e| fail("set time of", path, e))
}

/// Gives a new file everything but its content. Owner comes before mode, since a change of owner drops setuid.
pub fn set_attrs(path: &Path, kind: FileType, attrs: &Attrs) -> Result<()> {
    chown(path, attrs.owner)?;
    for (name, value) in &attrs.xattrs {
        set_xattr(path, name, value)?;
    }
    if kind != FileType::Symlink {
        chmod(path, attrs.mode)?;
    }
    set_mtime(path, attrs.mtime)
}

pub fn mkdir(path: &Path) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)).map_err(|e| fail("make directory", path, e))
}

pub fn symlink(target: &[u8], path: &Path) -> Result<()> {
    rustix::fs::symlink(target, path).map_err(|e| fail("make symbolic link", path, e))
}

pub fn mknod(path: &Path, kind: FileType, rdev: (u32, u32)) -> Result<()> {
    use rustix::fs::FileType as T;
    let kind = match kind {
        FileType::Char => T::CharacterDevice,
        FileType::Block => T::BlockDevice,
        FileType::Fifo => T::Fifo,
        FileType::Socket => T::Socket,
        FileType::File | FileType::Dir | FileType::Symlink => T::RegularFile,
    };
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), rustix::fs::makedev(rdev.0, rdev.1))
        .map_err(|e| fail("make special file", path, e))
}

/// Makes overlayfs' mark for a removed path.
pub fn whiteout(path: &Path) -> Result<()> {
    mknod(path, FileType::Char, (0, 0))
}

/// Removes whatever is at `path`, with all below; nothing there is no error.
pub fn remove_all(path: &Path) -> Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(fail("remove", path, e)),
    }
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fail("remove", path, e)),
        _ => Ok(()),
    }
}

/// `root` with a clean path below it.
pub fn below(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

/// Copies the content of a regular file into a new one, sharing the blocks where the file system can.
pub fn clone_file(from: &Path, to: &Path) -> Result<()> {
    let source = std::fs::File::open(from).map_err(|e| fail("open", from, e))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let target = rustix::fs::open(to, flags, Mode::from_raw_mode(0o600))
        .map(std::fs::File::from)
        .map_err(|e| fail("create", to, e))?;
    fsutil::copy::copy_content(&source, &target).map_err(|e| fail("copy", from, e))?;
    Ok(())
}

/// Gives `to` the attributes of `from`.
pub fn copy_attrs(from: &Path, to: &Path) -> Result<()> {
    let Some(meta) = lstat(from)? else { return Err(fail("stat", from, Errno::NOENT)) };
    set_attrs(to, meta.file_type, &Attrs::of(&meta, xattrs(from)?))
}

/// Makes a hard link; `false` where the file can take no more.
pub fn link(from: &Path, to: &Path) -> Result<bool> {
    match rustix::fs::link(from, to) {
        Ok(()) => Ok(true),
        Err(Errno::MLINK | Errno::XDEV) => Ok(false),
        Err(e) => Err(fail("link", from, e)),
    }
}

/// Compares two regular files of one size byte by byte.
pub fn is_same_content(a: &Path, b: &Path) -> Result<bool> {
    use std::io::{BufRead as _, BufReader};
    let open = |path: &Path| {
        std::fs::File::open(path)
            .map(|f| BufReader::with_capacity(64 << 10, f))
            .map_err(|e| fail("open", path, e))
    };
    let (mut left, mut right) = (open(a)?, open(b)?);
    loop {
        let (x, y) = (
            left.fill_buf().map_err(|e| fail("read", a, e))?,
            right.fill_buf().map_err(|e| fail("read", b, e))?,
        );
        let n = x.len().min(y.len());
        if n == 0 {
            return Ok(x.len() == y.len());
        }
        if x[..n] != y[..n] {
            return Ok(false);
        }
        left.consume(n);
        right.consume(n);
    }
}
