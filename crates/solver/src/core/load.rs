//! Graphs come in with a build, and go when the last job lets go of them.

use std::collections::{BTreeSet, HashSet};

use errdefs::Error;

use super::engine::{Core, Request, Work};
use super::event::{Asker, Command, JobId, RequestId, Spec, VertexId};
use super::node::{Dep, Level, Map, Node, Output, Stage, Tally};
use crate::remote::Remote;

impl<V: Clone> Core<V> {
    pub(super) fn build(
        &mut self,
        request: RequestId,
        asker: Asker,
        graph: &[Spec],
        output: usize,
        caches: &[Remote],
    ) {
        let parent = match asker {
            Asker::Job(_) => None,
            Asker::Task(task) => self.tasks.get(&task).map(Work::vertex),
        };
        let jobs = match (asker, parent) {
            (Asker::Job(job), _) => vec![job],
            (Asker::Task(_), Some(v)) => self.node(v).jobs.clone(),
            (Asker::Task(_), None) => Vec::new(),
        };
        if jobs.is_empty() || graph.is_empty() {
            self.commands.push(Command::Reply { request, result: Err(Error::canceled()) });
            return;
        }
        let mut ids = Vec::with_capacity(graph.len());
        for (position, spec) in graph.iter().enumerate() {
            let v = self.load(spec, position, &ids);
            self.add_caches(self.resolve(v), caches);
            for &job in &jobs {
                self.join(v, job);
                self.commands.push(Command::Show { vertex: self.resolve(v), job, position });
            }
            ids.push(v);
        }
        for &v in &ids {
            self.retry(self.resolve(v));
        }
        let target = ids.last().map(|&v| self.resolve(v)).expect("the graph is not empty");
        if let Some(parent) = parent {
            if self.reaches(target, parent) {
                let error = Error::internal(format!("`{}` waits for itself", self.node(parent).name));
                self.commands.push(Command::Reply { request, result: Err(error) });
                return;
            }
            self.adopt(parent, target);
        }
        self.want(request, asker, target, output);
    }

    fn want(&mut self, request: RequestId, asker: Asker, vertex: VertexId, output: usize) {
        self.ensure_output(vertex, output);
        self.requests.insert(request, Request { asker, vertex, output });
        if let Asker::Job(job) = asker {
            self.jobs.entry(job).or_default().requests.insert(request);
        }
        self.ask(vertex, output, Level::Value);
        match self.node(vertex).outputs[output].value().cloned() {
            Some(value) => self.reply(request, Ok(value)),
            None => {
                self.node_mut(vertex).outputs[output].builds.push(request);
                self.enqueue(vertex);
            }
        }
    }

