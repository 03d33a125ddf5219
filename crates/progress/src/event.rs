//! What a build tells while it runs, in the words of BuildKit's Control.Status.

use bytes::Bytes;
use jiff::Timestamp;
use oci::Digest;

/// A vertex as it stands now. It is sent again, whole, at every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    pub digest: Digest,
    pub inputs: Vec<Digest>,
    pub name: String,
    pub cached: bool,
    pub started: Option<Timestamp>,
    pub completed: Option<Timestamp>,
    /// Empty while all is well.
    pub error: String,
    pub progress_group: Option<ProgressGroup>,
}

/// Vertices of one group are shown as one. A weak group gives way when a member is also in a strong one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressGroup {
    pub id: String,
    pub name: String,
    pub weak: bool,
}

/// Progress of a part of a vertex: a layer being pulled, a blob being pushed. `current` and `total` are bytes or
/// files; a `total` of 0 is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexStatus {
    pub id: String,
    pub vertex: Digest,
    pub name: String,
    pub current: i64,
    pub total: i64,
    pub timestamp: Timestamp,
    pub started: Option<Timestamp>,
    pub completed: Option<Timestamp>,
}

/// Bytes that a step printed. `stream` is 1 for stdout and 2 for stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexLog {
    pub vertex: Digest,
    pub timestamp: Timestamp,
    pub stream: u32,
    pub data: Bytes,
}

/// A finding that does not fail the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexWarning {
    pub vertex: Digest,
    pub level: i64,
    pub short: String,
    pub detail: Vec<String>,
    pub url: String,
    pub source: Option<errdefs::SourceLocation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Vertex(Vertex),
    Status(VertexStatus),
    Log(VertexLog),
    Warning(VertexWarning),
}

/// One message of the status stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SolveStatus {
    pub vertexes: Vec<Vertex>,
    pub statuses: Vec<VertexStatus>,
    pub logs: Vec<VertexLog>,
    pub warnings: Vec<VertexWarning>,
}

impl SolveStatus {
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Vertex(v) => self.vertexes.push(v),
            Event::Status(s) => self.statuses.push(s),
            Event::Log(l) => self.logs.push(l),
            Event::Warning(w) => self.warnings.push(w),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.vertexes.is_empty()
            && self.statuses.is_empty()
            && self.logs.is_empty()
            && self.warnings.is_empty()
    }
}
