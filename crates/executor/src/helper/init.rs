//! The first process of a container, from its birth in new namespaces until it becomes the program.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use errdefs::{Result, ResultExt};
use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::caps::Caps;
use super::emulator::Emulator;
use super::exec::{self, NoExec};
use super::hooks::Hooks;
use super::root::RootFs;
use super::user::User;
use super::{Ground, places, rlimit};
use crate::cgroup::Group;
use crate::namespace::{self, loopback_up};
use crate::seccomp::Filter;
use crate::wire::{self, Job, Progress};
use crate::{DEFAULT_HOSTNAME, Network, Process, Spec};

/// All that the supervisor has made ready.
pub(super) struct Init<'a> {
    pub job: &'a Job,
    pub user: &'a User,
    pub group: &'a Group,
    pub emulator: Option<&'a Emulator>,
    pub hooks: &'a Hooks<'a>,
    pub ground: &'a Ground,
    /// The root, mounted nowhere yet.
    pub root: OwnedFd,
    /// Stdin, stdout and stderr; none when a terminal takes their place.
    pub stdio: Vec<OwnedFd>,
    /// To the supervisor. Executing the program closes it.
    pub progress: &'a OwnedFd,
}

/// Becomes the program, or exits.
pub(super) fn run(init: Init<'_>) -> ! {
    let progress = init.progress;
    finish(enter(init), progress)
}

/// Tells why there is no program, and exits.
pub(super) fn finish(end: Result<NoExec>, progress: &OwnedFd) -> ! {
    let (code, message) = match end {
        Ok(NoExec { code, message }) => {
            let _ = writeln!(io::stderr(), "{message}");
            (code, Progress::NoExec)
        }
        Err(e) => (1, Progress::Failed((&e).into())),
    };
    // Without a supervisor there is nobody to tell.
    let _ = wire::send(progress, &message, &[]);
    // SAFETY: always safe. What the supervisor does at its exit is not for its child to do.
    unsafe { libc::_exit(code.cast_signed()) }
}

fn enter(init: Init<'_>) -> Result<NoExec> {
    let Init { job, ground, user, group, emulator, hooks, root, stdio, progress } = init;
    let spec = &job.spec;
    die_with_supervisor(progress).context("failed to bind to the supervisor")?;
    check(rustix::process::setsid().map(drop), "failed to start a session")?;
    group.join().context("failed to join the cgroup")?;
    // It shows a container its own cgroup as the root. With version 1 it fails in hierarchies of uncommon shape, and so
    // BuildKit does without.
    if group.v2_dir().is_some() {
        // SAFETY: this process has one thread, and no part of it relies on its cgroup namespace.
        let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) };
        check(unshared, "failed to make a cgroup namespace")?;
    }
    new_keyring();
    let hostname = if spec.hostname.is_empty() { DEFAULT_HOSTNAME } else { &spec.hostname };
    check(rustix::system::sethostname(hostname.as_bytes()), "failed to set the hostname")?;
    match &spec.namespace {
        Some(path) => join_network(path)
            .with_context(|| format!("failed to enter the network namespace `{}`", path.display()))?,
        None if spec.network == Network::None => loopback_up().context("failed to bring `lo` up")?,
        None => {}
    }

    let root = RootFs::build(job, group, root)?;
    root.add_devices(user)?;
    let cwd = make_cwd(&root, &spec.process)?;
    let stdio = match spec.process.tty {
        Some(size) => {
            let terminal = root.open_terminal(size).context("failed to open a terminal")?;
            wire::send(progress, &Progress::Terminal, &[terminal.master.as_fd()])
                .context("failed to hand over the terminal")?;
            vec![terminal.slave]
        }
        None => stdio,
    };
    hooks.built(progress)?;
    root.enter().context("failed to change the root")?;
    let process = &spec.process;
    become_program(Program {
        process,
        cwd: &cwd,
        stdio: &stdio,
        user,
        spec,
        group,
        emulator,
        ground,
        hooks: Some(hooks),
    })
}

/// What a process that is in its place needs to become the program.
pub(super) struct Program<'a> {
    pub process: &'a Process,
    pub cwd: &'a str,
    pub stdio: &'a [OwnedFd],
    pub user: &'a User,
    /// That of the container.
    pub spec: &'a Spec,
    pub group: &'a Group,
    pub emulator: Option<&'a Emulator>,
    pub ground: &'a Ground,
    /// Of the container, where it begins with this process.
    pub hooks: Option<&'a Hooks<'a>>,
}

/// Comes back only with why the program cannot be executed.
pub(super) fn become_program(program: Program<'_>) -> Result<NoExec> {
    let Program { process, cwd, stdio, user, spec, group, emulator, ground, hooks } = program;
    install_stdio(stdio, process.tty.is_some(), user).context("failed to set up standard streams")?;
    rlimit::apply(&spec.process.ulimits)?;
    if let Some(emulator) = emulator {
        emulator.enter().context("failed to enter the emulator's user namespace")?;
    }
    let caps = Caps::new(spec.insecure, group.guards_devices()).context("failed to read capabilities")?;
    if !spec.insecure {
        filter_calls(&ground.filter).context("failed to filter system calls")?;
    }
    check(rustix::process::chdir(cwd), &format!("failed to change to the working directory `{cwd}`"))?;
    become_user(user, &process.groups, &caps)
        .with_context(|| format!("failed to become user {}", user.uid))?;
    reset_signals();
    close_others_on_exec().context("failed to close descriptors")?;
    hooks.map_or(Ok(()), Hooks::start)?;
    Ok(exec::execute(process, &environment(process, user)))
}

