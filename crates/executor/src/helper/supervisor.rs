//! One container from its request to its end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use errdefs::{Error, Result, ResultExt};
use fsutil::mount::{Mount, Source};
use meter::Usage;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Gid, OFlags, Uid};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::time::Timespec;

use super::clone::{Side, clone};
use super::emulator::Emulator;
use super::gauge::Gauge;
use super::guest::{Guests, Host};
use super::hooks::{Hooks, Verdict};
use super::init::{self, Init};
use super::stubs::Stubs;
use super::trust::Trust;
use super::user::{Accounts, User};
use super::{Ground, places};
use crate::cgroup::Group;
use crate::emulation::Machine;
use crate::wire::{self, Job, Progress, Report, Request};
use crate::{Exit, Network, Spec};

/// Serves one request of the engine, whose descriptors are `fds`.
pub(super) fn supervise(mut fds: Vec<OwnedFd>, ground: &Ground) {
    if fds.len() < 2 {
        return;
    }
    let engine = fds.remove(0);
    let job = fds.remove(0);
    let report = match run(&engine, job, fds, ground) {
        Ok((exit, usage)) => {
            if let Some(usage) = usage {
                // It is the end that must be heard.
                let _ = wire::send(&engine, &Report::Used(usage), &[]);
            }
            Report::Exited(exit)
        }
        Err(e) => Report::Failed((&e).into()),
    };
    // An engine that is gone needs no report.
    let _ = wire::send(&engine, &report, &[]);
}

fn run(
    engine: &OwnedFd,
    job: OwnedFd,
    stdio: Vec<OwnedFd>,
    ground: &Ground,
) -> Result<(Exit, Option<Usage>)> {
    let job: Job = wire::from_memfd(job).context("failed to read the request")?;
    let spec = &job.spec;
    let group = Group::create(&ground.layout, &cgroup_path(&job)?, spec)?;
    // Read-only comes last, since mount points may have to be made; but never in somebody's directory that is not to be
    // written.
    let has_upper = matches!(spec.root.source, Source::Overlay { upper: Some(_), .. });
    let readonly = spec.root.readonly && !has_upper;
    let root = Mount { readonly, target: "/".into(), ..spec.root.clone() }.detached()?;
    let stubs = Stubs::plan(root.as_fd(), stub_targets(spec), spec.remove_stubs_recursive);
    let user = resolve_user(root.as_fd(), &spec.process.user)?;
    make_cwd(root.as_fd(), spec, &user)?;
    let trust = match &spec.trusted {
        Some(certificate) => {
            Trust::add(root.as_fd(), certificate).context("failed to add a trusted certificate")?
        }
        None => None,
    };

    let emulator = spec.emulator.as_ref().map(install).transpose()?;
    let hooks = Hooks::prepare(&job, &user)?;
    let (progress, theirs) = wire::pair().context("failed to make a socket")?;
    let namespaces = namespaces(spec);
    // SAFETY: a supervisor has one thread.
    let side = unsafe { clone(namespaces, group.v2_dir()) }.context("failed to start a container")?;
    let child = match side {
        Side::Parent { pid, pidfd } => Child::new(pid, pidfd),
        Side::Child => {
            drop(progress);
            let emulator = emulator.as_ref();
            let (job, user, group, hooks, progress) = (&job, &user, &group, &hooks, &theirs);
            init::run(Init { job, ground, user, group, emulator, hooks, root, stdio, progress })
        }
    };
    drop((theirs, stdio));
    let close = [engine.as_raw_fd(), root.as_raw_fd()];
    let host =
        Host { spec, ground, group: &group, emulator: emulator.as_ref(), container: &child.pidfd, close };
    let mut guests = Guests::new(host);
    let mut gauge = spec.metered.then(|| Gauge::start(&group, spec.namespace.as_deref()));
    let (gauge_now, hooks_now) = (gauge.as_mut(), Some(&hooks));
    let duties = Duties { enter: &mut |fds| guests.invite(fds), gauge: gauge_now, hooks: hooks_now };
    let end = child.attend(engine, progress, duties);
    let usage = gauge.map(Gauge::finish);
    // All processes are dead, and their mounts gone with them: only this descriptor still holds the root.
    stubs.clear(root.as_fd());
    let taken_back = trust.map_or(Ok(()), |trust| trust.take_back(root.as_fd()));
    drop(root);
    hooks.stopped();
    taken_back.context("failed to take a trusted certificate back")?;
    let oom = group.ran_out_of_memory();
    end.map(|exit| (Exit { oom, ..exit }, usage))
}

