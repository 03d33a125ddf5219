//! A container that runs, as its owner sees it.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use errdefs::{Error, Result, ResultExt};
use meter::Usage;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::PipeFlags;
use rustix::termios::{LocalModes, SpecialCodeIndex};
use tokio::io::unix::AsyncFd;

use crate::io::{Io, Output, Stream, Streams};
use crate::wire::{self, Report, Request};
use crate::{Exit, Process, WinSize};

/// Longest chunk of output: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// A running container. Dropping it kills everything inside.
pub struct Container {
    socket: Arc<AsyncFd<OwnedFd>>,
    outlets: Vec<Outlet>,
    output: Output,
    state: State,
    tty: Option<Tty>,
    usage: Option<Usage>,
}

enum State {
    Starting,
    Running { pid: i32 },
    Ended(Result<Exit>),
}

/// Sends signals to a container. It can be cloned, and may outlive the container.
#[derive(Clone)]
pub struct Control(Arc<AsyncFd<OwnedFd>>);

/// The caller's side of a container's terminal.
#[derive(Clone)]
pub struct Tty(Arc<AsyncFd<OwnedFd>>);

/// The engine's end of a pipe, or a terminal, that a process writes to.
pub(crate) struct Outlet {
    stream: Stream,
    fd: Arc<AsyncFd<OwnedFd>>,
    buffer: Box<[u8]>,
}

impl Container {
    pub(crate) fn new(socket: OwnedFd, streams: Streams) -> Result<Container> {
        let socket = Arc::new(nonblocking(socket)?);
        let Streams { outlets, output, .. } = streams;
        Ok(Container { socket, outlets, output, state: State::Starting, tty: None, usage: None })
    }

    /// Waits until the program runs. A program that cannot be executed counts as one that ran and failed.
    pub async fn started(&mut self) -> Result<()> {
        while matches!(self.state, State::Starting) {
            self.next().await?;
        }
        match &self.state {
            State::Ended(Err(e)) => Err(e.clone()),
            _ => Ok(()),
        }
    }

    /// Waits for the end, and hands out the output meanwhile. All of it was handed out when this returns, and nothing
    /// of the container runs any more. May be called again after it was dropped half way.
    pub async fn wait(&mut self) -> Result<Exit> {
        loop {
            if let State::Ended(end) = &self.state {
                let end = end.clone();
                self.drain()?;
                return end;
            }
            self.next().await?;
        }
    }

    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.socket))
    }

    /// The terminal, once started, when the spec asked for one.
    pub fn tty(&self) -> Option<Tty> {
        self.tty.clone()
    }

    /// What it used, once it has ended, where its spec asks for that.
    pub fn take_usage(&mut self) -> Option<Usage> {
        self.usage.take()
    }

    /// The first process, as the host counts.
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid } => Some(pid),
            _ => None,
        }
    }

    /// Hands out one chunk, or takes in one report.
    async fn next(&mut self) -> Result<()> {
        let some = self.outlets.len().min(1);
        let (first, second) = self.outlets.split_at_mut(some);
        tokio::select! {
            chunk = next_chunk(first) => self.take_chunk(0, chunk?),
            chunk = next_chunk(second) => self.take_chunk(1, chunk?),
            report = next_report(&self.socket) => self.take_report(report)?,
        }
        Ok(())
    }

    /// An empty chunk is the end of the stream.
    fn take_chunk(&mut self, outlet: usize, chunk: Bytes) {
        if chunk.is_empty() {
            self.outlets.remove(outlet);
        } else {
            (self.output)(self.outlets[outlet].stream, chunk);
        }
    }

    fn take_report(&mut self, report: io::Result<Option<(Report, Vec<OwnedFd>)>>) -> Result<()> {
        self.state = match report {
            Ok(Some((Report::Used(usage), _))) => {
                self.usage = Some(usage);
                return Ok(());
            }
            Ok(Some((Report::Started { pid }, fds))) => {
                if let Some(master) = fds.into_iter().next() {
                    let tty = Tty(Arc::new(nonblocking(master)?));
                    self.outlets.push(Outlet::new(Stream::Stdout, Arc::clone(&tty.0)));
                    self.tty = Some(tty);
                }
                State::Running { pid }
            }
            Ok(Some((Report::Exited(exit), _))) => State::Ended(Ok(exit)),
            Ok(Some((Report::Failed(failure), _))) => State::Ended(Err(failure.into())),
            Ok(None) => State::Ended(Err(Error::environment("the supervisor of the container died"))),
            Err(e) => State::Ended(Err(Error::from(e).context("failed to hear from the container"))),
        };
        Ok(())
    }

    /// All who could write are dead: what can be read without waiting is all there is, even when some stranger still
    /// holds a descriptor.
    fn drain(&mut self) -> Result<()> {
        for outlet in &mut self.outlets {
            while let Some(chunk) = outlet.try_read()?.filter(|chunk| !chunk.is_empty()) {
                (self.output)(outlet.stream, chunk);
            }
        }
        self.outlets.clear();
        Ok(())
    }
}

