//! `clone3(2)`: the one way to make a process in new namespaces with a pidfd at once.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The constant of libc is of a type too narrow for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// What the caller of [`clone`] has become.
pub(super) enum Side {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Forks into new namespaces, given as `CLONE_NEW*` flags, and into a cgroup of version 2.
///
/// # Safety
///
/// The process must have one thread only. Then the child is as whole as its parent, and may allocate.
pub(super) unsafe fn clone(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    // SAFETY: every field is an integer, and zero means "none".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces.cast_unsigned()) | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is valid for its size and outlives the call. Without a stack and CLONE_VM the child runs on a
    // copy of ours, as after fork; the caller vouches for there being no other thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        // SAFETY: the kernel has just put a new descriptor there, and nobody else knows it. A pid fits into 32 bits.
        pid => Ok(Side::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}