fn install(emulator: &crate::Emulator) -> Result<Emulator> {
    let crate::Emulator { program, architecture } = emulator;
    let machine = Machine::of(architecture)
        .ok_or_else(|| Error::unimplemented(format!("emulation of {architecture} is not supported")))?;
    Emulator::install(program, &machine)
}

/// As BuildKit forms it. A name of systemd's, `x.slice:prefix:`, would need systemd to make it.
fn cgroup_path(job: &Job) -> Result<PathBuf> {
    let Spec { id, cgroup_parent: parent, .. } = &job.spec;
    if parent.is_empty() {
        return Ok(Path::new(job.cgroup_parent.trim_start_matches('/')).join(id));
    }
    if parent.contains(".slice") && parent.ends_with(':') {
        return Err(Error::unimplemented(format!("cgroup parent `{parent}` is in systemd's notation"))
            .hint("give the path of a cgroup, such as `/my/parent`"));
    }
    if parent.split('/').any(|part| part == "..") {
        return Err(Error::user(format!("cgroup parent `{parent}` leads out of its root")));
    }
    Ok(Path::new(parent.trim_start_matches('/')).join("buildkit").join(id))
}

fn stub_targets(spec: &Spec) -> impl Iterator<Item = &Path> {
    ["/etc/resolv.conf", "/etc/hosts"]
        .map(Path::new)
        .into_iter()
        .chain(spec.mounts.iter().map(|m| m.target.as_path()))
}

pub(super) fn resolve_user(root: BorrowedFd<'_>, user: &str) -> Result<User> {
    let open = |path: &str| -> io::Result<Option<File>> {
        let resolved = places::resolve(root, Path::new(path))?;
        // Anything but a file that can be read is as good as none.
        let file = places::open(root, &resolved, OFlags::RDONLY | OFlags::NONBLOCK).ok().map(File::from);
        Ok(file.filter(|file| file.metadata().is_ok_and(|m| m.is_file())))
    };
    Accounts::read(open)?.resolve(user)
}

/// A working directory that was missing belongs to the user and stays in the layer.
fn make_cwd(root: BorrowedFd<'_>, spec: &Spec, user: &User) -> Result<()> {
    let cwd = Path::new(&spec.process.cwd);
    let owner = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let made =
        places::resolve(root, cwd).and_then(|resolved| places::make_dirs(root, &resolved, Some(owner)));
    made.with_context(|| format!("failed to create working directory `{}`", cwd.display()))
}

fn namespaces(spec: &Spec) -> i32 {
    let own = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    match spec.network {
        Network::None if spec.namespace.is_none() => own | libc::CLONE_NEWNET,
        _ => own,
    }
}

/// The first process of a container.
pub(super) struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

/// What a supervisor does while its child runs.
pub(super) struct Duties<'a, 'g> {
    /// When the engine asks for one more process.
    pub enter: &'a mut dyn FnMut(Vec<OwnedFd>),
    pub gauge: Option<&'a mut Gauge<'g>>,
    pub hooks: Option<&'a Hooks<'g>>,
}

