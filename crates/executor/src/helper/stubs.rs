//! What a mount leaves in the root below it: an empty file or directory for it to stand on. None of that belongs into
//! the layer that a step makes.
//!
//! The rules are BuildKit's, so that layers come out alike: mount points of the step's own mounts and of the network
//! files are cleared, those of `/proc`, `/dev` and `/sys` stay; the directory above keeps its times over the removal.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps};

use super::places;

/// Resolved paths that were not there before the mounts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stubs(Vec<PathBuf>);

impl Stubs {
    /// To be called before anything is mounted on `root`. `recursive` counts missing parents too.
    pub fn plan<'a>(
        root: BorrowedFd<'_>,
        targets: impl IntoIterator<Item = &'a Path>,
        recursive: bool,
    ) -> Stubs {
        let mut stubs = Vec::new();
        for target in targets {
            // A path that leads nowhere fails when it is mounted on, with a better message.
            let Ok(resolved) = places::resolve(root, target) else { continue };
            let depth = if recursive { usize::MAX } else { 1 };
            let missing = resolved.ancestors().take_while(|p| matches!(places::kind(root, p), Ok(None)));
            stubs.extend(missing.take(depth).map(Path::to_owned));
        }
        Stubs(stubs)
    }

    /// To be called when the mounts are gone. What the step put content into stays.
    pub fn clear(self, root: BorrowedFd<'_>) {
        for stub in &self.0 {
            // What cannot be removed stays, and shows in the layer: no reason to fail a step that succeeded.
            let _ = remove_if_empty(root, stub);
        }
    }
}

fn remove_if_empty(root: BorrowedFd<'_>, stub: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (stub.parent(), stub.file_name()) else { return Ok(()) };
    // The step may have put a link on the way: nothing is followed.
    let parent = places::open(root, parent, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let times = rustix::fs::fstat(&parent)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?,
        _ if stat.st_size == 0 => rustix::fs::unlinkat(&parent, name, AtFlags::empty())?,
        _ => return Ok(()),
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: times.st_atime, tv_nsec: times.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: times.st_mtime, tv_nsec: times.st_mtime_nsec as _ },
    };
    Ok(rustix::fs::futimens(&parent, &times)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn check(recursive: bool, left: &[&str]) {
        let dir = tempfile::tempdir().expect("tempdir");
        let at = |p: &str| dir.path().join(p);
        fs::create_dir(at("etc")).expect("mkdir");
        fs::write(at("etc/hosts"), "").expect("write");
        let root = fs::File::open(dir.path()).expect("open");
        let targets = ["/etc/hosts", "/etc/resolv.conf", "/a/b/c", "/used", "/x/y"].map(Path::new);
        let stubs = Stubs::plan(root.as_fd(), targets, recursive);
        fs::create_dir_all(at("a/b/c")).expect("mkdir");
        fs::create_dir_all(at("x/y")).expect("mkdir");
        fs::write(at("x/z"), "").expect("write");
        fs::write(at("used"), "content").expect("write");
        fs::write(at("etc/resolv.conf"), "").expect("write");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        fs::File::open(at("etc")).and_then(|f| f.set_modified(time)).expect("utimes");
        stubs.clear(root.as_fd());
        assert_eq!(fs::metadata(at("etc")).and_then(|m| m.modified()).expect("stat"), time);
        for path in ["etc/hosts", "etc/resolv.conf", "a/b/c", "a/b", "a", "used", "x/y", "x"] {
            assert_eq!(at(path).exists(), left.contains(&path), "{path}, recursive: {recursive}");
        }
    }

    #[test]
    fn only_what_was_made_and_is_empty_goes() {
        check(false, &["etc/hosts", "a/b", "a", "used", "x"]);
        check(true, &["etc/hosts", "used", "x"]);
    }
}