    /// The active vertex of this digest, or a new one. A vertex that ignores the cache serves those that do not; the
    /// reverse would bring a cached result where none is wanted.
    fn load(&mut self, spec: &Spec, position: usize, ids: &[VertexId]) -> VertexId {
        for ignore in [true, false] {
            if let Some(&v) = self.by_digest.get(&(spec.digest.clone(), ignore))
                && (ignore || !spec.ignore_cache)
            {
                return v;
            }
        }
        let inputs: Vec<_> =
            spec.inputs.iter().map(|&(at, output)| (self.resolve(ids[at]), output)).collect();
        let height = inputs.iter().map(|&(v, _)| self.node(v).height + 1).max().unwrap_or(0);
        let v = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            VertexId(self.nodes.len() as u32 - 1)
        });
        for (i, &(on, output)) in inputs.iter().enumerate() {
            self.ensure_output(on, output);
            self.node_mut(on).consumers.push((v, i));
        }
        let deps: Vec<Dep> = inputs.iter().map(|&(on, output)| Dep::new(on, output)).collect();
        let mut tally = Tally::default();
        deps.iter().for_each(|dep| tally.add(&dep.seen));
        self.nodes[v.0 as usize] = Some(Node {
            digest: spec.digest.clone(),
            name: spec.name.clone(),
            ignore_cache: spec.ignore_cache,
            caches: Vec::new(),
            height,
            jobs: Vec::new(),
            children: Vec::new(),
            parents: Vec::new(),
            consumers: Vec::new(),
            map: Map::Open,
            parts: Vec::new(),
            deps,
            tally,
            touched: (0..inputs.len()).collect(),
            outputs: Vec::new(),
            stage: Stage::Seeking,
            tokens: Vec::new(),
            compared: 0,
            demand: Level::Nothing,
            queued: false,
        });
        self.by_digest.insert((spec.digest.clone(), spec.ignore_cache), v);
        self.commands.push(Command::Add { vertex: v, position });
        self.note_new(v);
        v
    }

    /// Has `v` look into more caches. What it knows already stays; it looks up again where it still seeks.
    pub(super) fn add_caches(&mut self, v: VertexId, caches: &[Remote]) {
        let node = self.node_mut(v);
        let fresh: Vec<Remote> =
            caches.iter().filter(|new| node.caches.iter().all(|old| old.id != new.id)).cloned().collect();
        if fresh.is_empty() {
            return;
        }
        node.caches.extend(fresh);
        for output in &mut node.outputs {
            output.look_up_anew();
        }
        for i in 0..self.node(v).deps.len() {
            self.touch(v, i);
        }
        self.enqueue(v);
    }

    pub(super) fn ensure_output(&mut self, v: VertexId, output: usize) {
        let node = self.node_mut(v);
        let deps = node.deps.len();
        while node.outputs.len() <= output {
            node.outputs.push(Output::new(deps));
        }
        self.note_outputs(v, "new");
    }

    /// Adds a job to a vertex and to all below it.
    pub(super) fn join(&mut self, v: VertexId, job: JobId) {
        let mut joining = vec![v];
        while let Some(v) = joining.pop() {
            let node = self.node_mut(v);
            if node.jobs.contains(&job) {
                continue;
            }
            node.jobs.push(job);
            joining.extend(node.deps.iter().map(|d| d.on));
            joining.extend(&node.children);
            if let Stage::Merged(leader) = node.stage {
                joining.push(leader);
            }
            self.jobs.entry(job).or_default().vertices.push(v);
            self.commands.push(Command::Join { vertex: v, job });
        }
    }

    /// A failure is told to those who waited; who comes later has it tried again.
    fn retry(&mut self, v: VertexId) {
        if self.node(v).is_failed() {
            self.turn(v, "retry", Stage::Seeking);
            self.node_mut(v).compared = 0;
            self.enqueue(v);
        }
    }

    /// Makes what the op of `parent` asks for live as long as `parent`.
    pub(super) fn adopt(&mut self, parent: VertexId, child: VertexId) {
        let node = self.node_mut(parent);
        if !node.children.contains(&child) {
            node.children.push(child);
            self.node_mut(child).parents.push(parent);
            self.raise_height(parent, self.node(child).height + 1);
            // One that takes over what another asked for may have more jobs than that one had.
            for job in self.node(parent).jobs.clone() {
                self.join(child, job);
            }
        }
    }

    pub(super) fn release(&mut self, job: JobId) {
        let Some(hold) = self.jobs.remove(&job) else { return };
        for request in hold.requests {
            self.withdraw(request);
        }
        let mut dead = Vec::new();
        for v in hold.vertices {
            let node = self.node_mut(v);
            node.jobs.retain(|j| *j != job);
            if node.jobs.is_empty() {
                dead.push(v);
            } else {
                self.commands.push(Command::Leave { vertex: v, job });
            }
        }
        self.bury(&dead);
    }

    /// Removes vertices that no job wants; nothing that is left consumes them.
    fn bury(&mut self, dead: &[VertexId]) {
        let gone: HashSet<VertexId> = dead.iter().copied().collect();
        let mut left_behind = BTreeSet::new();
        for &v in dead {
            for o in 0..self.node(v).outputs.len() {
                for request in std::mem::take(&mut self.node_mut(v).outputs[o].builds) {
                    self.reply(request, Err(Error::canceled()));
                }
            }
            self.stop(v);
            self.stop_saving(v);
            self.forget_tokens(v);
            let below = self.node(v).deps.iter().map(|d| d.on).chain(self.node(v).children.iter().copied());
            left_behind.extend(below.filter(|b| !gone.contains(b)));
        }
        for v in left_behind {
            let node = self.node_mut(v);
            node.consumers.retain(|(consumer, _)| !gone.contains(consumer));
            node.parents.retain(|parent| !gone.contains(parent));
        }
        for &v in dead {
            self.note_dropped(v);
            if let Some(node) = self.nodes[v.0 as usize].take() {
                self.by_digest.remove(&(node.digest, node.ignore_cache));
            }
            self.free.push(v);
            self.commands.push(Command::Drop { vertex: v });
        }
    }
}
