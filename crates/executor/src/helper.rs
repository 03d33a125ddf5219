//! The process that makes containers: this program again, with one thread only.
//!
//! A process with threads cannot safely fork and go on working in the child. So the engine starts the helper, and asks
//! it for containers over a socket. For each the helper forks a *supervisor*, which makes the cgroup and the container,
//! waits for its end, and clears up. A supervisor serves one container with plain sequential code; it ends its
//! container when the engine closes its side of the run's socket, by intent or by dying.
//!
//! The program file cannot be overwritten from inside a container through `/proc/self/exe`: some supervisor executes
//! it for as long as any process of a container lives, and the kernel refuses to write to a file that is executed.

mod attach;
mod caps;
mod clone;
mod dev;
mod emulator;
mod exec;
mod gauge;
mod guest;
mod hooks;
mod init;
mod links;
mod places;
mod rlimit;
mod root;
mod stubs;
mod supervisor;
mod terminal;
mod trust;
mod user;

pub(crate) use hooks::sweep as sweep_bundles;

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::RecvFlags;

use crate::cgroup::Layout;
use crate::executor::HELPER_NAME;
use crate::seccomp::Filter;
use crate::wire::{self, Start};

/// Becomes the helper, and never returns, when this process was started as one; returns at once otherwise. Must be
/// called before the process has a second thread: as the first thing in `main`.
pub fn entry() {
    if std::env::args_os().next().is_some_and(|name| name == HELPER_NAME) {
        std::process::exit(serve());
    }
}

/// What is the same for every container, found out once.
struct Ground {
    layout: Layout,
    filter: Filter,
}

fn serve() -> i32 {
    // A session of its own: what the terminal sends to the engine's process group is not for containers. It fails when
    // there is one already.
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    ignore_children(true);
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else { return 1 };
    let ground = Ground { layout: layout(), filter: Filter::usual() };
    loop {
        match wire::recv::<Start>(&socket, RecvFlags::empty()) {
            // The engine is gone. Every supervisor learns that by its own socket.
            Ok(None) => return 0,
            Ok(Some((Start, fds))) => fork_supervisor(&socket, fds, &ground),
            Err(_) => return 1,
        }
    }
}

/// As the engine says, or as it is found.
fn layout() -> Layout {
    std::env::args_os().nth(1).map_or_else(Layout::detect, |mount| Layout::V2(mount.into()))
}

fn fork_supervisor(engine: &OwnedFd, fds: Vec<OwnedFd>, ground: &Ground) {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            ignore_children(false);
            // A supervisor must not keep the engine's socket open, or the helper of a dead engine would never end.
            // SAFETY: the descriptor is not used again in this process, which exits without dropping its owner.
            unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&engine.as_fd())) };
            supervisor::supervise(fds, ground);
            // SAFETY: always safe. The parent's clean-up at exit is not this process's.
            unsafe { libc::_exit(0) }
        }
        -1 => tell_fork_failed(fds),
        _ => {}
    }
}

fn tell_fork_failed(fds: Vec<OwnedFd>) {
    let error = errdefs::Error::from(std::io::Error::last_os_error()).context("failed to start a supervisor");
    if let Some(socket) = fds.first() {
        let _ = wire::send(socket, &wire::Report::Failed((&error).into()), &[]);
    }
}

/// Children that nobody waits for leave no zombies.
fn ignore_children(ignore: bool) {
    let action = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither action runs code.
    unsafe { libc::signal(libc::SIGCHLD, action) };
}
