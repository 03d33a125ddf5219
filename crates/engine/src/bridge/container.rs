//! Containers of a frontend.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Code, Error, Result, ResultExt};
use executor::emulation::Emulation;
use executor::{Control, Io, Spec, Tty, WinSize};
use frontend::{
    Container, ContainerMount, ContainerRequest, FileInfo, FileRange, Input, Process, ProcessExit, ProcessIo,
    ProcessRequest, Started, Stdin,
};
use fsutil::mount::{Mount, ONE_FILE, Source};
use llb::SecurityMode;
use network::{Attached, Needs};
use oci::Platform;
use ops::{BuildContext, Prepared, Purpose, Value};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mounted;
use crate::build::Parts;

/// The size of a terminal until its owner says another.
const TERMINAL: WinSize = WinSize { rows: 24, cols: 80 };

/// The exit code of a process that was killed.
const KILLED: u32 = 128 + 9;

/// A container of one build.
pub struct BuildContainer {
    parts: Arc<Parts>,
    context: Arc<BuildContext>,
    request: ContainerRequest,
    /// Held by every process too, so that its files go when nothing uses them any more.
    prepared: Mutex<Option<Arc<Prepared>>>,
    state: Mutex<State>,
    stop: CancellationToken,
    attending: TaskTracker,
    /// Why the first process that did not end well did not.
    failure: Arc<OnceLock<Error>>,
}

enum State {
    Fresh,
    /// The first process was started, and perhaps has ended. All further ones have its network, and these variables for
    /// it.
    Started(Control, Vec<String>),
    /// The first process could not be started.
    Failed,
}

impl BuildContainer {
    /// Mounts the results `inputs`, one for each mount of the request.
    pub async fn new(
        parts: Arc<Parts>,
        context: Arc<BuildContext>,
        request: ContainerRequest,
        inputs: Vec<Value>,
    ) -> Result<Arc<Self>> {
        let number = |(at, ContainerMount { mount, input }): (usize, &ContainerMount)| llb::Mount {
            input: if input.is_some() { at as i64 } else { llb::NONE },
            output: llb::NONE,
            ..mount.clone()
        };
        let mounts: Vec<_> = request.mounts.iter().enumerate().map(number).collect();
        let purpose = Purpose {
            builds: vec![Arc::clone(&context)],
            cwd: "",
            name: "container of a frontend",
            command: String::new(),
        };
        let prepared = ops::prepare_mounts(&parts.ops, purpose, &mounts, &inputs).await?;
        Ok(Arc::new(BuildContainer {
            parts,
            context,
            request,
            prepared: Mutex::new(Some(Arc::new(prepared))),
            state: Mutex::new(State::Fresh),
            stop: CancellationToken::new(),
            attending: TaskTracker::new(),
            failure: Arc::default(),
        }))
    }

    async fn prepared(&self) -> Result<Arc<Prepared>> {
        self.prepared.lock().await.clone().ok_or_else(|| Error::not_found("the container was released"))
    }

    async fn process(&self, request: &ProcessRequest) -> Result<executor::Process> {
        let mut env = request.env.clone();
        ops::default_path(&mut env, self.request.platform.as_ref().unwrap_or(&Platform::host()));
        if request.tty && !env.iter().any(|e| e.starts_with("TERM=")) {
            env.push("TERM=xterm".into());
        }
        env.extend(ops::secret_env(&request.secret_env, &[Arc::clone(&self.context)]).await?);
        Ok(executor::Process {
            args: request.args.clone(),
            env,
            cwd: if request.cwd.is_empty() { "/".into() } else { request.cwd.clone() },
            user: request.user.clone(),
            groups: Vec::new(),
            tty: request.tty.then_some(TERMINAL),
            ulimits: Vec::new(),
        })
    }

    /// What the container has of the network. Behind a proxy, what it fetches is judged, but told nowhere.
    async fn attach(&self, security: SecurityMode) -> Result<Attached> {
        let wanted = &self.request;
        ops::allow(wanted.network, security, &self.context.entitlements)?;
        let needs = Needs {
            network: ops::network(wanted.network),
            hostname: &wanted.hostname,
            privileged: security == SecurityMode::Insecure,
            judge: self.context.judge.get().cloned(),
        };
        self.parts.ops.parts().networks.attach(needs).await.context("failed to set up the network")
    }

