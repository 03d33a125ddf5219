//! Where events go.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use oci::Digest;

use crate::event::{Event, Vertex, VertexLog, VertexStatus};

/// How the part of a vertex begins whose process is emulated. The platform follows.
pub(crate) const EMULATING: &str = "emulating ";

/// Takes events. Must not block: implementations queue or drop.
pub trait Sink: Send + Sync {
    fn emit(&self, event: Event);
}

struct Discard;

impl Sink for Discard {
    fn emit(&self, _: Event) {}
}

/// A sink that keeps nothing.
pub fn discard() -> Arc<dyn Sink> {
    Arc::new(Discard)
}

/// One running vertex, from the view of who does its work. Cheap to clone.
#[derive(Clone)]
pub struct Step {
    sink: Arc<dyn Sink>,
    vertex: Vertex,
}

impl Step {
    /// Writes into a vertex whose start and end somebody else tells.
    pub fn attach(sink: Arc<dyn Sink>, digest: Digest) -> Self {
        let vertex = Vertex {
            digest,
            inputs: Vec::new(),
            name: String::new(),
            cached: false,
            started: None,
            completed: None,
            error: String::new(),
            progress_group: None,
        };
        Step { sink, vertex }
    }

    /// Starts a vertex that is not in the graph, as "exporting to image". `key` must be unique in the build.
    pub fn start(sink: Arc<dyn Sink>, key: &str, name: impl Into<String>) -> Self {
        let mut step = Self::attach(sink, Digest::of(key));
        step.vertex.name = name.into();
        step.vertex.started = Some(Timestamp::now());
        step.sink.emit(Event::Vertex(step.vertex.clone()));
        step
    }

    /// Ends a vertex that [`Step::start`] began.
    pub fn finish<T>(mut self, result: Result<T, errdefs::Error>) -> Result<T, errdefs::Error> {
        self.vertex.completed = Some(Timestamp::now());
        if let Err(e) = &result {
            self.vertex.error = e.to_string();
        }
        self.sink.emit(Event::Vertex(self.vertex.clone()));
        result
    }

    pub fn digest(&self) -> &Digest {
        &self.vertex.digest
    }

    pub fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    /// Tells how far a part has come. `done` ends it.
    pub fn status(&self, id: &str, current: i64, total: i64, started: Timestamp, done: bool) {
        self.tell("", id, current, total, started, done);
    }

    /// Tells how many bytes have gone over between the client and the engine. `done` ends it.
    pub fn transfer(&self, id: &str, current: i64, started: Timestamp, done: bool) {
        self.tell("transferring", id, current, 0, started, done);
    }

    /// `name` is what kind of thing is done; clients tell transfers from other parts by it.
    fn tell(&self, name: &str, id: &str, current: i64, total: i64, started: Timestamp, done: bool) {
        let now = Timestamp::now();
        self.sink.emit(Event::Status(VertexStatus {
            id: id.to_owned(),
            vertex: self.vertex.digest.clone(),
            name: name.to_owned(),
            current,
            total,
            timestamp: now,
            started: Some(started),
            completed: done.then_some(now),
        }));
    }

    /// Runs `work` as a part of this vertex that is named but not measured, as "exporting layers".
    pub async fn part<T>(
        &self,
        id: &str,
        work: impl Future<Output = Result<T, errdefs::Error>>,
    ) -> Result<T, errdefs::Error> {
        let started = Timestamp::now();
        self.status(id, 0, 0, started, false);
        let result = work.await;
        self.status(id, 0, 0, started, true);
        result
    }

    /// Runs `work` as the whole of this vertex, done by `emulator` for `platform`. Summaries count it.
    pub async fn emulated<T>(
        &self,
        platform: &str,
        emulator: &str,
        work: impl Future<Output = Result<T, errdefs::Error>>,
    ) -> Result<T, errdefs::Error> {
        self.part(&format!("{EMULATING}{platform} by {emulator}"), work).await
    }

    /// Passes on what a process printed.
    pub fn log(&self, stream: u32, data: Bytes) {
        let vertex = self.vertex.digest.clone();
        self.sink.emit(Event::Log(VertexLog { vertex, timestamp: Timestamp::now(), stream, data }));
    }
}
