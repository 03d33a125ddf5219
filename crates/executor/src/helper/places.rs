//! Paths inside a container's root, before anything runs there.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where `path` leads when `root` is `/`: relative to `root`, free of links and dots. What is missing on the way is
/// taken as it is named, so that a dangling link leads to where its target should be made.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &Path) -> io::Result<PathBuf> {
    let mut ahead: VecDeque<OsString> = parts(path).collect();
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(&part);
        let Ok(target) = rustix::fs::readlinkat(root, &done, Vec::new()) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        done.pop();
        if target.is_absolute() {
            done.clear();
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(part);
        }
    }
    Ok(done)
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Opens a resolved path; `""` is the root itself.
pub(super) fn open(root: BorrowedFd<'_>, resolved: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if resolved.as_os_str().is_empty() { Path::new(".") } else { resolved };
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    Ok(rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// What stands at a resolved path.
pub(super) fn kind(root: BorrowedFd<'_>, resolved: &Path) -> io::Result<Option<FileType>> {
    if resolved.as_os_str().is_empty() {
        return Ok(Some(FileType::Directory));
    }
    match rustix::fs::statat(root, resolved, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Whether a resolved path is that of a directory.
pub(super) fn is_dir(root: BorrowedFd<'_>, resolved: &Path) -> bool {
    kind(root, resolved).is_ok_and(|kind| kind == Some(FileType::Directory))
}

/// Makes the directory at a resolved path, and those above it, where missing. They get the owner, if one is given.
pub(super) fn make_dirs(root: BorrowedFd<'_>, resolved: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    if is_dir(root, resolved) {
        return Ok(());
    }
    let mut dir = PathBuf::new();
    for part in resolved {
        dir.push(part);
        match rustix::fs::mkdirat(root, &dir, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => {}
            other => {
                other?;
                if let Some((uid, gid)) = owner {
                    rustix::fs::chownat(root, &dir, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                }
            }
        }
    }
    Ok(())
}

/// Opens the place for a mount on `target`, and makes it where missing: a directory, or an empty file for a mount that
/// is not a directory.
pub(super) fn mount_point(root: BorrowedFd<'_>, target: &Path, is_dir: bool) -> io::Result<OwnedFd> {
    let resolved = resolve(root, target)?;
    if kind(root, &resolved)?.is_none() {
        if is_dir {
            make_dirs(root, &resolved, None)?;
        } else {
            make_dirs(root, resolved.parent().unwrap_or(Path::new("")), None)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(root, &resolved, flags, Mode::from_raw_mode(0o755))?;
        }
    }
    open(root, &resolved, OFlags::PATH)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().expect("tempdir");
        let at = |p: &str| dir.path().join(p);
        std::fs::create_dir_all(at("a/b")).expect("mkdir");
        symlink("/a/b", at("abs")).expect("symlink");
        symlink("../../../../a", at("a/up")).expect("symlink");
        symlink("../run/x/conf", at("a/dangling")).expect("symlink");
        symlink("loop", at("loop")).expect("symlink");
        let root = std::fs::File::open(dir.path()).expect("open");
        let check = |path: &str, expected: &str| {
            assert_eq!(resolve(root.as_fd(), Path::new(path)).expect(path), Path::new(expected), "{path}");
        };
        check("/", "");
        check("a/./b", "a/b");
        check("/../..", "");
        check("/abs/c", "a/b/c");
        check("/a/up/b", "a/b");
        check("/a/dangling", "run/x/conf");
        check("/missing/../x", "x");
        assert!(resolve(root.as_fd(), Path::new("/loop")).is_err());

        mount_point(root.as_fd(), Path::new("/a/dangling"), false).expect("a file");
        assert!(at("run/x/conf").is_file());
        mount_point(root.as_fd(), Path::new("/abs/d/e"), true).expect("a directory");
        assert!(at("a/b/d/e").is_dir());
    }
}
