//! Runs an image of the store in the foreground, to try what was built.
//!
//! [`Engine::run_container`] gives a handle; the container lives as long as that. A task of its own attends to the
//! container, so that its files are removed only when nothing uses them any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use async_trait::async_trait;
use errdefs::{Code, Error, Result, ResultExt};
use executor::emulation::Emulation;
use executor::{Control, Executor, Exit, Io, Output, Spec, Tty, WinSize};
use fsutil::mount::Mount;
use jiff::Timestamp;
use network::{Attached, Needs, Networks};
use oci::{Descriptor, Digest};
use refs::{BlobProvider, BlobStream, ImmutableRef, LayerBlob, MutableRef, Refs};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::Engine;
use crate::images::{self, Found};
use crate::invocation::{self, RunRequest};
use crate::signals;

/// A container that runs. Dropping it kills the container.
pub struct Running {
    remote: Remote,
    stdin: Option<Stdin>,
    end: JoinHandle<Result<Exit>>,
    /// The engine itself ends.
    engine_ends: CancellationToken,
    _stop: DropGuard,
}

/// Sends signals to a container, and the size of its terminal.
#[derive(Clone)]
pub struct Remote {
    control: Control,
    pid: Option<i32>,
    tty: Option<Tty>,
    /// The signal that the container was killed in place of; 0 for none.
    ended_by: Arc<AtomicI32>,
}

/// Takes the input of a container. Dropping it is the end of the input.
pub struct Stdin {
    to: StdinTo,
    remote: Remote,
}

enum StdinTo {
    Pipe(pipe::Sender),
    Tty(Tty),
}

/// A container that was not started yet.
struct Prepared {
    spec: Spec,
    /// What the container writes, and throws away.
    top: MutableRef,
    attached: Attached,
}

impl Engine {
    /// Starts a container. `output` may block, and then stops the program: the runtime must have several threads.
    pub async fn run_container(&self, request: RunRequest, output: Output) -> Result<Running> {
        let prepared = prepare(self.refs(), &self.parts().ops.parts().networks, &request).await?;
        let (sender, stdin) = match request.stdin && request.tty.is_none() {
            true => {
                let (sender, receiver) = pipe::pipe().context("failed to make a pipe")?;
                (Some(sender), Some(receiver.into_blocking_fd().context("failed to make a pipe")?))
            }
            false => (None, None),
        };
        let engine_ends = self.containers_end().clone();
        let stop = engine_ends.child_token();
        let stop_when_dropped = stop.clone().drop_guard();
        let (started, starting) = oneshot::channel();
        let executor = self.parts().ops.parts().executor.clone();
        let end = tokio::spawn(attend(executor, prepared, Io { stdin, stdout: None, output }, started, stop));
        let Ok(remote) = starting.await else {
            let end = end.await.map_err(lost)?;
            return Err(end.err().unwrap_or_else(|| Error::internal("a container that did not start")));
        };
        let to = match (sender, &remote.tty) {
            (Some(pipe), _) => Some(StdinTo::Pipe(pipe)),
            (None, Some(tty)) if request.stdin => Some(StdinTo::Tty(tty.clone())),
            (None, _) => None,
        };
        let stdin = to.map(|to| Stdin { to, remote: remote.clone() });
        Ok(Running { remote, stdin, end, engine_ends, _stop: stop_when_dropped })
    }
}

impl Running {
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// The input, once, if the request said that there will be some.
    pub fn take_stdin(&mut self) -> Option<Stdin> {
        self.stdin.take()
    }

    /// Waits for the end. All output was handed out before.
    pub async fn wait(&mut self) -> Result<Exit> {
        let exit = match (&mut self.end).await.map_err(lost)? {
            Err(e) if e.is_canceled() && self.engine_ends.is_cancelled() => {
                return Err(Error::environment("the engine was stopped").with_code(Code::Unavailable));
            }
            end => end?,
        };
        match self.remote.ended_by.load(Ordering::SeqCst) {
            signal @ 1.. if exit.signal == Some(9) => {
                Ok(Exit { code: 128 + signal.cast_unsigned(), signal: Some(signal), ..exit })
            }
            _ => Ok(exit),
        }
    }
}

impl Remote {
    /// Sends a signal to the first process; one that has ended takes no notice.
    pub fn signal(&self, signal: i32) {
        if !self.end_as_by(signal) {
            let _ = self.control.signal(signal);
        }
    }

    /// Sets the size of the terminal, if there is one.
    pub fn resize(&self, size: WinSize) -> Result<()> {
        self.tty.as_ref().map_or(Ok(()), |tty| tty.resize(size))
    }

    /// Ends the container where the signal would have ended its first process, had the kernel not dropped it.
    fn end_as_by(&self, signal: i32) -> bool {
        let deaf = self.pid.is_some_and(|pid| signals::would_end(pid, signal));
        if deaf {
            self.ended_by.store(signal, Ordering::SeqCst);
            self.control.kill();
        }
        deaf
    }
}

