//! What the core is told, and what it asks for.

use std::sync::Arc;

use errdefs::Result;
use oci::Digest;

use crate::remote::{CacheId, Remote};
use crate::results::Record;

/// An active vertex. Ids of dropped vertices are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub(super) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// One wish for one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One piece of asynchronous work. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) u64);

/// A vertex of a graph that is handed in. Inputs are (position in the graph, output), and come before it.
#[derive(Debug, Clone)]
pub struct Spec {
    pub digest: Digest,
    pub name: Arc<str>,
    pub inputs: Vec<(usize, usize)>,
    pub ignore_cache: bool,
}

/// On whose behalf something is built.
#[derive(Debug, Clone, Copy)]
pub enum Asker {
    Job(JobId),
    /// The op that runs in this task; its jobs, now or later, want what it asks for.
    Task(TaskId),
}

#[derive(Debug)]
pub enum Event<V> {
    /// Wants output `output` of the last vertex of `graph`.
    Build {
        request: RequestId,
        asker: Asker,
        graph: Vec<Spec>,
        output: usize,
        /// Looked into for all of the graph.
        caches: Vec<Remote>,
    },
    /// Nobody waits for this answer any more.
    Withdraw(RequestId),
    /// The job lets go of all its vertices.
    Release(JobId),
    Mapped {
        task: TaskId,
        part: Result<Part>,
    },
    Hashed {
        task: TaskId,
        content: Result<Option<Digest>>,
    },
    /// `None`: the result is gone. What came from a cache of others was saved as `kept`.
    Loaded {
        task: TaskId,
        value: Result<Option<V>>,
        kept: Option<Record>,
    },
    Executed {
        task: TaskId,
        values: Result<Vec<Option<V>>>,
    },
    Saved {
        task: TaskId,
        record: Result<Record>,
    },
}

impl<V> Event<V> {
    /// The task that ended with it.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Event::Mapped { task, .. }
            | Event::Hashed { task, .. }
            | Event::Loaded { task, .. }
            | Event::Executed { task, .. }
            | Event::Saved { task, .. } => Some(*task),
            Event::Build { .. } | Event::Withdraw(_) | Event::Release(_) => None,
        }
    }
}

/// A part of a cache map, as far as the core looks into it.
#[derive(Debug, Clone)]
pub struct Part {
    pub digest: Digest,
    pub transient: bool,
    pub deps: Vec<PartDep>,
    pub ingredients: Vec<(String, String)>,
    /// No further part follows.
    pub done: bool,
}

#[derive(Debug, Clone, Default)]
pub struct PartDep {
    pub selector: Option<Digest>,
    /// There is a content key.
    pub content: bool,
}

#[derive(Debug)]
pub enum Command<V> {
    /// A vertex became active; it is the one at `position` of the graph that is being handed in.
    Add {
        vertex: VertexId,
        position: usize,
    },
    /// A job wants the vertex now.
    Join {
        vertex: VertexId,
        job: JobId,
    },
    /// A job wants the vertex no more, others do.
    Leave {
        vertex: VertexId,
        job: JobId,
    },
    /// The vertex at `position` of the graph that is being handed in is shown to `job`; its work is done by `vertex`.
    Show {
        vertex: VertexId,
        job: JobId,
        position: usize,
    },
    /// `follower` has the key of `leader`, which works for both from now on.
    Follow {
        follower: VertexId,
        leader: VertexId,
    },
    /// The vertex is active no more.
    Drop {
        vertex: VertexId,
    },
    Map {
        task: TaskId,
        vertex: VertexId,
        part: usize,
    },
    Hash {
        task: TaskId,
        vertex: VertexId,
        dep: usize,
        input: V,
    },
    Load {
        task: TaskId,
        vertex: VertexId,
        record: Record,
        /// The cache that has the result; `None` is the own store.
        cache: Option<CacheId>,
    },
    Exec {
        task: TaskId,
        vertex: VertexId,
        inputs: Vec<V>,
    },
    Save {
        task: TaskId,
        vertex: VertexId,
        value: V,
    },
    /// Nobody wants what the task makes.
    Cancel {
        task: TaskId,
    },
    Reply {
        request: RequestId,
        result: Result<V>,
    },
}
