//! The core itself: its tables, its queue, and what each event does to them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use errdefs::{Error, Result};
use oci::Digest;

use super::event::{Asker, Command, Event, JobId, Part, RequestId, TaskId, VertexId};
use super::merge::Token;
use super::node::{Content, Found, Map, Node, OutputState, Stage};
use crate::job::Lineage;
use crate::keys::{KeyId, KeyStore};
use crate::remote::CacheId;
use crate::results::{Record, ResultId};

/// The graph of all active vertices. `V` is what ops make.
pub struct Core<V> {
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) exists: Box<dyn Fn(&ResultId) -> bool + Send>,
    /// Indexed by vertex id; freed places are used again.
    pub(super) nodes: Vec<Option<Node<V>>>,
    pub(super) free: Vec<VertexId>,
    /// By digest and whether the cache is ignored.
    pub(super) by_digest: HashMap<(Digest, bool), VertexId>,
    pub(super) by_token: HashMap<Token, Vec<VertexId>>,
    pub(super) jobs: HashMap<JobId, Hold>,
    pub(super) requests: HashMap<RequestId, Request>,
    pub(super) tasks: HashMap<TaskId, Work>,
    pub(super) last_task: u64,
    pub(super) queue: VecDeque<VertexId>,
    pub(super) commands: Vec<Command<V>>,
    /// Which edges of the state machines were taken: see `edges.rs`.
    #[cfg(test)]
    pub(super) taken: std::collections::BTreeSet<super::edges::Taken>,
}

/// What a job holds.
#[derive(Debug, Default)]
pub(super) struct Hold {
    pub vertices: Vec<VertexId>,
    pub requests: HashSet<RequestId>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub asker: Asker,
    pub vertex: VertexId,
    pub output: usize,
}

/// What a task does, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Map(VertexId),
    Hash(VertexId, usize),
    Load(VertexId, usize),
    Exec(VertexId),
    Save(VertexId, usize),
}

impl Work {
    pub fn vertex(&self) -> VertexId {
        match *self {
            Work::Map(v) | Work::Hash(v, _) | Work::Load(v, _) | Work::Exec(v) | Work::Save(v, _) => v,
        }
    }
}

impl<V: Clone> Core<V> {
    /// `exists` says whether a result can probably be loaded.
    pub fn new(keys: Arc<dyn KeyStore>, exists: impl Fn(&ResultId) -> bool + Send + 'static) -> Self {
        Core {
            keys,
            exists: Box::new(exists),
            nodes: Vec::new(),
            free: Vec::new(),
            by_digest: HashMap::new(),
            by_token: HashMap::new(),
            jobs: HashMap::new(),
            requests: HashMap::new(),
            tasks: HashMap::new(),
            last_task: 0,
            queue: VecDeque::new(),
            commands: Vec::new(),
            #[cfg(test)]
            taken: std::collections::BTreeSet::new(),
        }
    }

    /// Takes in one event and gives back what is to be done because of it, in order.
    pub fn step(&mut self, event: Event<V>) -> Vec<Command<V>> {
        match event {
            Event::Build { request, asker, graph, output, caches } => {
                self.build(request, asker, &graph, output, &caches);
            }
            Event::Withdraw(request) => self.withdraw(request),
            Event::Release(job) => self.release(job),
            Event::Mapped { task, part } => self.mapped(task, part),
            Event::Hashed { task, content } => self.hashed(task, content),
            Event::Loaded { task, value, kept } => self.loaded(task, value, kept),
            Event::Executed { task, values } => self.executed(task, values),
            Event::Saved { task, record } => self.saved(task, record),
        }
        while let Some(v) = self.queue.pop_front() {
            if let Some(node) = self.nodes[v.0 as usize].as_mut() {
                node.queued = false;
                self.advance(v);
            }
        }
        std::mem::take(&mut self.commands)
    }

    /// The active vertex of a digest.
    pub fn find(&self, digest: &Digest) -> Option<VertexId> {
        [true, false].iter().find_map(|&i| self.by_digest.get(&(digest.clone(), i)).copied())
    }

    /// The keys of an output, once something is known of it.
    pub fn output_keys(&self, digest: &Digest, output: usize) -> Vec<KeyId> {
        let output = self.find(digest).and_then(|v| self.node(self.resolve(v)).outputs.get(output));
        output.map(|o| o.keys.iter().chain(&o.hidden).cloned().collect()).unwrap_or_default()
    }

    /// What is known of an output and of all below it, inputs first.
    pub fn lineage(&self, digest: &Digest, output: usize) -> Vec<(VertexId, Lineage<V>)> {
        let Some(vertex) = self.find(digest).map(|v| self.resolve(v)) else { return Vec::new() };
        let mut list = Vec::new();
        let mut positions: HashMap<(VertexId, usize), usize> = HashMap::new();
        let mut todo = vec![((vertex, output), 0)];
        while let Some((at, next)) = todo.pop() {
            if positions.contains_key(&at) {
                continue;
            }
            let node = self.node(at.0);
            if let Some(dep) = node.deps.get(next) {
                todo.push((at, next + 1));
                todo.push(((dep.on, dep.output), 0));
                continue;
            }
            let Some(output) = node.outputs.get(at.1) else { continue };
            let inputs = node.deps.iter().filter_map(|d| positions.get(&(d.on, d.output)).copied()).collect();
            let keys = output.keys.iter().chain(&output.hidden).cloned().collect();
            positions.insert(at, list.len());
            let (vertex, value) = (node.digest.clone(), output.value().cloned());
            list.push((at.0, Lineage { vertex, output: at.1, keys, inputs, value, export_cache: None }));
        }
        list
    }

