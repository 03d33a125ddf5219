//! What the kernel says about a folder and its entries.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::{Errno, Result};

use crate::files::stat::{Kind, Stat};

/// Names in a folder, sorted, each with whether it is a folder itself.
pub(crate) type Names = Vec<(Vec<u8>, bool)>;

/// The names in a folder, sorted, and which of them are folders.
pub(crate) fn names(root: &OwnedFd, path: &[u8]) -> Result<Names> {
    folder(root, path).map(|(_, names)| names)
}

/// The folder at a path, open, with the names in it.
pub(super) fn folder(root: &OwnedFd, path: &[u8]) -> Result<(OwnedFd, Names)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = if path.is_empty() { b"." } else { path };
    let dir = rustix::fs::openat2(root, path, flags, Mode::empty(), inside)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
                stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
            }
            known => known,
        };
        names.push((name.to_bytes().to_vec(), kind == FileType::Directory));
    }
    names.sort_unstable();
    Ok((dir, names))
}

/// One entry as it is to be sent.
pub(super) struct Found {
    pub stat: Stat,
    /// Device and inode, where other names may have the same.
    pub shared_inode: Option<(u64, u64)>,
}

pub(super) fn stat(folder: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Found> {
    let wanted = StatxFlags::BASIC_STATS;
    let found = rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let mut stat = Stat {
        path: path.to_vec(),
        mode: found.stx_mode.into(),
        uid: 0,
        gid: 0,
        size: 0,
        mtime_ns: found.stx_mtime.tv_sec.saturating_mul(1_000_000_000) + i64::from(found.stx_mtime.tv_nsec),
        linkname: Vec::new(),
        dev_major: 0,
        dev_minor: 0,
        xattrs: xattrs(folder, name),
    };
    match stat.kind() {
        // Nobody can do anything with a socket; peers expect to see an empty file.
        Kind::Socket => stat.mode = FileType::RegularFile.as_raw_mode() | stat.mode & 0o7777,
        Kind::File => stat.size = found.stx_size,
        Kind::Symlink => {
            stat.size = found.stx_size;
            stat.linkname = rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes();
        }
        Kind::Char | Kind::Block => {
            (stat.dev_major, stat.dev_minor) = (found.stx_rdev_major, found.stx_rdev_minor);
        }
        Kind::Dir | Kind::Fifo => {}
    }
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    let may_share = found.stx_nlink > 1 && !matches!(stat.kind(), Kind::Dir | Kind::Symlink);
    Ok(Found { stat, shared_inode: may_share.then_some((device, found.stx_ino)) })
}

/// Extended attributes, but for those of a Mac. What cannot be read is left out.
fn xattrs(root: &OwnedFd, path: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    read_xattrs(root.as_fd(), path).unwrap_or_default()
}

fn read_xattrs(folder: BorrowedFd<'_>, name: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    // Before Linux 6.13 there are no calls that take a folder and a name, and an entry that is only seen cannot be asked
    // by descriptor.
    let full = || [format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(), name].concat();
    let names = match names_of_xattrs(folder, name) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let full = full();
            grow(|buffer| rustix::fs::llistxattr(full.as_slice(), buffer))?
        }
        names => names?,
    };
    let mut found = BTreeMap::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty() && !n.starts_with(b"com.apple.")) {
        if let Ok(value) = grow(|buffer| rustix::fs::lgetxattr(full().as_slice(), name, buffer)) {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// listxattrat(2), which saves the way through /proc for each file. Sandboxes may answer PERM for what they do not know.
fn names_of_xattrs(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
    const LISTXATTRAT: libc::c_long = 465;
    static MISSING: AtomicBool = AtomicBool::new(false);
    if MISSING.load(Ordering::Relaxed) {
        return Err(Errno::NOSYS);
    }
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let list = |buffer: &mut [u8]| {
        let (at, flags) = (folder.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW);
        // SAFETY: the name ends with a zero, and the kernel writes no more than the length of the buffer.
        let length = unsafe {
            libc::syscall(LISTXATTRAT, at, name.as_ptr(), flags, buffer.as_mut_ptr(), buffer.len())
        };
        usize::try_from(length).map_err(|_| {
            let e = std::io::Error::last_os_error();
            Errno::from_io_error(&e).unwrap_or(Errno::IO)
        })
    };
    let names = grow(list);
    if names == Err(Errno::NOSYS) {
        MISSING.store(true, Ordering::Relaxed);
    }
    names
}

fn grow(read: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 16, 0),
            Err(e) => return Err(e),
        }
    }
}