    fn spec(
        &self,
        request: &ProcessRequest,
        process: executor::Process,
        prepared: &Prepared,
        attached: &Attached,
    ) -> Result<Spec> {
        let wanted = &self.request;
        let mut mounts = prepared.mounts.clone();
        mounts.extend(wanted.files.iter().map(|(path, data)| memory_file(path, data)));
        let mut spec = Spec {
            process,
            mounts,
            hostname: wanted.hostname.clone(),
            extra_hosts: ops::extra_hosts(&wanted.extra_hosts)?,
            network: ops::network(wanted.network),
            namespace: attached.namespace(),
            trusted: attached.certificate(),
            insecure: request.security == SecurityMode::Insecure,
            readonly_root: prepared.readonly_root,
            remove_stubs_recursive: request.remove_mount_stubs_recursive,
            ..Spec::new(ops::unique_id(), prepared.root.clone(), [""; 0])
        };
        if let Some(platform) = &wanted.platform {
            Emulation::of(platform).equip(&mut spec, platform);
        }
        Ok(spec)
    }

    /// Starts the first process, with which the network ends, or one more.
    async fn launch(
        &self,
        request: &ProcessRequest,
        io: Io,
        prepared: &Prepared,
    ) -> Result<(executor::Container, Attached)> {
        let mut process = self.process(request).await?;
        let mut state = self.state.lock().await;
        match &*state {
            State::Fresh => {
                // Whatever comes of it: a container has one first process.
                *state = State::Failed;
                let attached = self.attach(request.security).await?;
                process.env.extend(attached.env());
                let spec = self.spec(request, process, prepared, &attached)?;
                let container = self.parts.ops.parts().executor.spawn(spec, io).await?;
                *state = State::Started(container.control(), attached.env());
                Ok((container, attached))
            }
            State::Started(control, env) => {
                process.env.extend_from_slice(env);
                let control = control.clone();
                drop(state);
                Ok((control.enter(&process, io).await?, Attached::default()))
            }
            State::Failed => Err(Error::not_found("the container's first process did not start")),
        }
    }
}

/// Only root reads it, as what it holds may be a secret of the build.
fn memory_file(path: &str, data: &Bytes) -> Mount {
    let source = Source::OneFile { data: data.to_vec(), uid: 0, gid: 0, mode: 0o400 };
    let mount = Mount::new(source, path).readonly(true);
    Mount { selector: ONE_FILE.into(), nosuid: true, nodev: true, noexec: true, ..mount }
}

#[async_trait]
impl Container for BuildContainer {
    async fn start(&self, request: ProcessRequest, io: ProcessIo) -> Result<Started> {
        let prepared = self.prepared().await?;
        let (io, written) = open(io, request.tty)?;
        let (container, attached) =
            self.launch(&request, io, &prepared).await.map_err(|e| match self.stop.is_cancelled() {
                // What comes of a start that meets a release is no failure of its own.
                true => Error::canceled(),
                false => e,
            })?;
        let (control, tty) = (container.control(), container.tty());
        let to = match (written, &tty) {
            (Written::Pipe(pipe), _) => Some(To::Pipe(pipe)),
            (Written::Tty, Some(tty)) => Some(To::Tty(tty.clone())),
            _ => None,
        };
        let (ended, end) = watch::channel(None);
        let (stop, failure) = (self.stop.clone(), Arc::clone(&self.failure));
        self.attending.spawn(async move {
            let end = attend(container, stop).await;
            attached.detach().await;
            let error = match &end {
                Ok(exit) => exit.into_error(),
                Err(e) => Some(e.clone()),
            };
            if let Some(error) = error {
                // The first counts.
                let _ = failure.set(error);
            }
            let _nobody_waits = ended.send(Some(end));
            // The last one removes files.
            let _ = tokio::task::spawn_blocking(move || drop(prepared)).await;
        });
        Ok(Started {
            process: Arc::new(BuildProcess { control, tty, end }),
            stdin: to.map(|to| Box::new(to) as Box<dyn Stdin>),
        })
    }

