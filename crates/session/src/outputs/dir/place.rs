//! Names inside one folder. Every step goes through descriptors and follows no link, so nothing outside is touched,
//! whatever somebody puts into the folder meanwhile.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
};
use rustix::io::Errno;

use crate::files::{Kind, Stat, names_in};

/// A name in an open folder; nothing may be there.
pub(super) struct Place {
    dir: OwnedFd,
    name: Vec<u8>,
}

/// The name of an entry that waits to take its place. It goes when dropped.
pub(super) struct Temporary {
    dir: OwnedFd,
    name: Vec<u8>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After it took its place there is nothing left under this name.
        let _gone = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
    }
}

impl Place {
    /// The place of a clean relative path, whose folders are there.
    pub(super) fn open(root: &OwnedFd, path: &[u8]) -> io::Result<Self> {
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b"."[..], path),
        };
        Ok(Place { dir: open_dir(root, dir)?, name: name.to_vec() })
    }

    /// Creates an empty file that nobody else can read, to be filled.
    pub(super) fn create(&self) -> io::Result<(Temporary, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (temporary, file) = self.temporary(|name| rustix::fs::openat(&self.dir, name, flags, mode))?;
        Ok((temporary, File::from(file)))
    }

    /// Makes an entry under another name and lets it take this place.
    pub(super) fn replace(&self, make: impl Fn(&[u8]) -> rustix::io::Result<()>) -> io::Result<()> {
        let (temporary, ()) = self.temporary(make)?;
        self.put(temporary)
    }

    /// Lets a finished entry take this place, in one step where no folder is in the way.
    pub(super) fn put(&self, temporary: Temporary) -> io::Result<()> {
        let rename = || rustix::fs::renameat(&temporary.dir, &temporary.name, &self.dir, &self.name);
        match rename() {
            Err(Errno::ISDIR) => {
                remove(&self.dir, &self.name)?;
                Ok(rename()?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Makes a folder, unless there is one.
    pub(super) fn make_dir(&self) -> io::Result<()> {
        let make = || rustix::fs::mkdirat(&self.dir, &self.name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) if self.kind()? == FileType::Directory => {
                // It may be closed to us; its own mode is set at the end.
                chmod(&self.dir, &self.name, Mode::RWXU)?;
                Ok(())
            }
            Err(Errno::EXIST) => {
                remove(&self.dir, &self.name)?;
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    pub(super) fn make_symlink(&self, stat: &Stat, name: &[u8]) -> rustix::io::Result<()> {
        rustix::fs::symlinkat(stat.linkname.as_slice(), &self.dir, name)?;
        let times = times(stat);
        rustix::fs::utimensat(&self.dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(super) fn make_node(&self, stat: &Stat, name: &[u8]) -> rustix::io::Result<()> {
        let kind = match stat.kind() {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rustix::fs::makedev(stat.dev_major, stat.dev_minor);
        rustix::fs::mknodat(&self.dir, name, kind, Mode::RUSR | Mode::WUSR, device)?;
        chmod(&self.dir, name, mode(stat))?;
        rustix::fs::utimensat(&self.dir, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(super) fn link_to(&self, other: &Place, name: &[u8]) -> rustix::io::Result<()> {
        rustix::fs::linkat(&self.dir, &self.name, &other.dir, name, AtFlags::empty())
    }

    /// Sets the mode and time of a folder.
    pub(super) fn set_metadata(&self, stat: &Stat) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty())?;
        set_file_metadata(&dir, stat)
    }

    fn kind(&self) -> io::Result<FileType> {
        let found = rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(found.st_mode))
    }

    fn temporary<T>(&self, make: impl Fn(&[u8]) -> rustix::io::Result<T>) -> io::Result<(Temporary, T)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".kiln-{}-{number}", std::process::id()).into_bytes();
            match make(&name) {
                Ok(made) => return Ok((Temporary { dir: self.dir.try_clone()?, name }, made)),
                // Left by a process that had this number before us.
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Sets mode, extended attributes and time. Attributes that are not allowed here are left out.
pub(super) fn set_file_metadata(file: impl AsFd, stat: &Stat) -> io::Result<()> {
    for (name, value) in &stat.xattrs {
        match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
    }
    rustix::fs::fchmod(&file, mode(stat))?;
    Ok(rustix::fs::futimens(&file, &times(stat))?)
}

/// Removes what is below `path` and was not sent.
pub(super) fn remove_others(root: &OwnedFd, path: &[u8], sent: &HashSet<Vec<u8>>) -> io::Result<()> {
    for (name, is_dir) in names_in(root, path)? {
        let child = if path.is_empty() { name } else { [path, b"/", &name].concat() };
        if !sent.contains(&child) {
            remove(root, &child)?;
        } else if is_dir {
            remove_others(root, &child, sent)?;
        }
    }
    Ok(())
}

/// Removes an entry with all that it holds.
fn remove(dir: &OwnedFd, path: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, path, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        removed => return Ok(removed?),
    }
    for (name, _) in names_in(dir, path)? {
        remove(dir, &[path, b"/", &name].concat())?;
    }
    Ok(rustix::fs::unlinkat(dir, path, AtFlags::REMOVEDIR)?)
}

fn open_dir(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), inside)?)
}

/// Changes the mode of what has this name now, and of nothing that it points at.
fn chmod(dir: &OwnedFd, name: &[u8], mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), mode)
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec {
        tv_sec: stat.mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: stat.mtime_ns.rem_euclid(1_000_000_000),
    };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: modified }
}
