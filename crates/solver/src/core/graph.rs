//! Moving about in the graph: who consumes whom, what is wanted, what fails.

use errdefs::{Error, Result};

use super::engine::{Core, Work};
use super::event::{Asker, Command, RequestId, VertexId};
use super::node::{Content, Level, Map, Node, OutputState, Phase, Stage};

impl<V: Clone> Core<V> {
    pub(super) fn node(&self, v: VertexId) -> &Node<V> {
        self.nodes[v.0 as usize].as_ref().expect("ids in the graph are those of active vertices")
    }

    pub(super) fn node_mut(&mut self, v: VertexId) -> &mut Node<V> {
        self.nodes[v.0 as usize].as_mut().expect("ids in the graph are those of active vertices")
    }

    /// The vertex that does the work of `v`.
    pub(super) fn resolve(&self, mut v: VertexId) -> VertexId {
        while let Stage::Merged(leader) = self.node(v).stage {
            v = leader;
        }
        v
    }

    /// Has `v` looked at again before the step ends.
    pub(super) fn enqueue(&mut self, v: VertexId) {
        let node = self.node_mut(v);
        if !node.queued {
            node.queued = true;
            self.queue.push_back(v);
        }
    }

    /// Tells the consumers of an output that it has more keys, a higher level or its value. Those that want nothing of
    /// it are not woken for that.
    pub(super) fn publish(&mut self, v: VertexId, output: usize) {
        for n in 0..self.node(v).consumers.len() {
            let (consumer, i) = self.node(v).consumers[n];
            let dep = &self.node(consumer).deps[i];
            if dep.output == output {
                let woken = dep.request > Level::Nothing;
                self.touch(consumer, i);
                if woken {
                    self.enqueue(consumer);
                }
            }
        }
    }

    /// Has input `i` looked at when `v` is advanced next.
    pub(super) fn touch(&mut self, v: VertexId, i: usize) {
        let node = self.node_mut(v);
        if !std::mem::replace(&mut node.deps[i].touched, true) {
            node.touched.push(i);
        }
    }

    /// Changes what `v` wants of its input `i`.
    pub(super) fn set_request(&mut self, v: VertexId, i: usize, level: Level) {
        let dep = &mut self.node_mut(v).deps[i];
        let (on, output) = (dep.on, dep.output);
        let old = std::mem::replace(&mut dep.request, level);
        if old == level {
            return;
        }
        self.ask(on, output, level);
        self.unask(on, output, old);
        self.enqueue(on);
    }

    pub(super) fn ask(&mut self, v: VertexId, output: usize, level: Level) {
        if level > Level::Nothing {
            self.node_mut(v).outputs[output].asks[level as usize] += 1;
        }
    }

    pub(super) fn unask(&mut self, v: VertexId, output: usize, level: Level) {
        if level > Level::Nothing {
            self.node_mut(v).outputs[output].asks[level as usize] -= 1;
        }
    }

    /// The value is there: whoever waits for it gets it.
    pub(super) fn ready(&mut self, v: VertexId, output: usize, edge: &'static str, value: V) {
        self.turn_output(v, output, edge, OutputState::Ready(value.clone()));
        self.publish(v, output);
        for request in std::mem::take(&mut self.node_mut(v).outputs[output].builds) {
            self.reply(request, Ok(value.clone()));
        }
    }

    /// Answers a request that is no longer in the list of its output.
    pub(super) fn reply(&mut self, request: RequestId, result: Result<V>) {
        let Some(r) = self.requests.remove(&request) else { return };
        self.unask(r.vertex, r.output, Level::Value);
        self.enqueue(r.vertex);
        if let Asker::Job(job) = r.asker
            && let Some(hold) = self.jobs.get_mut(&job)
        {
            hold.requests.remove(&request);
        }
        self.commands.push(Command::Reply { request, result });
    }

    pub(super) fn withdraw(&mut self, request: RequestId) {
        if let Some(&r) = self.requests.get(&request) {
            self.node_mut(r.vertex).outputs[r.output].builds.retain(|b| *b != request);
            self.reply(request, Err(Error::canceled()));
        }
    }