impl Control {
    /// Sends a signal to the container's first process.
    pub fn signal(&self, signal: i32) -> Result<()> {
        wire::send(self.0.get_ref(), &Request::Signal(signal), &[]).context("failed to signal the container")
    }

    /// Starts one more process in a container that runs: a guest, which sees what the first process sees, and ends with
    /// it at the latest. Dropping the handle kills the guest alone. The first process's user is taken where `process`
    /// names none, and its resource limits hold too.
    pub async fn enter(&self, process: &Process, io: Io) -> Result<Container> {
        crate::executor::check_process(process)?;
        let mut guest = self.send_guest(process, io).context("failed to reach the container")?;
        guest.started().await?;
        Ok(guest)
    }

    fn send_guest(&self, process: &Process, io: Io) -> Result<Container> {
        let job = wire::to_memfd(process)?;
        let streams = Streams::open(io, process.tty.is_some())?;
        let (socket, supervisor) = wire::pair()?;
        let fds: Vec<_> = [supervisor.as_fd(), job.as_fd()].into_iter().chain(streams.theirs()).collect();
        wire::send(self.0.get_ref(), &Request::Enter, &fds)?;
        Container::new(socket, streams)
    }

    /// Kills everything inside. What is left to do is heard from [`Container::wait`].
    pub fn kill(&self) {
        // It fails when the supervisor is gone, and then so is the container.
        let _ = rustix::net::shutdown(self.0.get_ref(), rustix::net::Shutdown::Write);
    }
}

impl Tty {
    pub fn resize(&self, size: WinSize) -> Result<()> {
        let size =
            rustix::termios::Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(self.0.get_ref(), size)
            .map_err(io::Error::from)
            .context("failed to resize the terminal")
    }

    /// What typing `bytes` would make the terminal send: a signal, and to which process group, as the host counts.
    pub fn signal_of(&self, bytes: &[u8]) -> Option<(i32, i32)> {
        let modes = rustix::termios::tcgetattr(self.0.get_ref()).ok()?;
        if !modes.local_modes.contains(LocalModes::ISIG) {
            return None;
        }
        let signals = [(SpecialCodeIndex::VINTR, libc::SIGINT), (SpecialCodeIndex::VQUIT, libc::SIGQUIT)];
        let typed = |(code, _): &(SpecialCodeIndex, i32)| bytes.contains(&modes.special_codes[*code]);
        let (_, signal) = signals.into_iter().find(typed)?;
        let group = rustix::termios::tcgetpgrp(self.0.get_ref()).ok()?;
        Some((signal, group.as_raw_nonzero().get()))
    }

    /// Types `bytes` into the terminal.
    pub async fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let written =
                self.0.async_io(tokio::io::Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)).await;
            bytes = &bytes[written.context("failed to write to the terminal")?..];
        }
        Ok(())
    }
}

impl Outlet {
    fn new(stream: Stream, fd: Arc<AsyncFd<OwnedFd>>) -> Outlet {
        Outlet { stream, fd, buffer: vec![0; CHUNK].into() }
    }

    /// A pipe: our end, and theirs.
    pub(crate) fn pipe(stream: Stream) -> io::Result<(Outlet, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Outlet::new(stream, Arc::new(nonblocking(read)?)), write))
    }

    /// A chunk, an empty one at the end of the stream, or none when one would have to wait.
    fn try_read(&mut self) -> Result<Option<Bytes>> {
        match read(self.fd.get_ref(), &mut self.buffer) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(Error::from(e).context("failed to read output")),
        }
    }
}

/// The next chunk of the outlet in the slice of one; of none, nothing ever comes.
async fn next_chunk(outlets: &mut [Outlet]) -> Result<Bytes> {
    let Some(Outlet { fd, buffer, .. }) = outlets.first_mut() else { return std::future::pending().await };
    loop {
        let mut ready = fd.readable().await.context("failed to read output")?;
        if let Ok(chunk) = ready.try_io(|fd| read(fd.get_ref(), buffer)) {
            return chunk.context("failed to read output");
        }
    }
}

async fn next_report(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
    socket.async_io(tokio::io::Interest::READABLE, |fd| wire::recv(fd, RecvFlags::DONTWAIT)).await
}

fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Bytes> {
    match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buffer)) {
        // A copy, because a log keeps its chunks, and most of them are short.
        Ok(n) => Ok(Bytes::copy_from_slice(&buffer[..n])),
        // So the master side of a terminal says that the other side was closed.
        Err(Errno::IO) => Ok(Bytes::new()),
        Err(e) => Err(e.into()),
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(fd.as_fd())?;
    rustix::fs::fcntl_setfl(fd.as_fd(), flags | OFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` is one open file, by one number, until it is dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
