//! The events of one build: written once, read by any number of Status calls, each from the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use oci::Digest;
use progress::{Event, Sink, SolveStatus, Vertex};
use tokio::sync::watch;

/// Bytes of output after which one status message ends and the next begins.
const MESSAGE_BYTES: usize = 1 << 20;

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// Vertices that have begun and not ended.
    open: BTreeMap<Digest, Vertex>,
    closed: bool,
}

impl State {
    fn push(&mut self, event: Event) {
        if let Event::Vertex(vertex) = &event {
            if vertex.started.is_some() && vertex.completed.is_none() {
                self.open.insert(vertex.digest.clone(), vertex.clone());
            } else {
                self.open.remove(&vertex.digest);
            }
        }
        self.events.push(event);
    }
}

/// The log of a build.
pub struct BuildLog {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl BuildLog {
    pub fn new() -> Arc<Self> {
        Arc::new(BuildLog { state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// Nothing more comes; readers end when they have read all. What had begun and was dropped where it stood, as the
    /// resolution of a name in a build that was cancelled, is told to be canceled.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let mut open = Vec::from_iter(std::mem::take(&mut state.open).into_values());
        open.sort_by_key(|vertex| vertex.started);
        for vertex in open {
            let error = errdefs::Error::canceled().to_string();
            state.push(Event::Vertex(Vertex { completed: Some(Timestamp::now()), error, ..vertex }));
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// A reader that starts at the first event.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader { log: Arc::clone(self), next: 0, changed: self.changed.subscribe() }
    }

    /// All messages so far, one after the other.
    pub fn messages(&self) -> impl Iterator<Item = SolveStatus> {
        let mut next = 0;
        std::iter::from_fn(move || Some(take(&self.state().events, &mut next)).filter(|m| !m.is_empty()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for BuildLog {
    fn emit(&self, event: Event) {
        let mut state = self.state();
        if !state.closed {
            state.push(event);
            drop(state);
            self.changed.send_replace(());
        }
    }
}

/// Reads a log.
pub struct Reader {
    log: Arc<BuildLog>,
    next: usize,
    changed: watch::Receiver<()>,
}

impl Reader {
    /// The events since the last call, as one message; waits for some. `None` when the build has ended and all is read.
    pub async fn next(&mut self) -> Option<SolveStatus> {
        loop {
            self.changed.mark_unchanged();
            let closed = {
                let state = self.log.state();
                let message = take(&state.events, &mut self.next);
                if !message.is_empty() {
                    return Some(message);
                }
                state.closed
            };
            if closed || self.changed.changed().await.is_err() {
                return None;
            }
        }
    }
}

fn take(events: &[Event], next: &mut usize) -> SolveStatus {
    let mut message = SolveStatus::default();
    let mut bytes = 0;
    for event in &events[*next..] {
        bytes += match event {
            Event::Log(log) => log.data.len(),
            Event::Vertex(_) | Event::Status(_) | Event::Warning(_) => 256,
        };
        if bytes > MESSAGE_BYTES && !message.is_empty() {
            break;
        }
        message.push(event.clone());
        *next += 1;
    }
    message
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oci::Digest;

    use super::*;

    fn line(text: &'static str) -> Event {
        Event::Log(progress::VertexLog {
            vertex: Digest::of("v"),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            stream: 1,
            data: Bytes::from_static(text.as_bytes()),
        })
    }

    #[tokio::test]
    async fn a_late_reader_sees_all_and_ends() {
        let log = BuildLog::new();
        log.emit(line("a"));
        log.emit(line("b"));
        log.close();
        let mut reader = log.reader();
        assert_eq!(reader.next().await.map(|m| m.logs.len()), Some(2));
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn what_never_ended_is_told_to_be_canceled() {
        let log = BuildLog::new();
        let sink: Arc<dyn Sink> = Arc::clone(&log) as _;
        let ended = progress::Step::start(Arc::clone(&sink), "a", "ended");
        let dropped = progress::Step::start(sink, "b", "dropped");
        ended.finish(Ok(())).unwrap();
        drop(dropped);
        log.close();
        let told = log.reader().next().await.unwrap().vertexes;
        let last = |name: &str| told.iter().rfind(|v| v.name == name).unwrap();
        assert_eq!(last("ended").error, "");
        assert_eq!(last("dropped").error, "context canceled");
        assert!(told.iter().all(|v| v.started.is_some()) && last("dropped").completed.is_some());
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes() {
        let log = BuildLog::new();
        let mut reader = log.reader();
        let task = tokio::spawn(async move { reader.next().await.map(|m| m.logs.len()) });
        log.emit(line("a"));
        assert_eq!(task.await.ok().flatten(), Some(1));
    }

    #[tokio::test]
    async fn long_output_is_cut_into_messages() {
        let log = BuildLog::new();
        let big: &'static str = Box::leak("x".repeat(MESSAGE_BYTES).into_boxed_str());
        log.emit(line(big));
        log.emit(line("a"));
        let mut reader = log.reader();
        assert_eq!(reader.next().await.map(|m| m.logs.len()), Some(1));
        assert_eq!(reader.next().await.map(|m| m.logs.len()), Some(1));
    }
}
