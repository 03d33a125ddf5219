//! The state of one vertex.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use errdefs::Error;
use oci::Digest;

use super::event::{JobId, Part, RequestId, TaskId, VertexId};
use crate::keys::KeyId;
use crate::remote::{CacheId, Remote};
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
        found: Found,
    },
    /// The op ran; the value is there when it is recorded.
    Saving {
        task: TaskId,
        value: V,
    },
    Ready(V),
}

/// A result that may be loaded.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub record: Record,
    /// The cache that has it; `None` is the own store.
    pub cache: Option<CacheId>,
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

/// What was last seen of an input. It is kept, and summed up in [`Tally`], so that one of a thousand inputs that gets
/// on costs one look and not a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub level: Level,
    /// How many keys there are to look up by. It only grows, until the input is replaced by another.
    pub alternatives: usize,
    /// How many keys there are to record by only.
    pub hidden: usize,
    /// Whether a run has to wait for it: the value or the content key is missing.
    pub missing: bool,
}

/// The sum over all inputs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub below_fast: usize,
    pub missing: usize,
    pub keys: usize,
}

/// What an output needs of the inputs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Nothing,
    /// Nothing more; what was asked for is seldom useless.
    Hold,
    /// The definition keys of all.
    Fast,
    /// More keys: of all, or only of those that led nowhere so far.
    Probe {
        only_unmatched: bool,
    },
    /// All values, to run.
    Run,
}

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
    pub seen: Seen,
    /// In [`Node::touched`].
    pub touched: bool,
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
    /// One for each input.
    pub matches: Vec<Match>,
    /// How many inputs lead nowhere so far.
    pub unmatched: usize,
    /// What the inputs of which all keys are known lead to in common; `None` while there is no such input.
    pub common: Option<BTreeSet<KeyId>>,
    /// Inputs got on while nobody wanted this output.
    pub behind: bool,
    /// What the inputs were last asked for.
    pub asked: Phase,
    /// Results that may be loaded: those of others first, the oldest first.
    pub records: Vec<Found>,
    /// Results that turned out to be gone.
    pub gone: HashSet<(Option<CacheId>, ResultId)>,
}

/// The keys of this output that one input leads to.
#[derive(Debug, Default)]
pub(super) struct Match {
    /// How many alternatives of the input were looked up.
    pub probed: usize,
    pub found: BTreeSet<KeyId>,
    /// It is in [`Output::common`].
    pub counted: bool,
}

#[derive(Debug)]
pub(super) struct Node<V> {
    pub digest: Digest,
    pub name: Arc<str>,
    pub ignore_cache: bool,
    /// Looked into beside the own store.
    pub caches: Vec<Remote>,
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
    pub tally: Tally,
    /// Inputs that got on since the last look.
    pub touched: Vec<usize>,
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

impl Dep {
    pub fn new(on: VertexId, output: usize) -> Self {
        Dep {
            on,
            output,
            request: Level::Nothing,
            selector: None,
            content: Content::Undecided,
            also: Vec::new(),
            seen: Seen { level: Level::Nothing, alternatives: 0, hidden: 0, missing: true },
            touched: true,
        }
    }

    /// Whether all keys of the input are known, that of its content too.
    pub fn is_exhausted(&self) -> bool {
        match self.content {
            Content::Absent => self.seen.level >= Level::Slow,
            Content::Known(_) => true,
            Content::Undecided | Content::Unknown | Content::Hashing(_) => false,
        }
    }

    /// The key of its content, if that is known and there is one.
    pub fn content_key(&self) -> Option<&KeyId> {
        match &self.content {
            Content::Known(key) => key.as_ref(),
            _ => None,
        }
    }
}

impl Tally {
    pub fn add(&mut self, seen: &Seen) {
        self.below_fast += usize::from(seen.level < Level::Fast);
        self.missing += usize::from(seen.missing);
        self.keys += seen.alternatives + seen.hidden;
    }

    pub fn remove(&mut self, seen: &Seen) {
        self.below_fast -= usize::from(seen.level < Level::Fast);
        self.missing -= usize::from(seen.missing);
        self.keys -= seen.alternatives + seen.hidden;
    }
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
            unmatched: deps,
            common: None,
            behind: true,
            asked: Phase::Nothing,
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

    /// Forgets what was looked up, not what was found.
    pub fn look_up_anew(&mut self) {
        self.probed = 0;
        self.behind = true;
        self.common = None;
        for matched in &mut self.matches {
            matched.probed = 0;
            matched.counted = false;
        }
    }

    /// Whether a result is known already.
    pub fn has_record(&self, found: &Found) -> bool {
        let is_same =
            |known: &Found| known.cache == found.cache && known.record.result == found.record.result;
        self.records.iter().any(is_same)
    }

    pub fn is_gone(&self, found: &Found) -> bool {
        self.gone.contains(&(found.cache, found.record.result.clone()))
    }

    /// Whether no further key can come to light: the inputs of which all keys are known lead to nothing new in common.
    /// One input that leads nowhere is enough.
    pub fn is_settled(&self) -> bool {
        self.common.as_ref().is_some_and(|c| c.iter().all(|k| self.keys.contains(k)))
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
