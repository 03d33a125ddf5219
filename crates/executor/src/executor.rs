//! The engine's side: starts the helper and asks it for containers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Error, Result, ResultExt};
use rustix::fs::{Mode, OFlags};
use tokio_util::sync::CancellationToken;

use crate::container::{Container, Outlet};
use crate::hosts::{Dns, NetFiles};
use crate::wire::{self, Job};
use crate::{Exit, Io, Spec};

/// What the helper finds in place of the name of its program.
pub(crate) const HELPER_NAME: &str = "kiln-executor";

/// How containers are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder for the executor alone; made when missing.
    pub state_dir: PathBuf,
    /// The cgroup under which every container gets one of its own, when its spec names no parent.
    pub cgroup_parent: String,
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
        let helper = Mutex::new(Helper::start(&options)?);
        Ok(Executor(Arc::new(Inner { options, stage, helper })))
    }

    /// Runs a container to its end. Err is for what kept it from running; a program that fails, or that cannot be
    /// executed, is an [`Exit`]. After `cancel`, comes back with a cancellation once nothing of it runs any more.
    pub async fn run(&self, spec: Spec, io: Io, cancel: CancellationToken) -> Result<Exit> {
        let mut container = self.create(spec, io)?;
        let control = container.control();
        tokio::select! {
            biased;
            exit = container.wait() => return exit,
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
        let (socket, supervisor) = wire::pair()?;
        if tty {
            self.send(&[supervisor.as_fd(), job.as_fd()])?;
            return Container::new(socket, Vec::new(), io.output);
        }
        let stdin = match io.stdin {
            Some(fd) => fd,
            None => rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(std::io::Error::from)?,
        };
        let (outlets, [stdout, stderr]) = Outlet::pipes()?;
        self.send(&[supervisor.as_fd(), job.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        Container::new(socket, outlets, io.output)
    }

    /// Sends a request; a helper that somebody killed is replaced.
    fn send(&self, fds: &[BorrowedFd<'_>]) -> Result<()> {
        // The lock guards no invariant that a panic could break.
        let mut helper = self.0.helper.lock().unwrap_or_else(PoisonError::into_inner);
        if wire::send(&helper.socket, &wire::Start, fds).is_ok() {
            return Ok(());
        }
        tracing::warn!("the container helper died; starting another");
        *helper = Helper::start(&self.0.options)?;
        wire::send(&helper.socket, &wire::Start, fds).context("failed to reach the container helper")
    }
}

impl Helper {
    fn start(options: &Options) -> Result<Helper> {
        let (socket, theirs) = wire::pair().context("failed to make a socket")?;
        let child = Command::new(&options.helper)
            .arg0(HELPER_NAME)
            .args(&options.cgroup_mount)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| {
                format!("failed to start the container helper `{}`", options.helper.display())
            })?;
        Ok(Helper { socket, child })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Half closed is enough for the helper to end, so that waiting cannot hang.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Refuses what no container can be made of.
fn check(spec: &Spec) -> Result<()> {
    if spec.process.args.is_empty() {
        return Err(Error::user("no command to run"));
    }
    let id = &spec.id;
    if id.is_empty() || id.len() > 200 || id.starts_with('.') || id.contains(['/', '\0']) {
        return Err(Error::internal(format!("`{id}` cannot name a container")));
    }
    if spec.process.args.iter().chain(&spec.process.env).any(|s| s.contains('\0')) {
        return Err(Error::user("a NUL byte in an argument or in the environment"));
    }
    Ok(())
}
