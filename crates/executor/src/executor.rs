//! The engine's side: starts the helper and asks it for containers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Error, Result, ResultExt};
use meter::Usage;
use tokio_util::sync::CancellationToken;

use crate::alive::Alive;
use crate::cgroup::{self, Layout};
use crate::container::Container;
use crate::hosts::{Dns, NetFiles};
use crate::io::Streams;
use crate::wire::{self, Job};
use crate::{Exit, Io, Network, Process, Spec};

/// What the helper finds in place of the name of its program.
pub(crate) const HELPER_NAME: &str = "kiln-executor";

/// How containers are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder for the executor alone; made when missing.
    pub state_dir: PathBuf,
    /// The cgroup under which every container gets one of its own, when its spec names no parent.
    pub cgroup_parent: String,
    /// Whether nobody else makes cgroups under that parent. Then what is found there at the start is of an engine that
    /// died: it is killed and removed. The parent itself goes with the executor.
    pub owns_cgroup_parent: bool,
    /// Where the unified cgroup hierarchy is mounted. `None`: as `/proc/self/mountinfo` tells, version 1 included.
    pub cgroup_mount: Option<PathBuf>,
    pub dns: Dns,
    /// A program whose `main` begins with [`crate::entry`]: this very program, unless a test says otherwise.
    pub helper: PathBuf,
}

impl Options {
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Options {
            state_dir: state_dir.into(),
            cgroup_parent: "kiln".into(),
            owns_cgroup_parent: false,
            cgroup_mount: None,
            dns: Dns::default(),
            helper: "/proc/self/exe".into(),
        }
    }
}

/// Runs containers through a helper process. Containers live on without it, each as long as its own handle; when the
/// engine dies, in whatever way, all are killed.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    options: Options,
    stage: PathBuf,
    alive: Alive,
    helper: Mutex<Helper>,
}

/// A running helper. It ends when the socket is closed.
struct Helper {
    socket: OwnedFd,
    child: Child,
}

impl Executor {
    /// Starts the helper. Needs no async runtime.
    pub fn start(options: Options) -> Result<Executor> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::unimplemented("running containers without root is not supported yet")
                .hint("start the engine as root"));
        }
        let stage = options.state_dir.join("stage");
        std::fs::create_dir_all(&stage).with_context(|| format!("failed to create `{}`", stage.display()))?;
        let stage =
            stage.canonicalize().with_context(|| format!("failed to resolve `{}`", stage.display()))?;
        let alive = Alive::take(&options.state_dir)?;
        crate::helper::sweep_bundles(&stage);
        if options.owns_cgroup_parent {
            options.sweep_cgroups();
        }
        let helper = Mutex::new(Helper::start(&options, &alive)?);
        Ok(Executor(Arc::new(Inner { options, stage, alive, helper })))
    }

    /// Runs a container to its end. Err is for what kept it from running; a program that fails, or that cannot be
    /// executed, is an [`Exit`]. After `cancel`, comes back with a cancellation once nothing of it runs any more.
    pub async fn run(&self, spec: Spec, io: Io, cancel: CancellationToken) -> Result<Exit> {
        Ok(self.run_metered(spec, io, cancel).await?.0)
    }

    /// The same, with what it used where its spec asks for that.
    pub async fn run_metered(
        &self,
        spec: Spec,
        io: Io,
        cancel: CancellationToken,
    ) -> Result<(Exit, Option<Usage>)> {
        let mut container = self.create(spec, io)?;
        let control = container.control();
        tokio::select! {
            biased;
            exit = container.wait() => return Ok((exit?, container.take_usage())),
            () = cancel.cancelled() => control.kill(),
        }
        // Whatever it says now, the caller no longer wants it; but its root must be free before the caller goes on.
        let _ = container.wait().await;
        Err(Error::canceled())
    }

    /// Starts a container: the handle kills it when dropped.
    pub async fn spawn(&self, spec: Spec, io: Io) -> Result<Container> {
        let mut container = self.create(spec, io)?;
        container.started().await?;
        Ok(container)
    }

    fn create(&self, spec: Spec, io: Io) -> Result<Container> {
        check(&spec)?;
        let id = spec.id.clone();
        self.request(spec, io).with_context(|| format!("failed to start container `{id}`"))
    }

    fn request(&self, spec: Spec, io: Io) -> Result<Container> {
        let Inner { options, stage, .. } = &*self.0;
        let tty = spec.process.tty.is_some();
        let job = wire::to_memfd(&Job {
            net_files: NetFiles::new(&spec, &options.dns),
            stage: stage.clone(),
            cgroup_parent: options.cgroup_parent.clone(),
            spec,
        })?;
        let streams = Streams::open(io, tty)?;
        let (socket, supervisor) = wire::pair()?;
        let fds: Vec<_> = [supervisor.as_fd(), job.as_fd()].into_iter().chain(streams.theirs()).collect();
        self.send(&fds)?;
        Container::new(socket, streams)
    }

    /// Sends a request; a helper that somebody killed is replaced.
    fn send(&self, fds: &[BorrowedFd<'_>]) -> Result<()> {
        // The lock guards no invariant that a panic could break.
        let mut helper = self.0.helper.lock().unwrap_or_else(PoisonError::into_inner);
        if wire::send(&helper.socket, &wire::Start, fds).is_ok() {
            return Ok(());
        }
        tracing::warn!("the container helper died; starting another");
        *helper = Helper::start(&self.0.options, &self.0.alive)?;
        wire::send(&helper.socket, &wire::Start, fds).context("failed to reach the container helper")
    }
}

