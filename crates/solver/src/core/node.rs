//! The state of one vertex.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use errdefs::Error;
use oci::Digest;

use super::event::{JobId, Part, RequestId, TaskId, VertexId};
use crate::keys::KeyId;
use crate::results::{Record, ResultId};

/// How much is known of an output, and how much a consumer wants known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Nothing,
    /// Keys that follow from definitions alone.
    Fast,
    /// All keys that can be had without running the op.
    Slow,
    Value,
}

/// How far a vertex has come. Its outputs have states of their own: [`OutputState`].
#[derive(Debug)]
pub(super) enum Stage<V> {
    /// Keys are gathered and records looked for, as far as somebody wants.
    Seeking,
    Running(TaskId),
    Ran(Vec<Option<V>>),
    Failed(Error),
    /// Another vertex has the same key and does the work.
    Merged(VertexId),
}

#[derive(Debug)]
pub(super) enum OutputState<V> {
    Open,
    Loading {
        task: TaskId,
        record: Record,
    },
    /// The op ran; the value is there when it is recorded.
    Saving {
        task: TaskId,
        value: V,
    },
    Ready(V),
}

/// The cache map: its parts are in [`Node::parts`].
#[derive(Debug)]
pub(super) enum Map {
    /// More parts can be asked for.
    Open,
    Asking(TaskId),
    Complete,
}

/// The content key of an input.
#[derive(Debug)]
pub(super) enum Content {
    /// The cache map is not there yet.
    Undecided,
    Absent,
    Unknown,
    Hashing(TaskId),
    Known(Option<KeyId>),
}

/// A key of an input, with the selector it is used with.
pub(super) type Alternative = (KeyId, Option<Digest>);

#[derive(Debug)]
pub(super) struct Dep {
    pub on: VertexId,
    pub output: usize,
    /// What is wanted of it; counted in its [`Output::asks`].
    pub request: Level,
    pub selector: Option<Digest>,
    pub content: Content,
    /// Keys of inputs in this place of vertices that were merged into this one.
    pub also: Vec<Alternative>,
}

#[derive(Debug)]
pub(super) struct Output<V> {
    pub state: OutputState<V>,
    /// How many consumers and builds want each level; [`Level::Nothing`] is not counted.
    pub asks: [u32; 4],
    pub builds: Vec<RequestId>,
    /// Reached by looking up; never falls.
    pub level: Level,
    /// Keys that consumers look up by.
    pub keys: Vec<KeyId>,
    /// Keys that consumers are recorded by, but do not look up by: those of an op that ignores the cache.
    pub hidden: Vec<KeyId>,
    /// Some key is in the store.
    pub stored: bool,
    /// For an op without inputs: how many parts of the cache map were looked up.
    pub probed: usize,
    pub matches: Vec<Match>,
    /// Results that may be loaded, oldest first.
    pub records: Vec<Record>,
    /// Results that turned out to be gone.
    pub gone: HashSet<ResultId>,
}

/// The keys of this output that one input leads to.
#[derive(Debug, Default)]
pub(super) struct Match {
    /// How many alternatives of the input were looked up.
    pub probed: usize,
    pub found: BTreeSet<KeyId>,
}

#[derive(Debug)]
pub(super) struct Node<V> {
    pub digest: Digest,
    pub name: Arc<str>,
    pub ignore_cache: bool,
    /// Greater than that of all inputs and children, to answer most questions about cycles at once.
    pub height: u32,
    /// Each of them is also in the jobs of all inputs and children.
    pub jobs: Vec<JobId>,
    /// Vertices that the op asked for while it ran.
    pub children: Vec<VertexId>,
    /// Vertices that have this one as a child.
    pub parents: Vec<VertexId>,
    /// (vertex, number of its input), for each vertex that has this one as an input.
    pub consumers: Vec<(VertexId, usize)>,
    pub map: Map,
    pub parts: Vec<Part>,
    pub deps: Vec<Dep>,
    pub outputs: Vec<Output<V>>,
    pub stage: Stage<V>,
    /// Under which tokens the merge index knows the vertex.
    pub tokens: Vec<super::merge::Token>,
    /// How many keys were known when a vertex of the same key was last looked for.
    pub compared: usize,
    /// The greatest wish at the last look.
    pub demand: Level,
    pub queued: bool,
}

impl<V> Output<V> {
    pub fn new(deps: usize) -> Self {
        Output {
            state: OutputState::Open,
            asks: [0; 4],
            builds: Vec::new(),
            level: Level::Nothing,
            keys: Vec::new(),
            hidden: Vec::new(),
            stored: false,
            probed: 0,
            matches: std::iter::repeat_with(Match::default).take(deps).collect(),
            records: Vec::new(),
            gone: HashSet::new(),
        }
    }

    /// The most that anybody wants.
    pub fn demand(&self) -> Level {
        [Level::Value, Level::Slow, Level::Fast]
            .into_iter()
            .find(|&l| self.asks[l as usize] > 0)
            .unwrap_or(Level::Nothing)
    }

    /// What consumers may count on.
    pub fn reached(&self) -> Level {
        if self.value().is_some() { Level::Value } else { self.level }
    }

    pub fn value(&self) -> Option<&V> {
        match &self.state {
            OutputState::Ready(value) => Some(value),
            _ => None,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, OutputState::Open)
    }

    /// Somebody wants the value, and nothing has begun to bring it.
    pub fn is_missing(&self) -> bool {
        self.is_open() && self.demand() == Level::Value
    }
}

impl<V> Node<V> {
    /// The most that anybody wants of an output that is not there yet.
    pub fn wanted(&self) -> Level {
        let open = self.outputs.iter().filter(|o| o.value().is_none());
        open.map(Output::demand).max().unwrap_or(Level::Nothing)
    }

    pub fn is_root(&self) -> bool {
        self.deps.is_empty()
    }

    pub fn is_mapped(&self) -> bool {
        matches!(self.map, Map::Complete)
    }

    pub fn is_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed(_))
    }
}
