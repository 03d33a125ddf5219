//! What devices want done around a container: programs that are run at moments of its life (OCI runtime specification,
//! config.md, "POSIX-platform Hooks"), and network interfaces that it has meanwhile.
//!
//! Those of the machine's side are run by the supervisor, those of the container's side by its first process. Each is
//! given the state of the container on its stdin, and finds what the container is in `config.json` of the *bundle*, a
//! folder that is there as long as the container.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cdi::{Hook, Moment};
use errdefs::{Error, Result, ResultExt};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::MemfdFlags;
use serde_json::{Value, json};

use super::links::Links;
use super::user::User;
use crate::Spec;
use crate::wire::{self, Failure, Job, Progress};

/// The version of the specification that states and configurations are of.
const OCI_VERSION: &str = "1.2.0";
/// How long after another it is looked whether a hook has ended.
const STEP: Duration = Duration::from_millis(2);
/// What a hook said last is told up to so many bytes.
const SAID: usize = 2048;
/// Of hooks that bring no variables.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The hooks of one container.
pub(super) struct Hooks<'a> {
    spec: &'a Spec,
    bundle: Option<Bundle>,
    /// What is lent to the container meanwhile, by the supervisor.
    links: RefCell<Links>,
}

/// A folder of the machine that is gone with the value.
struct Bundle(PathBuf);

impl<'a> Hooks<'a> {
    pub fn prepare(job: &'a Job, user: &User) -> Result<Self> {
        let bundle = match job.spec.hooks.is_empty() {
            true => None,
            false => Some(Bundle::make(job, user).context("failed to write a bundle for hooks")?),
        };
        Ok(Hooks { spec: &job.spec, bundle, links: RefCell::default() })
    }

