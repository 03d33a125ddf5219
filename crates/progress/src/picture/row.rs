//! One line of the picture: a vertex, or a group of them that is shown as one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci::Digest;

use crate::event::{Vertex, VertexStatus, VertexWarning};
use crate::picture::Spans;

/// Names a row of one [`Picture`](crate::Picture).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub(crate) usize);

/// How far a row has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState<'a> {
    Waiting,
    Running,
    Done,
    Cached,
    /// With what went wrong.
    Failed(&'a str),
    Canceled,
}

/// Progress of a part of a row, in the order in which parts began.
#[derive(Debug, Clone)]
pub struct Part {
    pub status: VertexStatus,
}

/// A vertex, or a group of vertices shown as one.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub parts: Vec<Part>,
    pub warnings: Vec<VertexWarning>,
    pub(super) cached: bool,
    pub(super) error: String,
    pub(super) spans: Spans,
    pub(super) kind: Kind,
    /// In the list of rows that are drawn.
    pub(super) shown: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Vertex,
    /// `revealed` once a member that counts has begun: weak members alone do not show a group.
    Group {
        members: BTreeMap<Digest, Vertex>,
        revealed: bool,
    },
}

impl Row {
    pub(super) fn new(name: String, kind: Kind) -> Self {
        Row {
            name,
            parts: Vec::new(),
            warnings: Vec::new(),
            cached: false,
            error: String::new(),
            spans: Spans::default(),
            kind,
            shown: false,
        }
    }

    pub fn state(&self) -> RowState<'_> {
        match self.spans.latest() {
            None => RowState::Waiting,
            Some((_, None)) => RowState::Running,
            Some((_, Some(_))) if self.error.ends_with("context canceled") => RowState::Canceled,
            Some((_, Some(_))) if !self.error.is_empty() => RowState::Failed(&self.error),
            Some((_, Some(_))) if self.cached => RowState::Cached,
            Some((_, Some(_))) => RowState::Done,
        }
    }

    pub fn is_running(&self) -> bool {
        self.state() == RowState::Running
    }

    /// Whether the row has begun and ended.
    pub fn is_completed(&self) -> bool {
        matches!(self.spans.latest(), Some((_, Some(_))))
    }

    /// When the present, or else the last, stretch of work began.
    pub fn started(&self) -> Option<Timestamp> {
        self.spans.latest().map(|(start, _)| start)
    }

    /// When the last stretch of work ended; `None` while one runs.
    pub fn completed(&self) -> Option<Timestamp> {
        self.spans.latest().and_then(|(_, stop)| stop)
    }

    /// Time at work until `now`, in seconds.
    pub fn elapsed(&self, now: Timestamp) -> f64 {
        self.spans.total(now)
    }

    /// Whether the row counts: a group that no strong member has begun does not.
    pub(super) fn is_hidden(&self) -> bool {
        matches!(self.kind, Kind::Group { revealed: false, .. })
    }
}
