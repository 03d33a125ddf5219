//! What must hold after every step.

use std::collections::HashSet;

use super::super::engine::{Core, Work};
use super::super::event::VertexId;
use super::super::node::{Content, Level, Map, OutputState, Stage, Tally};
use super::sim::Sim;

impl Sim {
    pub fn audit(&self) {
        self.core.audit();
        let mut running = HashSet::new();
        for (vertex, _, todo) in self.todo.values() {
            if let super::sim::Todo::Exec(_) = todo {
                assert!(running.insert(*vertex), "one run at a time");
            }
        }
        assert_eq!(self.todo.len(), self.core.tasks.len(), "the core knows what is under way");
    }

    /// Nothing may be left when all jobs are gone.
    pub fn audit_empty(&self) {
        let core = &self.core;
        assert!(core.is_idle() && core.tasks.is_empty() && core.requests.is_empty() && core.jobs.is_empty());
        assert!(core.by_digest.is_empty() && core.by_token.is_empty() && core.queue.is_empty());
        assert!(self.defs.is_empty() && self.todo.is_empty());
    }
}

impl Core<String> {
    /// Whether no vertex is active.
    pub fn is_idle(&self) -> bool {
        self.nodes.iter().all(Option::is_none)
    }

    fn audit(&self) {
        let ids = (0..self.nodes.len() as u32).map(VertexId);
        for v in ids.filter(|v| self.nodes[v.0 as usize].is_some()) {
            self.audit_asks(v);
            self.audit_shape(v);
            self.audit_tasks(v);
        }
        for (request, r) in &self.requests {
            assert!(
                self.node(r.vertex).outputs[r.output].builds.contains(request),
                "a request is where it says"
            );
        }
    }

    fn audit_asks(&self, v: VertexId) {
        let node = self.node(v);
        let mut asks = vec![[0; 4]; node.outputs.len()];
        for &(consumer, i) in &node.consumers {
            let dep = &self.node(consumer).deps[i];
            assert_eq!(dep.on, v, "a consumer consumes");
            asks[dep.output][dep.request as usize] += 1;
        }
        for (output, mut counted) in node.outputs.iter().zip(asks) {
            counted[0] = 0;
            counted[Level::Value as usize] += output.builds.len() as u32;
            assert_eq!(output.asks, counted, "wishes are counted right in `{}`", node.name);
        }
    }

    fn audit_shape(&self, v: VertexId) {
        let node = self.node(v);
        assert!(!node.jobs.is_empty(), "some job holds `{}`", node.name);
        for below in node.deps.iter().map(|d| d.on).chain(node.children.iter().copied()) {
            assert!(self.node(below).height < node.height, "heights fall");
            assert!(node.jobs.iter().all(|j| self.node(below).jobs.contains(j)), "jobs hold what is below");
        }
        for (i, dep) in node.deps.iter().enumerate() {
            assert!(self.node(dep.on).consumers.contains(&(v, i)), "an input knows its consumer");
        }
        let mut tally = Tally::default();
        node.deps.iter().for_each(|dep| tally.add(&dep.seen));
        assert_eq!(node.tally, tally, "the tally of `{}` is right", node.name);
        for (i, dep) in node.deps.iter().enumerate() {
            let reached = self.node(dep.on).outputs[dep.output].reached();
            assert!(dep.touched || dep.seen.level == reached, "`{}` knows how input {i} stands", node.name);
            assert_eq!(dep.touched, node.touched.contains(&i));
        }
        for output in &node.outputs {
            let unmatched = output.matches.iter().filter(|m| m.found.is_empty()).count();
            assert!(output.unmatched == unmatched || matches!(node.stage, Stage::Merged(_)));
        }
        if let Stage::Merged(leader) = node.stage {
            assert!(node.jobs.iter().all(|j| self.node(leader).jobs.contains(j)), "jobs hold the leader");
            assert!(node.consumers.is_empty() && node.outputs.iter().all(|o| o.demand() == Level::Nothing));
        }
    }

    fn audit_tasks(&self, v: VertexId) {
        let node = self.node(v);
        let mut tasks = Vec::new();
        tasks.extend(if let Map::Asking(t) = node.map { Some(t) } else { None });
        tasks.extend(if let Stage::Running(t) = node.stage { Some(t) } else { None });
        tasks.extend(
            node.deps.iter().filter_map(|d| if let Content::Hashing(t) = d.content { Some(t) } else { None }),
        );
        let loading = node.outputs.iter().filter_map(|o| match o.state {
            OutputState::Loading { task, .. } => Some(task),
            _ => None,
        });
        tasks.extend(loading);
        let known = self.tasks.values().filter(|w| w.vertex() == v && !matches!(w, Work::Save(..))).count();
        assert_eq!(known, tasks.len(), "each task of `{}` has its place", node.name);
        if node.wanted() == Level::Nothing {
            assert!(tasks.is_empty(), "nothing is done for `{}`, which nobody wants", node.name);
        } else if !node.is_failed() && node.outputs.iter().any(|o| o.demand() > o.reached()) {
            let waits = node.deps.iter().any(|d| d.request > Level::Nothing);
            let saving = node.outputs.iter().any(|o| matches!(o.state, OutputState::Saving { .. }));
            assert!(waits || saving || !tasks.is_empty(), "`{}` is wanted and goes on", node.name);
        }
    }
}