    fn at(&self, moments: &[Moment]) -> impl Iterator<Item = &'a Hook> {
        self.spec.hooks.iter().filter(|hook| moments.contains(&hook.at))
    }

    fn state(&self, status: &str, pid: Option<u32>) -> Value {
        let bundle = self.bundle.as_ref().map(|bundle| &bundle.0);
        let mut state = json!({
            "ociVersion": OCI_VERSION, "id": self.spec.id, "status": status, "bundle": bundle, "annotations": {},
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        state
    }

    /// The supervisor's answer to [`Hooks::built`]. Hooks end when the engine wants the container no more.
    pub fn create(&self, pid: u32, engine: &OwnedFd) -> Verdict {
        let state = self.state("creating", Some(pid));
        let mut hooks = self.at(&[Moment::Prestart, Moment::CreateRuntime]);
        let given = self.links.borrow_mut().give(&self.spec.net_devices, pid);
        let done = given.and_then(|()| hooks.try_for_each(|hook| run(hook, &state, Some(engine))));
        Verdict(done.err().map(|e| (&e).into()))
    }

    /// To be called by the first process before it goes into its root: runs all hooks of that moment, there and here.
    pub fn built(&self, progress: &OwnedFd) -> Result<()> {
        let for_supervisor = self.at(&[Moment::Prestart, Moment::CreateRuntime]).next().is_some();
        if for_supervisor || !self.spec.net_devices.is_empty() {
            wire::send(progress, &Progress::Built, &[]).context("failed to reach the supervisor")?;
            let verdict = wire::recv::<Verdict>(progress, rustix::net::RecvFlags::empty());
            match verdict.context("failed to hear from the supervisor")? {
                Some((Verdict(None), _)) => {}
                Some((Verdict(Some(failure)), _)) => return Err(failure.into()),
                None => return Err(Error::environment("the supervisor of the container died")),
            }
        }
        let state = self.state("creating", Some(std::process::id()));
        self.at(&[Moment::CreateContainer]).try_for_each(|hook| run(hook, &state, None))
    }

    /// To be called by the first process when it is all that its program will be.
    pub fn start(&self) -> Result<()> {
        let state = self.state("created", Some(std::process::id()));
        self.at(&[Moment::StartContainer]).try_for_each(|hook| run(hook, &state, None))
    }

    /// For the supervisor, when the program runs.
    pub fn started(&self, pid: u32, engine: &OwnedFd) -> Result<()> {
        let state = self.state("running", Some(pid));
        self.at(&[Moment::Poststart]).try_for_each(|hook| run(hook, &state, Some(engine)))
    }

    /// For the supervisor, when all is over: no failure changes that.
    pub fn stopped(&self) {
        if let Err(e) = self.links.borrow_mut().take_back() {
            self.warn(&e);
        }
        let state = self.state("stopped", None);
        for hook in self.at(&[Moment::Poststop]) {
            if let Err(e) = run(hook, &state, None) {
                self.warn(&e);
            }
        }
    }

    /// Into the log of the engine.
    fn warn(&self, e: &Error) {
        let _ = writeln!(io::stderr(), "container {}: {e}", self.spec.id);
    }
}

/// Whether a container may go on, or why not.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Verdict(Option<Failure>);

impl Bundle {
    fn make(job: &Job, user: &User) -> io::Result<Self> {
        let bundle = Bundle(job.stage.with_file_name("bundles").join(&job.spec.id));
        fs::create_dir_all(&bundle.0)?;
        fs::write(bundle.0.join("config.json"), config(job, user).to_string())?;
        Ok(bundle)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What hooks look for: the root, and who the process is.
fn config(job: &Job, user: &User) -> Value {
    let Job { spec, stage, .. } = job;
    json!({
        "ociVersion": OCI_VERSION,
        "root": {"path": stage.join("root"), "readonly": spec.readonly_root},
        "hostname": spec.hostname,
        "process": {
            "args": spec.process.args,
            "env": spec.process.env,
            "cwd": spec.process.cwd,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        },
        "linux": {},
    })
}

/// Runs one to its end, or until whoever is on the other side of `watched` hangs up.
fn run(hook: &Hook, state: &Value, watched: Option<&OwnedFd>) -> Result<()> {
    let failed = || format!("the {} hook `{}` of a device failed", hook.at.name(), hook.path.display());
    let mut said = fs::File::from(
        rustix::fs::memfd_create("kiln-hook", MemfdFlags::CLOEXEC)
            .map_err(io::Error::from)
            .with_context(failed)?,
    );
    let status = execute(hook, state, &said, watched).with_context(failed)?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let said = tail(&mut said).with_context(failed)?;
            Err(Error::environment(format!("{}: {status}{said}", failed())))
        }
        None => Err(Error::environment(format!("{}: it did not end in time", failed()))),
    }
}

fn execute(
    hook: &Hook,
    state: &Value,
    said: &fs::File,
    watched: Option<&OwnedFd>,
) -> Result<Option<std::process::ExitStatus>> {
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|variable| variable.split_once('=')));
    if hook.env.is_empty() {
        command.env("PATH", PATH);
    }
    command.stdin(Stdio::from(wire::to_memfd(state)?)).stdout(said.try_clone()?).stderr(said.try_clone()?);
    let mut child = command.spawn()?;
    let deadline = hook.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if watched.is_some_and(hung_up) || deadline.is_some_and(|deadline| deadline < Instant::now()) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(STEP);
    }
}

fn hung_up(socket: &OwnedFd) -> bool {
    let mut poll = [PollFd::new(socket, PollFlags::RDHUP)];
    // What cannot be asked is taken for open: the container's end is heard elsewhere.
    let asked = rustix::event::poll(&mut poll, Some(&rustix::time::Timespec::default()));
    asked.is_ok() && !poll[0].revents().is_empty()
}

/// What was said, behind a colon.
fn tail(said: &mut fs::File) -> io::Result<String> {
    said.rewind()?;
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SAID)..]).trim().to_owned();
    Ok(if text.is_empty() { text } else { format!(": {text}") })
}

/// Removes bundles that an engine left which died with all its helpers.
pub(crate) fn sweep(stage: &Path) {
    let _none_is_usual = fs::remove_dir_all(stage.with_file_name("bundles"));
}