    async fn read_file(&self, mount: usize, path: &str, range: Option<FileRange>) -> Result<Bytes> {
        mounted::read_file(self.source(mount).await?, path, range).await
    }

    async fn read_dir(&self, mount: usize, path: &str, include: &str) -> Result<Vec<FileInfo>> {
        mounted::read_dir(self.source(mount).await?, path, include).await
    }

    async fn stat_file(&self, mount: usize, path: &str) -> Result<FileInfo> {
        mounted::stat_file(self.source(mount).await?, path).await
    }

    async fn release(&self) -> Result<()> {
        self.stop.cancel();
        let prepared = self.prepared.lock().await.take();
        self.attending.close();
        self.attending.wait().await;
        // It removes files. That this fails is nobody's who has released it.
        let _ = tokio::task::spawn_blocking(move || drop(prepared)).await;
        self.failure.get().cloned().map_or(Ok(()), Err)
    }
}

impl BuildContainer {
    async fn source(&self, mount: usize) -> Result<Source> {
        let prepared = self.prepared().await?;
        match prepared.shown.get(mount) {
            Some(Some(source)) => Ok(source.clone()),
            Some(None) => Err(Error::not_found(format!("mountable {mount} not found"))),
            None => Err(Error::user(format!(
                "mount index {mount} is out of bounds ({} available)",
                prepared.shown.len()
            ))),
        }
    }
}

impl Drop for BuildContainer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Where the input of a process is written to.
enum Written {
    No,
    Pipe(pipe::Sender),
    Tty,
}

fn open(io: ProcessIo, tty: bool) -> Result<(Io, Written)> {
    let ProcessIo { stdin, stdout, mut output } = io;
    let (stdin, written) = match stdin {
        Input::None => (None, Written::No),
        Input::Given(fd) => (Some(fd), Written::No),
        Input::Written if tty => (None, Written::Tty),
        Input::Written => {
            let (sender, receiver) = pipe::pipe().context("failed to make a pipe")?;
            let receiver = receiver.into_blocking_fd().context("failed to make a pipe")?;
            (Some(receiver), Written::Pipe(sender))
        }
    };
    let output = Box::new(move |stream: executor::Stream, chunk| output(stream.fd(), chunk));
    Ok((Io { stdin, stdout, output }, written))
}

/// Waits for the end of a process, and brings it about when its container is released.
async fn attend(mut container: executor::Container, stop: CancellationToken) -> Result<ProcessExit> {
    let control = container.control();
    let mut released = false;
    let end = tokio::select! {
        biased;
        end = container.wait() => end,
        () = stop.cancelled() => {
            released = true;
            control.kill();
            container.wait().await
        }
    };
    // A further process is gone with the first, before it is told itself.
    let was_killed = |code| code == KILLED && stop.is_cancelled();
    end.map(|exit| ProcessExit { code: exit.code, released: released || was_killed(exit.code) })
}

struct BuildProcess {
    control: Control,
    tty: Option<Tty>,
    end: watch::Receiver<Option<Result<ProcessExit>>>,
}

#[async_trait]
impl Process for BuildProcess {
    fn signal(&self, signal: i32) {
        // One that has ended takes no notice.
        let _ = self.control.signal(signal);
    }

    fn resize(&self, rows: u16, cols: u16) {
        if let Some(tty) = &self.tty {
            // A program that has closed its terminal does not care.
            let _ = tty.resize(WinSize { rows, cols });
        }
    }

    async fn wait(&self) -> Result<ProcessExit> {
        let mut end = self.end.clone();
        let lost = || Error::internal("a process that nobody attends").with_code(Code::Aborted);
        let ended = end.wait_for(Option::is_some).await.map_err(|_| lost())?;
        ended.clone().unwrap_or_else(|| Err(lost()))
    }
}

enum To {
    Pipe(pipe::Sender),
    Tty(Tty),
}

#[async_trait]
impl Stdin for To {
    async fn write_all(&mut self, bytes: &[u8]) -> bool {
        match self {
            To::Pipe(pipe) => pipe.write_all(bytes).await.is_ok(),
            To::Tty(tty) => tty.write_all(bytes).await.is_ok(),
        }
    }
}