impl Options {
    fn sweep_cgroups(&self) {
        let layout = self.cgroup_mount.clone().map_or_else(Layout::detect, Layout::V2);
        cgroup::sweep(&layout, Path::new(self.cgroup_parent.trim_start_matches('/')));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.options.owns_cgroup_parent {
            // The helper first: it makes no container any more when it has ended.
            self.helper.get_mut().unwrap_or_else(PoisonError::into_inner).end();
            self.options.sweep_cgroups();
        }
    }
}

impl Helper {
    fn start(options: &Options, alive: &Alive) -> Result<Helper> {
        let (socket, theirs) = wire::pair().context("failed to make a socket")?;
        let child = Command::new(&options.helper)
            .arg0(HELPER_NAME)
            .args(&options.cgroup_mount)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(alive.share()?)
            .spawn()
            .with_context(|| {
                format!("failed to start the container helper `{}`", options.helper.display())
            })?;
        Ok(Helper { socket, child })
    }
}

impl Helper {
    fn end(&mut self) {
        // Half closed is enough for the helper to end, so that waiting cannot hang.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.end();
    }
}

/// Refuses what no container can be made of.
fn check(spec: &Spec) -> Result<()> {
    let id = &spec.id;
    if id.is_empty() || id.len() > 200 || id.starts_with('.') || id.contains(['/', '\0']) {
        return Err(Error::internal(format!("`{id}` cannot name a container")));
    }
    if let Some(device) = spec.net_devices.first()
        && spec.namespace.is_none()
        && spec.network != Network::None
    {
        let host = &device.host;
        let message =
            format!("the network device `{host}` cannot be given: the step shares the machine's network");
        return Err(Error::user(message).hint("give the step a network of its own: `RUN --network=none`, or start the engine with `--oci-worker-net=bridge`"));
    }
    check_process(&spec.process)
}

pub(crate) fn check_process(process: &Process) -> Result<()> {
    if process.args.is_empty() {
        return Err(Error::user("no command to run"));
    }
    if process.args.iter().chain(&process.env).any(|s| s.contains('\0')) {
        return Err(Error::user("a NUL byte in an argument or in the environment"));
    }
    Ok(())
}
