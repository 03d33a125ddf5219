//! Files of a container, read beside it through a mount that nobody else sees.
//!
//! A path is taken from the root of its mount and never leads out of it; a link that would is an error.

use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use errdefs::{Error, Result, ResultExt};
use frontend::{FileInfo, FileRange};
use fsutil::mount::{Mount, Source};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{FILE_LIMIT, blocking, matches};

pub async fn read_file(source: Source, path: &str, range: Option<FileRange>) -> Result<Bytes> {
    let path = path.to_owned();
    blocking(move || {
        let root = mount(&source)?;
        let opened = open(root.as_fd(), &path, OFlags::RDONLY | OFlags::NONBLOCK);
        let mut file = std::fs::File::from(opened.map_err(|e| failed("open", &path, e))?);
        if !file.metadata().is_ok_and(|m| m.is_file()) {
            return Err(Error::user(format!("read {path}: not a regular file")));
        }
        let range = range.unwrap_or(FileRange { offset: 0, length: FILE_LIMIT });
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(range.offset))
            .and_then(|_| file.take(range.length.min(FILE_LIMIT)).read_to_end(&mut bytes))
            .with_context(|| format!("read {path}"))?;
        Ok(Bytes::from(bytes))
    })
    .await
}

pub async fn read_dir(source: Source, path: &str, include: &str) -> Result<Vec<FileInfo>> {
    let (path, include) = (path.to_owned(), include.to_owned());
    blocking(move || {
        let root = mount(&source)?;
        let dir = open(root.as_fd(), &path, OFlags::RDONLY | OFlags::DIRECTORY);
        let dir = dir.map_err(|e| failed("open", &path, e))?;
        let read = Dir::read_from(&dir).map_err(|e| failed("read", &path, e))?;
        let mut entries = Vec::new();
        for entry in read {
            let entry = entry.map_err(|e| failed("read", &path, e))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") || !matches(&include, name.as_bytes())? {
                continue;
            }
            entries.push(lstat(dir.as_fd(), name).map_err(|e| failed("lstat", &path, e))?);
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    })
    .await
}

/// The stat of what a path leads to; of the link where it leads out of the mount.
pub async fn stat_file(source: Source, path: &str) -> Result<FileInfo> {
    let path = path.to_owned();
    blocking(move || {
        let root = mount(&source)?;
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let at = match open(root.as_fd(), &path, OFlags::PATH) {
            Err(Errno::XDEV) => open(root.as_fd(), &path, OFlags::PATH | OFlags::NOFOLLOW),
            other => other,
        };
        let at = at.map_err(|e| failed("stat", &path, e))?;
        let stat = rustix::fs::fstat(&at).map_err(|e| failed("stat", &path, e))?;
        let link = rustix::fs::readlinkat(&at, "", Vec::new()).ok().map(|link| link.into_bytes());
        Ok(info(&name, &stat, link.filter(|_| is_link(&stat))))
    })
    .await
}

/// What a container writes shows as one more layer.
fn mount(source: &Source) -> Result<OwnedFd> {
    let source = match source {
        Source::Overlay { lower, upper: Some(upper) } => {
            let layers = std::iter::once(&upper.dir).chain(lower).cloned();
            Source::Overlay { lower: layers.collect(), upper: None }
        }
        other => other.clone(),
    };
    Mount::new(source, "/").readonly(true).detached()
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "." } else { path };
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), inside)
}

fn failed(verb: &str, path: &str, e: Errno) -> Error {
    match e {
        Errno::XDEV => Error::user(format!("{verb} {path}: path escapes from parent")),
        Errno::NOENT | Errno::NOTDIR => super::missing(verb, path),
        e => Error::from(io::Error::from(e)).context(format!("{verb} {path}")),
    }
}

fn lstat(dir: BorrowedFd<'_>, name: &OsStr) -> Result<FileInfo, Errno> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let link = match is_link(&stat) {
        true => Some(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes()),
        false => None,
    };
    Ok(info(&name.to_string_lossy(), &stat, link))
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// The size of a directory is that of its file system's own, and not told.
fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn info(name: &str, stat: &Stat, link: Option<Vec<u8>>) -> FileInfo {
    FileInfo {
        path: name.to_owned(),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if is_dir(stat) { 0 } else { stat.st_size.try_into().unwrap_or(0) },
        mtime_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64),
        linkname: link.map(|l| String::from_utf8_lossy(&l).into_owned()).unwrap_or_default(),
    }
}