impl Child {
    pub fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Child { pid, pidfd }
    }

    /// Waits for the end, passes on what the engine and the child say meanwhile, and kills the child when the engine
    /// wants it no more.
    pub fn attend(&self, engine: &OwnedFd, progress: OwnedFd, mut duties: Duties<'_, '_>) -> Result<Exit> {
        let mut progress = Some(progress);
        let mut engine_listens = true;
        let mut start = Start::default();
        loop {
            let patience = duties.gauge.as_mut().map(|gauge| gauge.tick());
            let ready = wait_for(&self.pidfd, engine_listens.then_some(engine), progress.as_ref(), patience);
            let [exited, asked, progressed] = match ready {
                Ok(ready) => ready,
                Err(e) => {
                    self.kill();
                    let _ = self.reap();
                    return Err(Error::from(e).context("failed to wait for the container"));
                }
            };
            if asked {
                engine_listens = self.obey(engine, duties.enter);
            }
            if progressed && let Some(socket) = &progress {
                let create = || duties.hooks.map(|hooks| hooks.create(self.pid.cast_unsigned(), engine));
                if !start.hear(socket, create) {
                    progress = None;
                    self.started(&mut start, engine, duties.hooks);
                }
            } else if exited {
                // Whatever it had to say about itself was heard first.
                let exit = self.reap().context("failed to wait for the container")?;
                return start.conclude(exit);
            }
        }
    }

    /// The program runs, or there is none.
    fn started(&self, start: &mut Start, engine: &OwnedFd, hooks: Option<&Hooks<'_>>) {
        if start.failure.is_none() && !start.no_exec {
            let after = hooks.map_or(Ok(()), |hooks| hooks.started(self.pid.cast_unsigned(), engine));
            if let Err(e) = after {
                start.failure = Some(e);
                self.kill();
            }
        }
        start.tell(self.pid, engine);
    }

    /// False once the engine wants the container gone.
    fn obey(&self, engine: &OwnedFd, enter: &mut dyn FnMut(Vec<OwnedFd>)) -> bool {
        match wire::recv::<Request>(engine, RecvFlags::DONTWAIT) {
            Ok(Some((Request::Signal(signal), _))) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    // It may have ended already.
                    let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
                }
                true
            }
            Ok(Some((Request::Enter, fds))) => {
                enter(fds);
                true
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => true,
            Ok(None) | Err(_) => {
                self.kill();
                false
            }
        }
    }

    /// With its first process the kernel kills every process of a pid namespace.
    fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn reap(&self) -> io::Result<Exit> {
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        })?;
        let status = status.ok_or_else(|| io::Error::other("no status"))?;
        let signal = status.terminating_signal();
        let code = signal.map_or(status.exit_status(), |signal| Some(128 + signal)).unwrap_or(255);
        Ok(Exit { code: code.cast_unsigned(), signal, oom: false, started: true })
    }
}

/// What the child said of its start.
#[derive(Default)]
struct Start {
    terminal: Option<OwnedFd>,
    failure: Option<Error>,
    no_exec: bool,
}

impl Start {
    /// Takes in one message. False when there will be no more: the program runs, or the child is dead.
    fn hear(&mut self, socket: &OwnedFd, create: impl FnOnce() -> Option<Verdict>) -> bool {
        match wire::recv::<Progress>(socket, RecvFlags::empty()) {
            Ok(Some((Progress::Built, _))) => {
                // A child that is dead is heard of next.
                let _ = create().map(|verdict| wire::send(socket, &verdict, &[]));
            }
            Ok(Some((Progress::Terminal, mut fds))) => self.terminal = fds.pop(),
            Ok(Some((Progress::NoExec, _))) => self.no_exec = true,
            Ok(Some((Progress::Failed(failure), _))) => self.failure = Some(failure.into()),
            Ok(None) | Err(_) => return false,
        }
        true
    }

    fn tell(&mut self, pid: i32, engine: &OwnedFd) {
        if self.failure.is_none() {
            let terminal = self.terminal.take();
            let fds: Vec<BorrowedFd<'_>> = terminal.iter().map(AsFd::as_fd).collect();
            let _ = wire::send(engine, &Report::Started { pid }, &fds);
        }
    }

    fn conclude(self, exit: Exit) -> Result<Exit> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Exit { started: !self.no_exec, ..exit }),
        }
    }
}

/// Which of the three have something to say; none where patience ends before.
fn wait_for(
    pidfd: &OwnedFd,
    engine: Option<&OwnedFd>,
    progress: Option<&OwnedFd>,
    patience: Option<Duration>,
) -> io::Result<[bool; 3]> {
    let patience = patience.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    let fds = [Some(pidfd), engine, progress];
    let mut polls: Vec<PollFd<'_>> = fds.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    loop {
        match rustix::event::poll(&mut polls, patience.as_ref()) {
            Err(Errno::INTR) => continue,
            other => {
                other?;
                break;
            }
        }
    }
    let mut ready = polls.iter().map(|poll| !poll.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && ready.next().unwrap_or(false)))
}