pub(super) fn check(result: rustix::io::Result<()>, context: &str) -> Result<()> {
    result.map_err(io::Error::from).context(context)
}

/// The kernel kills this process when the supervisor dies; it may have died before that was said.
pub(super) fn die_with_supervisor(progress: &OwnedFd) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut poll = [rustix::event::PollFd::new(progress, rustix::event::PollFlags::empty())];
    rustix::event::poll(&mut poll, Some(&rustix::time::Timespec::default()))?;
    if poll[0].revents().contains(rustix::event::PollFlags::HUP) {
        return Err(io::Error::other("the supervisor died"));
    }
    Ok(())
}

/// Before anything is mounted: sysfs shows the network of who mounts it.
fn join_network(path: &Path) -> io::Result<()> {
    let namespace = namespace::open(path)?;
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Keys of the engine's session are none of the container's. Kernels without keys need nothing.
pub(super) fn new_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an unnamed keyring; no memory is touched.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
}

/// Sees to it that the working directory is there, even below a mount, and gives its path.
fn make_cwd(root: &RootFs<'_>, process: &Process) -> Result<String> {
    let cwd = if process.cwd.is_empty() { "/" } else { &process.cwd };
    let resolved = places::resolve(root.fd(), Path::new(cwd))
        .with_context(|| format!("working directory `{cwd}` points to an invalid target"))?;
    // One that cannot be made is told when it cannot be entered.
    let _ = places::make_dirs(root.fd(), &resolved, None);
    Ok(if cwd.starts_with('/') { cwd.to_owned() } else { format!("/{cwd}") })
}

/// Puts the streams where programs look for them, owned by the user, so that `/dev/stdout` can be opened anew.
fn install_stdio(stdio: &[OwnedFd], tty: bool, user: &User) -> io::Result<()> {
    if let ([terminal], true) = (stdio, tty) {
        rustix::process::ioctl_tiocsctty(terminal)?;
    }
    let stream =
        |n: usize| stdio.get(n).or(stdio.last()).ok_or_else(|| io::Error::other("no standard streams"));
    rustix::stdio::dup2_stdin(stream(0)?)?;
    rustix::stdio::dup2_stdout(stream(1)?)?;
    rustix::stdio::dup2_stderr(stream(2)?)?;
    for fd in stdio {
        let stat = rustix::fs::fstat(fd)?;
        let null = rustix::fs::makedev(1, 3);
        if stat.st_uid != user.uid && stat.st_rdev != null {
            // Not every kind of file has an owner that can be changed.
            let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(user.uid)), None);
        }
    }
    Ok(())
}

/// A kernel without filters runs containers without, as BuildKit does.
fn filter_calls(filter: &Filter) -> io::Result<()> {
    match filter.install() {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) || e.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn become_user(user: &User, more: &[u32], caps: &Caps) -> io::Result<()> {
    caps.limit()?;
    // A change of the user would drop what the process is to keep until it executes the program.
    rustix::thread::set_keep_capabilities(true)?;
    let groups: Vec<Gid> = user.groups.iter().chain(more).copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&groups)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_keep_capabilities(false)?;
    caps.apply()?;
    // The change has cleared it.
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// A signal that is ignored, or blocked, stays so over exec: programs expect neither. The C library's own calls leave
/// out the two signals that it keeps for itself.
fn reset_signals() {
    const SIGNALS: libc::c_int = 64;
    const MASK_BYTES: usize = 8;
    // The larger of what both calls read; zeros mean the default action with no flags, and an empty mask.
    let zeros = [0u64; 4];
    for signal in 1..=SIGNALS {
        // SAFETY: the kernel reads an action from `zeros`, and writes nothing. It refuses SIGKILL and SIGSTOP.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                zeros.as_ptr(),
                std::ptr::null_mut::<u64>(),
                MASK_BYTES,
            );
        }
    }
    // SAFETY: the kernel reads a mask from `zeros`, and writes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            zeros.as_ptr(),
            std::ptr::null_mut::<u64>(),
            MASK_BYTES,
        );
    }
}

fn close_others_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: descriptors are only marked, none is closed yet.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Of variables that are given twice the last counts, as in runc: programs do not agree on which one they take.
fn environment(process: &Process, user: &User) -> Vec<String> {
    let name = |e: &str| e.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = Vec::with_capacity(process.env.len() + 1);
    for variable in &process.env {
        match env.iter_mut().find(|e| name(e) == name(variable)) {
            Some(earlier) => earlier.clone_from(variable),
            None => env.push(variable.clone()),
        }
    }
    env.retain(|e| e != "HOME=");
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    env
}
