//! The events of one build: written once, read by any number of Status calls, each from the start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use progress::{Event, Sink, SolveStatus};
use tokio::sync::watch;

/// Bytes of output after which one status message ends and the next begins.
const MESSAGE_BYTES: usize = 1 << 20;

#[derive(Default)]
struct State {
    events: Vec<Event>,
    closed: bool,
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

    /// Nothing more comes; readers end when they have read all.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.send_replace(());
    }

    /// A reader that starts at the first event.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader { log: Arc::clone(self), next: 0, changed: self.changed.subscribe() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for BuildLog {
    fn emit(&self, event: Event) {
        let mut state = self.state();
        if !state.closed {
            state.events.push(event);
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