    /// The caches that some vertex may look into.
    pub fn caches_in_use(&self) -> HashSet<CacheId> {
        self.nodes.iter().flatten().flat_map(|node| &node.caches).map(|cache| cache.id).collect()
    }

    /// The vertex that a task works for, unless it was cancelled.
    pub fn vertex_of(&self, task: TaskId) -> Option<VertexId> {
        self.tasks.get(&task).map(Work::vertex)
    }

    pub(super) fn start(&mut self, work: Work) -> TaskId {
        self.last_task += 1;
        let task = TaskId(self.last_task);
        self.tasks.insert(task, work);
        task
    }

    pub(super) fn cancel(&mut self, task: TaskId) {
        if self.tasks.remove(&task).is_some() {
            self.commands.push(Command::Cancel { task });
        }
    }

    fn mapped(&mut self, task: TaskId, part: Result<Part>) {
        let Some(Work::Map(v)) = self.tasks.remove(&task) else { return };
        match part.and_then(|part| self.take_part(v, part)) {
            Ok(()) => self.enqueue(v),
            Err(e) => {
                self.turn_map(v, "fail", Map::Open);
                self.fail(v, e);
            }
        }
    }

    fn take_part(&mut self, v: VertexId, part: Part) -> Result<()> {
        let node = self.node_mut(v);
        if !node.deps.is_empty() && !part.done {
            return Err(Error::internal(format!(
                "`{}` has inputs and a cache map of several parts",
                node.name
            )));
        }
        if part.deps.len() > node.deps.len() {
            return Err(Error::internal(format!(
                "`{}` has more inputs in its cache map than it has",
                node.name
            )));
        }
        for i in 0..node.deps.len() {
            let how = part.deps.get(i).cloned().unwrap_or_default();
            self.node_mut(v).deps[i].selector = how.selector;
            self.turn_content(v, i, "map", if how.content { Content::Unknown } else { Content::Absent });
            self.touch(v, i);
        }
        let (edge, map) = if part.done { ("end", Map::Complete) } else { ("part", Map::Open) };
        self.node_mut(v).parts.push(part);
        self.turn_map(v, edge, map);
        Ok(())
    }

    fn hashed(&mut self, task: TaskId, content: Result<Option<Digest>>) {
        let Some(Work::Hash(v, i)) = self.tasks.remove(&task) else { return };
        match content {
            Ok(digest) => {
                self.turn_content(v, i, "hashed", Content::Known(digest.map(|d| KeyId::content(&d))));
                self.touch(v, i);
                self.enqueue(v);
            }
            Err(e) => {
                self.turn_content(v, i, "fail", Content::Unknown);
                self.fail(v, e);
            }
        }
    }

    fn loaded(&mut self, task: TaskId, value: Result<Option<V>>, kept: Option<Record>) {
        let Some(Work::Load(v, o)) = self.tasks.remove(&task) else { return };
        match value {
            Ok(Some(value)) => {
                if kept.is_some() {
                    self.record(v, o, kept);
                }
                self.ready(v, o, "loaded", value);
            }
            Ok(None) => {
                let loading = self.turn_output(v, o, "gone", OutputState::Open);
                self.pass_over(v, o, loading, true);
            }
            Err(e) => {
                tracing::warn!(vertex = %self.node(v).name, error = %e, "failed to load a cached result");
                let loading = self.turn_output(v, o, "fail", OutputState::Open);
                self.pass_over(v, o, loading, false);
            }
        }
        self.enqueue(v);
    }

    /// A result that could not be loaded is not tried again by this vertex. One that is gone is forgotten.
    fn pass_over(&mut self, v: VertexId, o: usize, loading: OutputState<V>, is_gone: bool) {
        let OutputState::Loading { found: Found { record, cache }, .. } = loading else { return };
        if is_gone && cache.is_none() {
            self.forget(&record.result);
        }
        self.node_mut(v).outputs[o].gone.insert((cache, record.result));
    }

    fn executed(&mut self, task: TaskId, values: Result<Vec<Option<V>>>) {
        let Some(Work::Exec(v)) = self.tasks.remove(&task) else { return };
        match values {
            Ok(values) => {
                self.turn(v, "ran", Stage::Ran(values));
                self.enqueue(v);
            }
            Err(e) => self.fail(v, e),
        }
    }

    fn saved(&mut self, task: TaskId, record: Result<Record>) {
        let Some(Work::Save(v, o)) = self.tasks.remove(&task) else { return };
        let OutputState::Saving { value, .. } = &self.node(v).outputs[o].state else { return };
        let value = value.clone();
        let record = record.inspect_err(|e| {
            tracing::warn!(vertex = %self.node(v).name, error = %e, "failed to keep a result for later builds");
        });
        self.record(v, o, record.ok());
        self.ready(v, o, "saved", value);
        self.enqueue(v);
    }
}
