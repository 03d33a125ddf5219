//! Mounts that are copied from others, and their flags.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use errdefs::{Result, ResultExt};
use fsutil::mount::{Mount, attach, clone_tree};
use rustix::fs::{Mode, OFlags, ResolveFlags};
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

/// Builds a mount that is attached nowhere. `bench` is an empty directory on which nothing that is mounted is seen.
pub(super) fn detached(mount: &Mount, bench: BorrowedFd<'_>) -> Result<OwnedFd> {
    if clean_selector(mount).as_os_str().is_empty() {
        return mount.detached();
    }
    let whole = Mount { selector: "".into(), ..mount.clone() }.detached()?;
    let describe = || format!("failed to mount `{}` of {}", mount.selector.display(), mount.source);
    part_of(&whole, clean_selector(mount), bench).with_context(describe)
}

fn clean_selector(mount: &Mount) -> &Path {
    mount.selector.strip_prefix("/").unwrap_or(&mount.selector)
}

/// Before Linux 6.15 only a mount that has a place can be copied in part, so it is given one for a moment.
fn part_of(whole: &OwnedFd, selector: &Path, bench: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    attach(whole.as_fd(), bench)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let part = rustix::fs::openat2(whole, selector, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Ok(clone_tree(part)?)
}
