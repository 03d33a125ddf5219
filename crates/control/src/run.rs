//! The Containers service: tries an image, for as long as the call lasts.

use bytes::Bytes;
use engine::{Engine, Exit, Output, Remote, RunRequest, Running, Stdin, Stream, WinSize};
use errdefs::{Class, Code, Error, Result};
use futures_util::{FutureExt, StreamExt};
use proto::kiln::containers_server::Containers;
use proto::kiln::run_input::Input;
use proto::kiln::run_output::Output as Message;
use proto::kiln::{Exited, RunInput, RunOutput, Started, StdinWanted};
use session::grpcerr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use crate::convert;

/// Pieces of output on their way to the client. When it is full, the program waits.
const OUTPUT_QUEUE: usize = 16;

type Outbox = mpsc::Sender<Result<RunOutput, Status>>;

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
}

#[tonic::async_trait]
impl Containers for Service {
    type RunStream = ReceiverStream<Result<RunOutput, Status>>;

    async fn run(&self, request: Request<Streaming<RunInput>>) -> Result<Response<Self::RunStream>, Status> {
        own_user_only(request.extensions().get()).map_err(|e| grpcerr::to_status(&e))?;
        let engine = self.engine.clone();
        let (outbox, messages) = mpsc::channel(OUTPUT_QUEUE);
        tokio::spawn(async move {
            let gone = outbox.clone();
            let end = tokio::select! {
                end = run(&engine, request.into_inner(), &outbox) => end,
                // What runs is dropped, and so killed.
                () = gone.closed() => return,
            };
            let last = end.map(|exit| message(Message::Exited(exited(exit))));
            let _nobody_listens = outbox.send(last.map_err(|e| grpcerr::to_status(&e))).await;
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// A container may show any folder of the engine's user, so only that user runs one.
fn own_user_only(peer: Option<&UdsConnectInfo>) -> Result<()> {
    let uid = peer.and_then(|peer| peer.peer_cred).map(|cred| cred.uid());
    let own = rustix::process::geteuid().as_raw();
    if uid == Some(own) {
        return Ok(());
    }
    let who = uid.map_or("someone unknown".to_owned(), |uid| format!("user {uid}"));
    let message = format!("{who} may not run containers: the engine belongs to user {own}");
    Err(Error::new(Class::User, Code::PermissionDenied, message)
        .hint("start an engine of your own, without `--host`"))
}

async fn run(engine: &Engine, mut inputs: Streaming<RunInput>, outbox: &Outbox) -> Result<Exit> {
    let mut running = engine.run_container(first(&mut inputs).await?, output(outbox.clone())).await?;
    let _seen_by_wait = outbox.send(Ok(message(Message::Started(Started {})))).await;
    let (pieces, input) = mpsc::channel(1);
    let feeding = feed(running.take_stdin(), input, outbox);
    let obeying = obey(running.remote(), inputs, pieces);
    wait(&mut running, feeding, obeying).await
}

/// Waits for the end of the program, whatever becomes of its input.
async fn wait(
    running: &mut Running,
    feeding: impl Future<Output = ()>,
    obeying: impl Future<Output = Result<()>>,
) -> Result<Exit> {
    let aside = async { tokio::try_join!(feeding.map(Ok), obeying) };
    tokio::select! {
        exit = running.wait() => return exit,
        obeyed = aside => drop(obeyed?),
    }
    running.wait().await
}

async fn first(inputs: &mut Streaming<RunInput>) -> Result<RunRequest> {
    match inputs.message().await.map_err(grpcerr::from_status)?.and_then(|m| m.input) {
        Some(Input::Start(start)) => convert::run_request(start),
        _ => Err(Error::user("a call of Run begins with a request")),
    }
}

/// Sends output on. A client that does not take it stops the program; one that is gone stops nothing.
fn output(outbox: Outbox) -> Output {
    Box::new(move |stream, chunk: Bytes| {
        let message = Ok(message(match stream {
            Stream::Stdout => Message::Stdout(chunk),
            Stream::Stderr => Message::Stderr(chunk),
        }));
        if let Err(mpsc::error::TrySendError::Full(message)) = outbox.try_send(message) {
            let _nobody_listens = tokio::task::block_in_place(|| outbox.blocking_send(message));
        }
    })
}

/// Asks for input piece by piece, and passes it on.
async fn feed(stdin: Option<Stdin>, mut pieces: mpsc::Receiver<Bytes>, outbox: &Outbox) {
    let Some(mut stdin) = stdin else { return };
    loop {
        let wanted = Ok(message(Message::StdinWanted(StdinWanted {})));
        if outbox.send(wanted).await.is_err() {
            return;
        }
        match pieces.recv().await {
            Some(piece) if !piece.is_empty() && stdin.write_all(&piece).await => {}
            _ => return,
        }
    }
}

/// Does what the client says. Input never holds up what comes after it, since there is one piece of it at most.
async fn obey(remote: Remote, mut inputs: Streaming<RunInput>, pieces: mpsc::Sender<Bytes>) -> Result<()> {
    while let Some(next) = inputs.next().await {
        match next.map_err(grpcerr::from_status)?.input {
            Some(Input::Stdin(piece)) => {
                // What nobody asked for, or nobody reads any more, is dropped.
                let _ = pieces.try_send(piece);
            }
            Some(Input::Resize(size)) => {
                let size = convert::window_size(size);
                // A program that has closed its terminal does not care.
                let _ = remote.resize(WinSize { rows: size.rows, cols: size.cols });
            }
            Some(Input::Signal(signal)) => remote.signal(signal),
            Some(Input::Start(_)) => return Err(Error::user("a call of Run has one request")),
            None => {}
        }
    }
    Ok(())
}

fn message(output: Message) -> RunOutput {
    RunOutput { output: Some(output) }
}

fn exited(exit: Exit) -> Exited {
    Exited { code: exit.code, signal: exit.signal.unwrap_or(0), out_of_memory: exit.oom }
}
