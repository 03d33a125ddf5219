//! One more process in a container that runs: a guest.
//!
//! The supervisor of the container forks a supervisor for each guest, which is born into the container's pid namespace
//! and then goes into the others. The kernel kills it with the container's first process.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use errdefs::{Result, ResultExt};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::ThreadNameSpaceType;

use super::Ground;
use super::clone::{Side, clone};
use super::emulator::Emulator;
use super::exec::NoExec;
use super::init::{self, Program, check};
use super::supervisor::{Child, Duties, resolve_user};
use super::terminal::Terminal;
use crate::cgroup::Group;
use crate::wire::{self, Progress, Report};
use crate::{Exit, Network, Process, Spec};

/// The container that guests come into.
pub(super) struct Host<'a> {
    pub spec: &'a Spec,
    pub ground: &'a Ground,
    pub group: &'a Group,
    pub emulator: Option<&'a Emulator>,
    /// Its first process.
    pub container: &'a OwnedFd,
    /// What only the container's own supervisor may hold open.
    pub close: [RawFd; 2],
}

/// The guests of one container.
pub(super) struct Guests<'a> {
    host: Host<'a>,
    supervisors: Vec<Pid>,
}

impl<'a> Guests<'a> {
    pub fn new(host: Host<'a>) -> Self {
        Guests { host, supervisors: Vec::new() }
    }

    /// Starts a guest. What becomes of it is told on its own socket, the first of `fds`.
    pub fn invite(&mut self, fds: Vec<OwnedFd>) {
        self.supervisors
            .retain(|&pid| matches!(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)));
        // SAFETY: a supervisor has one thread.
        match unsafe { libc::fork() } {
            0 => {
                for fd in self.host.close {
                    // SAFETY: the owners are in the frames of the supervisor that this process was forked from, and
                    // are neither used nor dropped here.
                    unsafe { libc::close(fd) };
                }
                supervise(fds, &self.host);
                // SAFETY: always safe. What the other supervisor does at its exit is not for this process to do.
                unsafe { libc::_exit(0) }
            }
            -1 => super::tell_fork_failed(fds),
            pid => self.supervisors.extend(Pid::from_raw(pid)),
        }
    }
}

fn supervise(mut fds: Vec<OwnedFd>, host: &Host<'_>) {
    if fds.len() < 2 {
        return;
    }
    let engine = fds.remove(0);
    let process = fds.remove(0);
    let report = match run(&engine, process, fds, host) {
        Ok(exit) => Report::Exited(exit),
        Err(e) => Report::Failed((&e).into()),
    };
    // An engine that is gone needs no report.
    let _ = wire::send(&engine, &report, &[]);
}

fn run(engine: &OwnedFd, process: OwnedFd, stdio: Vec<OwnedFd>, host: &Host<'_>) -> Result<Exit> {
    let process: Process = wire::from_memfd(process).context("failed to read the request")?;
    // From now on children are born there.
    go_into(host.container, ThreadNameSpaceType::PROCESS_ID)?;
    let (progress, theirs) = wire::pair().context("failed to make a socket")?;
    // SAFETY: a supervisor has one thread.
    let side = unsafe { clone(0, host.group.v2_dir()) }.context("failed to start a process")?;
    let child = match side {
        Side::Parent { pid, pidfd } => Child::new(pid, pidfd),
        Side::Child => {
            drop(progress);
            init::finish(enter(&process, stdio, &theirs, host), &theirs)
        }
    };
    drop((theirs, stdio));
    child.attend(engine, progress, Duties { enter: &mut drop, gauge: None, hooks: None })
}

fn enter(process: &Process, stdio: Vec<OwnedFd>, progress: &OwnedFd, host: &Host<'_>) -> Result<NoExec> {
    init::die_with_supervisor(progress).context("failed to bind to the supervisor")?;
    check(rustix::process::setsid().map(drop), "failed to start a session")?;
    host.group.join().context("failed to join the cgroup")?;
    go_into(host.container, namespaces(host))?;
    init::new_keyring();
    // The root of the mount namespace is that of the container.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())
        .map_err(std::io::Error::from)
        .context("failed to open the root")?;
    let name = if process.user.is_empty() { &host.spec.process.user } else { &process.user };
    let user = resolve_user(root.as_fd(), name)?;
    let stdio = match process.tty {
        Some(size) => {
            let terminal = Terminal::open(root.as_fd(), size).context("failed to open a terminal")?;
            wire::send(progress, &Progress::Terminal, &[terminal.master.as_fd()])
                .context("failed to hand over the terminal")?;
            vec![terminal.slave]
        }
        None => stdio,
    };
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    let Host { spec, group, emulator, ground, .. } = *host;
    let (stdio, user) = (&stdio, &user);
    init::become_program(Program { process, cwd, stdio, user, spec, group, emulator, ground, hooks: None })
}

/// Those of the container beside its pid namespace.
fn namespaces(host: &Host<'_>) -> ThreadNameSpaceType {
    use ThreadNameSpaceType as Type;
    let mut types = Type::MOUNT | Type::INTER_PROCESS_COMMUNICATION | Type::HOST_NAME_AND_NIS_DOMAIN_NAME;
    types.set(Type::NETWORK, host.spec.network == Network::None || host.spec.namespace.is_some());
    types.set(Type::CONTROL_GROUP, host.group.v2_dir().is_some());
    types
}

fn go_into(container: &OwnedFd, namespaces: ThreadNameSpaceType) -> Result<()> {
    let gone = rustix::thread::move_into_thread_name_spaces(container.as_fd(), namespaces);
    check(gone, "failed to go into the container")
}