impl Stdin {
    /// Passes input on. False when nobody reads it any more.
    pub async fn write_all(&mut self, bytes: &[u8]) -> bool {
        match &mut self.to {
            StdinTo::Pipe(pipe) => pipe.write_all(bytes).await.is_ok(),
            StdinTo::Tty(tty) => {
                let typed = tty.signal_of(bytes);
                let written = tty.write_all(bytes).await.is_ok();
                // The kernel sends it too, but the first process may be deaf to it.
                if let Some((signal, group)) = typed
                    && self.remote.pid == Some(group)
                {
                    self.remote.end_as_by(signal);
                }
                written
            }
        }
    }
}

fn lost(e: tokio::task::JoinError) -> Error {
    Error::internal(format!("the container's task ended unexpectedly: {e}"))
}

/// Looks after a container from its start to its end, and removes its files then.
async fn attend(
    executor: Executor,
    prepared: Prepared,
    io: Io,
    started: oneshot::Sender<Remote>,
    stop: CancellationToken,
) -> Result<Exit> {
    let Prepared { spec, top, attached } = prepared;
    let run = async {
        let mut container = executor.spawn(spec, io).await?;
        let control = container.control();
        let remote = Remote {
            control: control.clone(),
            pid: container.pid(),
            tty: container.tty(),
            ended_by: Arc::default(),
        };
        // Nobody waits for a run that is not wanted any more, and then `stop` says so too.
        let _ = started.send(remote);
        tokio::select! {
            biased;
            exit = container.wait() => return exit,
            () = stop.cancelled() => control.kill(),
        }
        let _ = container.wait().await;
        Err(Error::canceled())
    };
    let end = run.await;
    attached.detach().await;
    let removed = tokio::task::spawn_blocking(move || drop(top)).await;
    removed.map_err(|e| Error::internal(format!("the container's files are not removed: {e}")))?;
    end
}

async fn prepare(refs: &Refs, networks: &Networks, request: &RunRequest) -> Result<Prepared> {
    let found = images::find(refs, &request.image, request.platform.clone()).await?;
    let id = unique_id();
    let hostname = if request.hostname.is_empty() { id.clone() } else { request.hostname.clone() };
    let process = invocation::process(request, &found.config.config, &hostname)?;
    let mounts = invocation::mounts(&request.mounts)?;
    let files = files(refs, &found)?;
    let top = refs.new_mutable(files.as_ref(), format!("container of {}", found.name)).await?;
    if let Some(files) = &files {
        // Unpacked now; the next run finds it so.
        files.persist();
    }
    let root = Mount::new(top.mount_source()?, "/");
    let needs =
        Needs { network: request.network, hostname: &request.hostname, privileged: false, judge: None };
    let attached = networks.attach(needs).await.context("failed to set up the network")?;
    let mut spec = Spec {
        process,
        mounts,
        hostname,
        extra_hosts: request.extra_hosts.clone(),
        network: request.network,
        namespace: attached.namespace(),
        readonly_root: request.readonly,
        ..Spec::new(format!("run-{id}"), root, [""; 0])
    };
    let platform = found.config.platform();
    Emulation::of(&platform).equip(&mut spec, &platform);
    Ok(Prepared { spec, top, attached })
}

/// The files of an image; nothing where it has no layers.
pub fn files(refs: &Refs, image: &Found) -> Result<Option<ImmutableRef>> {
    let (layers, diff_ids) = (&image.manifest.layers, &image.config.rootfs.diff_ids);
    if layers.len() != diff_ids.len() {
        return Err(Error::user(format!(
            "image `{}` is damaged: its manifest has {} layers, its config {}",
            image.name,
            layers.len(),
            diff_ids.len()
        )));
    }
    let provider: Arc<dyn BlobProvider> = Arc::new(StoreOnly { image: image.name.clone() });
    let mut top: Option<ImmutableRef> = None;
    for (descriptor, diff_id) in layers.iter().zip(diff_ids) {
        let blob = LayerBlob { descriptor: descriptor.clone(), diff_id: diff_id.0.clone() };
        let description = format!("layer of {}", image.name);
        top = Some(refs.lazy_layer(top.as_ref(), blob, Arc::clone(&provider), description));
    }
    Ok(top)
}

/// Twelve digits, as Docker's containers have them.
fn unique_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    Digest::of(format!("{} {n} {}", std::process::id(), Timestamp::now())).hex()[..12].to_owned()
}

/// An image of the store has all its blobs there, so that nobody fetches any.
struct StoreOnly {
    image: String,
}

#[async_trait]
impl BlobProvider for StoreOnly {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        let message = format!("layer {} of image `{}` is missing in the store", blob.digest, self.image);
        Err(Error::environment(message).with_code(Code::DataLoss).hint("build the image again"))
    }
}
