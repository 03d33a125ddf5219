//! Mounts that are copied from others, and their flags.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fsutil::mount::{attach, clone_tree};
use rustix::fs::OFlags;
use rustix::mount::MountFlags;

use super::places;

/// What files and directories of ours in a container are: only to be read.
pub(super) const LOCKED: MountFlags =
    MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV).union(MountFlags::RDONLY);

/// A copy of the mount, from `path` down, attached nowhere.
pub(super) fn copy_of(dir: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    Ok(clone_tree(places::open(dir, path, OFlags::PATH)?)?)
}

/// Attaches `mount` on a resolved path that is there.
pub(super) fn attach_at(mount: &OwnedFd, dir: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    Ok(attach(mount.as_fd(), places::open(dir, path, OFlags::PATH)?.as_fd())?)
}

/// Sets the flags of an attached mount. Those of mounts below it stay.
pub(super) fn set_flags(mount: &OwnedFd, flags: MountFlags) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    Ok(rustix::mount::mount_remount(path, MountFlags::BIND | flags, c"")?)
}
