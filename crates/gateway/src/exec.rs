//! ExecProcess: any number of processes over one stream.
//!
//! A process begins with Init and is told of by Started, its output, Exit, the end of each stream, and Done.

use std::collections::HashMap;
use std::sync::Arc;

use ::session::grpcerr;
use bytes::Bytes;
use errdefs::{Code, Error, Result};
use frontend::{Input, Process, ProcessIo, Started, Stdin};
use proto::gateway::exec_message::Input as Message;
use proto::gateway::*;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::session::Session;
use crate::{convert, signal};

/// Messages on their way to the client. When it is full, the process that writes waits.
const OUTPUT_QUEUE: usize = 16;
/// Pieces of input that a process has not read. When it is full, the client waits.
const INPUT_QUEUE: usize = 16;
/// The exit code of a process whose own is not known.
const UNKNOWN_EXIT: u32 = 255;

type Outbox = mpsc::Sender<Result<ExecMessage, Status>>;

/// Serves one stream. What runs in it ends with its containers, not with the stream.
pub fn serve(
    session: Arc<Session>,
    requests: Streaming<ExecMessage>,
) -> ReceiverStream<Result<ExecMessage, Status>> {
    let (outbox, messages) = mpsc::channel(OUTPUT_QUEUE);
    tokio::spawn(async move {
        let mut stream = Stream { session, outbox, processes: HashMap::new(), running: JoinSet::new() };
        let served = stream.serve(requests).await;
        match served {
            // The client says no more; its processes still do.
            Ok(()) => while stream.running.join_next().await.is_some() {},
            Err(e) => {
                let _nobody_listens = stream.outbox.send(Err(grpcerr::to_status(&e))).await;
            }
        }
    });
    ReceiverStream::new(messages)
}

struct Stream {
    session: Arc<Session>,
    outbox: Outbox,
    processes: HashMap<String, Handle>,
    running: JoinSet<()>,
}

/// What a client can do to a process.
struct Handle {
    /// None when it did not start.
    process: Option<Arc<dyn Process>>,
    /// None after its end.
    stdin: Option<mpsc::Sender<Bytes>>,
    reads_input: bool,
}

impl Stream {
    async fn serve(&mut self, mut requests: Streaming<ExecMessage>) -> Result<()> {
        loop {
            let request = tokio::select! {
                request = requests.message() => request.map_err(grpcerr::from_status)?,
                () = self.outbox.closed() => return Err(Error::canceled()),
            };
            let Some(ExecMessage { process_id, input }) = request else { return Ok(()) };
            if process_id.is_empty() {
                return Err(Error::user("ProcessID required"));
            }
            match input {
                Some(Message::Init(init)) => self.init(process_id, init).await?,
                Some(Message::File(file)) => self.file(&process_id, file).await?,
                Some(Message::Resize(size)) => {
                    let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                    if let Some(process) = &self.process(&process_id)?.process {
                        process.resize(side(size.rows), side(size.cols));
                    }
                }
                Some(Message::Signal(named)) => {
                    let number = signal::number(&named.name)
                        .ok_or_else(|| Error::user(format!("Unknown signal {}", named.name)))?;
                    if let Some(process) = &self.process(&process_id)?.process {
                        process.signal(number);
                    }
                }
                Some(Message::Started(_) | Message::Exit(_) | Message::Done(_)) | None => {}
            }
        }
    }

    fn process(&mut self, id: &str) -> Result<&mut Handle> {
        let unknown = || Error::not_found(format!("IO for process {id:?} not found"));
        self.processes.get_mut(id).ok_or_else(unknown)
    }

    async fn file(&mut self, id: &str, file: FdMessage) -> Result<()> {
        let handle = self.process(id)?;
        if file.fd != 0 || !handle.reads_input {
            let message = format!("fd {} unavailable to write", file.fd);
            return Err(Error::user(message).with_code(Code::OutOfRange));
        }
        // What comes after the end of the process, or of its input, is dropped.
        if let Some(stdin) = &handle.stdin
            && !file.data.is_empty()
            && stdin.send(file.data).await.is_err()
        {
            handle.stdin = None;
        }
        if file.eof {
            handle.stdin = None;
        }
        Ok(())
    }

    async fn init(&mut self, id: String, init: InitMessage) -> Result<()> {
        if self.processes.contains_key(&id) {
            return Err(Error::user(format!("Process {id} already exists")).with_code(Code::AlreadyExists));
        }
        let container = self.session.container(&init.container_id)?;
        let (fds, request) = (init.fds.clone(), convert::process_request(init));
        let reads_input = fds.contains(&0);
        // The client hears of the start before it hears of anything else, and what starts may say something at once.
        self.say(&id, Message::Started(StartedMessage {})).await;
        let io = ProcessIo {
            stdin: if reads_input { Input::Written } else { Input::None },
            stdout: None,
            output: output(self.outbox.clone(), id.clone(), fds.clone()),
        };
        let started = match request {
            Ok(request) => container.start(request, io).await,
            Err(e) => Err(e),
        };
        let handle = match &started {
            Ok(started) => Handle { process: Some(Arc::clone(&started.process)), stdin: None, reads_input },
            Err(_) => Handle { process: None, stdin: None, reads_input },
        };
        self.processes.insert(id.clone(), handle);
        let end = match started {
            Ok(Started { process, stdin }) => {
                if let Some(stdin) = stdin {
                    let (pieces, input) = mpsc::channel(INPUT_QUEUE);
                    self.process(&id)?.stdin = Some(pieces);
                    tokio::spawn(feed(stdin, input));
                }
                End::Process(process)
            }
            Err(e) => End::NotStarted(e),
        };
        self.running.spawn(attend(self.outbox.clone(), id, fds, end));
        Ok(())
    }

    async fn say(&self, id: &str, message: Message) {
        let _nobody_listens = self.outbox.send(Ok(about(id, message))).await;
    }
}

enum End {
    Process(Arc<dyn Process>),
    NotStarted(Error),
}

/// Tells of the end of a process.
async fn attend(outbox: Outbox, id: String, fds: Vec<u32>, end: End) {
    let exit = match end {
        End::Process(process) => process.wait().await,
        End::NotStarted(e) => Err(e),
    };
    let ends = fds.into_iter().filter(|fd| *fd != 0);
    let ends = ends.map(|fd| Message::File(FdMessage { fd, eof: true, data: Bytes::new() }));
    let exit = Message::Exit(convert::exit(exit, UNKNOWN_EXIT));
    for message in std::iter::once(exit).chain(ends).chain([Message::Done(DoneMessage {})]) {
        let _nobody_listens = outbox.send(Ok(about(&id, message))).await;
    }
}

/// Sends output on. A client that does not take it stops the process; one that is gone stops nothing.
fn output(outbox: Outbox, id: String, fds: Vec<u32>) -> Box<dyn FnMut(u32, Bytes) + Send> {
    Box::new(move |fd, data| {
        if !fds.contains(&fd) {
            return;
        }
        let file = FdMessage { fd, eof: false, data };
        let message = Ok(about(&id, Message::File(file)));
        if let Err(mpsc::error::TrySendError::Full(message)) = outbox.try_send(message) {
            tokio::task::block_in_place(|| drop(outbox.blocking_send(message)));
        }
    })
}

/// Passes input on, until there is no more or nobody reads it.
async fn feed(mut stdin: Box<dyn Stdin>, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(piece) = pieces.recv().await {
        if !stdin.write_all(&piece).await {
            return;
        }
    }
}

fn about(id: &str, message: Message) -> ExecMessage {
    ExecMessage { process_id: id.to_owned(), input: Some(message) }
}
