//! The nodes and links in a container's `/dev`.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::places;
use super::user::User;
use crate::{Device, DeviceKind};

struct Node {
    path: &'static str,
    kind: FileType,
    major: u32,
    minor: u32,
}

const fn char(path: &'static str, major: u32, minor: u32) -> Node {
    Node { path, kind: FileType::CharacterDevice, major, minor }
}

const NODES: [Node; 6] = [
    char("dev/null", 1, 3),
    char("dev/zero", 1, 5),
    char("dev/full", 1, 7),
    char("dev/random", 1, 8),
    char("dev/urandom", 1, 9),
    char("dev/tty", 5, 0),
];

/// What an insecure step has besides, as in BuildKit; and loop devices.
const INSECURE: [Node; 6] = [
    char("dev/kmsg", 1, 11),
    char("dev/cuse", 10, 203),
    char("dev/fuse", 10, 229),
    char("dev/kvm", 10, 232),
    char("dev/net/tun", 10, 200),
    char("dev/loop-control", 10, 237),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
    ("pts/ptmx", "dev/ptmx"),
];

/// Loop devices beyond the first that is free.
const SPARE_LOOPS: u32 = 7;

/// Fills a `/dev` that was just mounted.
pub(super) fn populate(root: BorrowedFd<'_>, insecure: bool) -> io::Result<()> {
    NODES.iter().try_for_each(|node| make(root, node.path, node.kind, node.major, node.minor))?;
    for (target, path) in LINKS {
        existing_is_fine(rustix::fs::symlinkat(target, root, path))?;
    }
    if Path::new("/proc/kcore").exists() {
        existing_is_fine(rustix::fs::symlinkat("/proc/kcore", root, "dev/core"))?;
    }
    if insecure {
        places::make_dirs(root, Path::new("dev/net"), None)?;
        INSECURE.iter().try_for_each(|node| make(root, node.path, node.kind, node.major, node.minor))?;
        for n in 0..=first_free_loop() + SPARE_LOOPS {
            make(root, &format!("dev/loop{n}"), FileType::BlockDevice, 7, n)?;
        }
    }
    Ok(())
}

fn make(root: BorrowedFd<'_>, path: &str, kind: FileType, major: u32, minor: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    existing_is_fine(rustix::fs::mknodat(root, path, kind, mode, rustix::fs::makedev(major, minor)))?;
    // The umask has cut the mode.
    Ok(rustix::fs::chmodat(root, path, mode, AtFlags::empty())?)
}

/// Makes a node that a container gets, in place of one of that name.
pub(super) fn add(root: BorrowedFd<'_>, device: &Device, user: &User) -> io::Result<()> {
    let dir = device.path.parent().unwrap_or(Path::new("/"));
    let name = device.path.file_name().ok_or_else(|| io::Error::other("the path of a device has no name"))?;
    let dir = places::resolve(root, dir)?;
    places::make_dirs(root, &dir, None)?;
    let dir = places::open(root, &dir, OFlags::PATH | OFlags::DIRECTORY)?;
    match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    rustix::fs::mknodat(&dir, name, kind, mode, rustix::fs::makedev(device.major, device.minor))?;
    let (uid, gid) = (device.uid.unwrap_or(user.uid), device.gid.unwrap_or(user.gid));
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    // The umask has cut the mode.
    Ok(rustix::fs::chmodat(&dir, name, mode, AtFlags::empty())?)
}

/// A mount of the step's own may bring them.
fn existing_is_fine(made: rustix::io::Result<()>) -> io::Result<()> {
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

fn first_free_loop() -> u32 {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
    let Ok(control) = File::options().read(true).write(true).open("/dev/loop-control") else { return 0 };
    // SAFETY: this request takes no argument.
    let free = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&control), LOOP_CTL_GET_FREE) };
    u32::try_from(free).unwrap_or(0)
}