    /// Ends `v` with an error, and with it all that need one of its missing outputs. Those that did not ask are not
    /// touched.
    pub(super) fn fail(&mut self, v: VertexId, error: Error) {
        let mut failing = vec![v];
        while let Some(v) = failing.pop() {
            if self.node(v).is_failed() {
                continue;
            }
            if let Stage::Running(task) = self.node(v).stage {
                // Where the error is its own, the task has ended, and nothing is cancelled.
                self.cancel(task);
            }
            self.turn(v, "fail", Stage::Failed(error.clone()));
            self.stop(v);
            for o in 0..self.node(v).outputs.len() {
                for request in std::mem::take(&mut self.node_mut(v).outputs[o].builds) {
                    self.reply(request, Err(error.clone()));
                }
            }
            for n in 0..self.node(v).consumers.len() {
                let (consumer, i) = self.node(v).consumers[n];
                let dep = &self.node(consumer).deps[i];
                if dep.request > Level::Nothing && self.node(v).outputs[dep.output].value().is_none() {
                    failing.push(consumer);
                }
            }
        }
    }

    /// Cancels what `v` does and wants nothing of its inputs. What is being recorded goes on: it is done already.
    pub(super) fn stop(&mut self, v: VertexId) {
        if let Map::Asking(task) = self.node(v).map {
            self.cancel(task);
            self.turn_map(v, "stop", Map::Open);
        }
        if let Stage::Running(task) = self.node(v).stage {
            self.cancel(task);
            self.turn(v, "stop", Stage::Seeking);
        }
        for o in 0..self.node(v).outputs.len() {
            self.stop_loading(v, o);
            self.node_mut(v).outputs[o].asked = Phase::Nothing;
        }
        for i in 0..self.node(v).deps.len() {
            self.stop_hashing(v, i);
            self.set_request(v, i, Level::Nothing);
        }
    }

    pub(super) fn stop_loading(&mut self, v: VertexId, o: usize) {
        let output = &mut self.node_mut(v).outputs[o];
        if let OutputState::Loading { task, found } = &output.state {
            let task = *task;
            output.records.push(found.clone());
            self.turn_output(v, o, "stop", OutputState::Open);
            self.cancel(task);
        }
    }

    pub(super) fn stop_saving(&mut self, v: VertexId) {
        for o in 0..self.node(v).outputs.len() {
            if let OutputState::Saving { task, .. } = self.node(v).outputs[o].state {
                self.cancel(task);
                self.turn_output(v, o, "stop", OutputState::Open);
            }
        }
    }

    pub(super) fn stop_hashing(&mut self, v: VertexId, i: usize) {
        if let Content::Hashing(task) = self.node(v).deps[i].content {
            self.turn_content(v, i, "stop", Content::Unknown);
            self.cancel(task);
        }
    }

    pub(super) fn start_map(&mut self, v: VertexId) {
        let task = self.start(Work::Map(v));
        self.turn_map(v, "ask", Map::Asking(task));
        let part = self.node(v).parts.len();
        self.commands.push(Command::Map { task, vertex: v, part });
    }

    pub(super) fn start_hash(&mut self, v: VertexId, i: usize, input: V) {
        let task = self.start(Work::Hash(v, i));
        self.turn_content(v, i, "hash", Content::Hashing(task));
        self.commands.push(Command::Hash { task, vertex: v, dep: i, input });
    }

    pub(super) fn start_exec(&mut self, v: VertexId, inputs: Vec<V>) {
        let task = self.start(Work::Exec(v));
        self.turn(v, "run", Stage::Running(task));
        self.commands.push(Command::Exec { task, vertex: v, inputs });
    }

    pub(super) fn start_save(&mut self, v: VertexId, o: usize, value: V) {
        let task = self.start(Work::Save(v, o));
        self.turn_output(v, o, "save", OutputState::Saving { task, value: value.clone() });
        self.commands.push(Command::Save { task, vertex: v, value });
    }
}
