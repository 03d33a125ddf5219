use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::history::{BuildRecord, Query};

/// What happens to records.
#[derive(Debug, Clone)]
pub enum HistoryEvent {
    Started(Arc<BuildRecord>),
    /// Also when a record of a build that is over changed.
    Completed(Arc<BuildRecord>),
    /// With the id of the build.
    Deleted(String),
}

impl HistoryEvent {
    fn id(&self) -> &str {
        match self {
            HistoryEvent::Started(record) | HistoryEvent::Completed(record) => &record.id,
            HistoryEvent::Deleted(id) => id,
        }
    }
}

/// Those that are told of changes.
#[derive(Default)]
pub struct Listeners {
    all: Vec<UnboundedSender<HistoryEvent>>,
    closed: bool,
}

impl Listeners {
    pub fn subscribe(&mut self) -> UnboundedReceiver<HistoryEvent> {
        let (sender, receiver) = unbounded_channel();
        if !self.closed {
            self.all.push(sender);
        }
        receiver
    }

    pub fn tell(&mut self, event: &HistoryEvent) {
        self.all.retain(|listener| listener.send(event.clone()).is_ok());
    }

    /// Ends all, also those that come.
    pub fn close(&mut self) {
        self.closed = true;
        self.all.clear();
    }
}

/// What a client hears: what is known at first, then what comes.
pub struct Listening {
    pub(super) known: VecDeque<HistoryEvent>,
    /// Nothing for who does not wait.
    pub(super) live: Option<UnboundedReceiver<HistoryEvent>>,
    pub(super) query: Query,
}

impl Listening {
    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<HistoryEvent> {
        if let Some(known) = self.known.pop_front() {
            return Some(known);
        }
        loop {
            let event = self.live.as_mut()?.recv().await?;
            if self.query.is_about(event.id()) {
                return Some(event);
            }
        }
    }
}
