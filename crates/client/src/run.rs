//! Containers of images in an engine's own store. BuildKit has none.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use errdefs::{Error, Result};
use proto::kiln as pb;
use proto::kiln::containers_client::ContainersClient;
use proto::kiln::run_input::Input;
use proto::kiln::run_output::Output;
use session::grpcerr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Client;

/// Messages to a container that wait to be sent.
const INPUT_QUEUE: usize = 16;

/// One run of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRequest {
    /// By name, or by the beginning of a digest.
    pub image: String,
    /// As `linux/arm64`. Empty: the engine's.
    pub platform: String,
    /// In place of the image's command, unless empty.
    pub command: Vec<String>,
    /// In place of the image's entrypoint; empty for none at all.
    pub entrypoint: Option<String>,
    /// `NAME=value`, over the image's.
    pub env: Vec<String>,
    /// Empty: the image's.
    pub workdir: String,
    /// Empty: the image's.
    pub user: String,
    pub mounts: Vec<BindMount>,
    /// There will be input.
    pub stdin: bool,
    /// A terminal of this size becomes stdin, stdout and stderr.
    pub tty: Option<WindowSize>,
    pub network: RunNetwork,
    /// The root is read-only.
    pub readonly: bool,
    /// Empty: the engine chooses.
    pub hostname: String,
    /// Names and addresses for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
}

/// A folder or file of the host that shows in the container. Both paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    pub source: PathBuf,
    pub target: PathBuf,
    pub readonly: bool,
}

/// Characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunNetwork {
    /// The engine's choice.
    #[default]
    Default,
    Host,
    None,
}

/// What happens in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// The program runs.
    Started,
    /// One piece of input may be sent.
    StdinWanted,
    Stdout(Bytes),
    Stderr(Bytes),
    /// The last event.
    Exited(RunExit),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunExit {
    /// 128 and the number of the signal when a signal ended it.
    pub code: u32,
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for lack of memory.
    pub out_of_memory: bool,
}

/// A container. Dropping it kills the container.
pub struct Run {
    events: Streaming<pb::RunOutput>,
    input: RunInput,
}

/// Reaches into a container. Once that has ended, nothing is sent.
#[derive(Clone)]
pub struct RunInput(mpsc::Sender<pb::RunInput>);

impl Client {
    /// Runs a container. What keeps it from running is told by [`Run::next`].
    pub async fn run_container(&self, request: &RunRequest) -> Result<Run> {
        let (sender, messages) = mpsc::channel(INPUT_QUEUE);
        let input = RunInput(sender);
        input.send(Input::Start(to_wire(request))).await;
        let mut client = proto::sized!(ContainersClient::new(self.channel()));
        let answer = client.run(ReceiverStream::new(messages)).await;
        Ok(Run { events: answer.map_err(|e| self.only_kiln(e))?.into_inner(), input })
    }
}

impl Run {
    pub fn input(&self) -> RunInput {
        self.input.clone()
    }

    /// The next event. May be dropped and called again.
    pub async fn next(&mut self) -> Result<RunEvent> {
        loop {
            let message = self.events.message().await.map_err(grpcerr::from_status)?;
            let message = message.ok_or_else(|| Error::environment("the engine went away"))?;
            // An event of a kind that is not known here is passed over.
            if let Some(output) = message.output {
                return Ok(event(output));
            }
        }
    }
}

impl RunInput {
    /// Gives a piece of input, when it is wanted. An empty one is the end.
    pub async fn stdin(&self, piece: Bytes) {
        self.send(Input::Stdin(piece)).await;
    }

    /// Sends a signal, by its number, to the first process.
    pub async fn signal(&self, signal: i32) {
        self.send(Input::Signal(signal)).await;
    }

    pub async fn resize(&self, size: WindowSize) {
        self.send(Input::Resize(window_size(size))).await;
    }

    async fn send(&self, input: Input) {
        let _has_ended = self.0.send(pb::RunInput { input: Some(input) }).await;
    }
}

fn event(output: Output) -> RunEvent {
    match output {
        Output::Started(_) => RunEvent::Started,
        Output::StdinWanted(_) => RunEvent::StdinWanted,
        Output::Stdout(chunk) => RunEvent::Stdout(chunk),
        Output::Stderr(chunk) => RunEvent::Stderr(chunk),
        Output::Exited(exit) => RunEvent::Exited(RunExit {
            code: exit.code,
            signal: Some(exit.signal).filter(|signal| *signal != 0),
            out_of_memory: exit.out_of_memory,
        }),
    }
}

fn to_wire(request: &RunRequest) -> pb::RunRequest {
    let bind = |mount: &BindMount| pb::BindMount {
        source: mount.source.as_os_str().as_bytes().to_vec(),
        target: mount.target.as_os_str().as_bytes().to_vec(),
        readonly: mount.readonly,
    };
    let host = |(host, ip): &(String, String)| pb::ExtraHost { host: host.clone(), ip: ip.clone() };
    let network = match request.network {
        RunNetwork::Default => pb::RunNetwork::Default,
        RunNetwork::Host => pb::RunNetwork::Host,
        RunNetwork::None => pb::RunNetwork::None,
    };
    pb::RunRequest {
        image: request.image.clone(),
        platform: request.platform.clone(),
        command: request.command.clone(),
        entrypoint: request.entrypoint.clone(),
        env: request.env.clone(),
        workdir: request.workdir.clone(),
        user: request.user.clone(),
        mounts: request.mounts.iter().map(bind).collect(),
        stdin: request.stdin,
        tty: request.tty.map(window_size),
        network: network.into(),
        readonly: request.readonly,
        hostname: request.hostname.clone(),
        extra_hosts: request.extra_hosts.iter().map(host).collect(),
    }
}

fn window_size(size: WindowSize) -> pb::WindowSize {
    pb::WindowSize { rows: size.rows.into(), columns: size.columns.into() }
}
