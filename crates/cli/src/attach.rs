//! Ties our own streams and signals to a container.

use std::io::ErrorKind;

use bytes::Bytes;
use client::{Run, RunEvent, RunExit, RunInput};
use errdefs::{Result, ResultExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::terminal::{self, RawMode};

/// Longest piece of input.
const PIECE: usize = 64 << 10;
/// So many requests to end, and we end, whatever the program does.
const PATIENCE: u32 = 3;

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(RunExit),
    /// The user does not wait any more. The container is killed.
    GivenUp,
    /// Nobody reads our output any more. The container is killed.
    Unheard,
}

/// Stays with a container until it ends. With `raw`, keys go to the container as they are typed.
pub(crate) async fn attach(run: Run, raw: bool) -> Result<Ended> {
    let give_up = CancellationToken::new();
    let (started, is_started) = watch::channel(false);
    let obeying = tokio::spawn(pass_signals_on(signals()?, run.input(), is_started, give_up.clone()));
    let ended = tokio::select! {
        ended = pump(run, raw, started) => ended,
        () = give_up.cancelled() => Ok(Ended::GivenUp),
    };
    obeying.abort();
    ended
}

async fn pump(mut run: Run, raw: bool, started: watch::Sender<bool>) -> Result<Ended> {
    let (wanted, wishes) = mpsc::channel(1);
    let feeding = tokio::spawn(feed(tokio::io::stdin(), wishes, run.input()));
    let _end_with_us = AbortOnDrop(feeding.abort_handle());
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut mode = None;
    loop {
        match run.next().await? {
            RunEvent::Started => {
                // Not sooner: until then Ctrl-C is for us.
                mode = raw.then(RawMode::enter).transpose()?;
                started.send_replace(true);
                // It may have changed since it was asked for.
                run.input().resize(terminal::size()).await;
            }
            // By contract one at a time, so there is room.
            RunEvent::StdinWanted => _ = wanted.try_send(()),
            RunEvent::Stdout(chunk) => {
                // Output may overtake the word of the start.
                started.send_replace(true);
                if !write(&mut stdout, &chunk).await? {
                    return Ok(Ended::Unheard);
                }
            }
            RunEvent::Stderr(chunk) => _ = write(&mut stderr, &chunk).await,
            RunEvent::Exited(exit) => {
                drop(mode);
                return Ok(Ended::Exited(exit));
            }
        }
    }
}

/// False where the reader went away.
async fn write(to: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> Result<bool> {
    let written = async {
        to.write_all(chunk).await?;
        to.flush().await
    };
    match written.await {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.context("failed to write to stdout").map(|()| true),
    }
}

/// Reads as much input as is wanted. An input that cannot be read has ended.
async fn feed(mut from: impl AsyncRead + Unpin, mut wishes: mpsc::Receiver<()>, to: RunInput) {
    let mut buffer = vec![0; PIECE];
    while wishes.recv().await.is_some() {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        to.stdin(Bytes::copy_from_slice(&buffer[..length])).await;
        if length == 0 {
            return;
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The signals that are for the program rather than for us.
fn signals() -> Result<mpsc::Receiver<SignalKind>> {
    let (sender, receiver) = mpsc::channel(16);
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::window_change(),
    ] {
        let listener = signal(kind).context("failed to listen for signals")?;
        tokio::spawn(collect(listener, kind, sender.clone()));
    }
    Ok(receiver)
}

async fn collect(mut listener: Signal, kind: SignalKind, to: mpsc::Sender<SignalKind>) {
    while listener.recv().await.is_some() {
        if to.send(kind).await.is_err() {
            return;
        }
    }
}

async fn pass_signals_on(
    mut signals: mpsc::Receiver<SignalKind>,
    to: RunInput,
    started: watch::Receiver<bool>,
    give_up: CancellationToken,
) {
    let mut patience = PATIENCE;
    while let Some(kind) = signals.recv().await {
        if kind == SignalKind::window_change() {
            to.resize(terminal::size()).await;
            continue;
        }
        if kind == SignalKind::interrupt() || kind == SignalKind::terminate() {
            patience -= 1;
        }
        if patience == 0 || !*started.borrow() {
            return give_up.cancel();
        }
        to.signal(kind.as_raw_value()).await;
    }
}

impl Ended {
    /// The exit code that tells it, as a shell would.
    pub(crate) fn code(self) -> u8 {
        const INTERRUPTED: u8 = 128 + 2;
        const BROKEN_PIPE: u8 = 128 + 13;
        match self {
            Ended::Exited(exit) => u8::try_from(exit.code).unwrap_or(u8::MAX),
            Ended::GivenUp => INTERRUPTED,
            Ended::Unheard => BROKEN_PIPE,
        }
    }
}
