//! Two vertices of one key are one piece of work: the later one follows the earlier.
//!
//! Vertices are equal when their cache maps have one digest and each input of the one shares something with the same
//! input of the other: a key, the content, or the very output. The index holds each vertex under what its first input
//! can share, so candidates are found at once; all inputs are compared then.

use std::collections::BTreeSet;

use oci::Digest;

use super::engine::Core;
use super::event::{Command, VertexId};
use super::node::{Level, OutputState, Stage, Tally};
use crate::keys::KeyId;

/// Something that equal vertices share. A stale one does no harm: it only names a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Token {
    Root(KeyId),
    /// The digest of the cache map, and a way to name the first input.
    First(Digest, Source),
}

/// A way to name an input: what has one in common is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    Output(VertexId, usize, Option<Digest>),
    Key(KeyId, Option<Digest>),
}

impl<V: Clone> Core<V> {
    /// Makes `v` follow an equal vertex, if there is one. Only before `v` has begun to bring a value.
    pub(super) fn follow_equal(&mut self, v: VertexId) -> bool {
        let node = self.node(v);
        let untouched = matches!(node.stage, Stage::Seeking) && node.outputs.iter().all(|o| o.is_open());
        if !untouched || node.parts.is_empty() {
            return false;
        }
        // Grows with everything that could make `v` equal to another vertex.
        let known = 1 + node.parts.len() + node.tally.keys;
        if known == node.compared {
            return false;
        }
        self.node_mut(v).compared = known;
        let tokens = self.tokens(v);
        let candidates: BTreeSet<VertexId> =
            tokens.iter().filter_map(|t| self.by_token.get(t)).flatten().copied().collect();
        match candidates.into_iter().find(|&c| self.can_follow(v, c)) {
            Some(leader) => {
                self.merge(v, leader);
                true
            }
            None => {
                self.forget_tokens(v);
                for token in &tokens {
                    self.by_token.entry(token.clone()).or_default().push(v);
                }
                self.node_mut(v).tokens = tokens;
                false
            }
        }
    }

    fn tokens(&self, v: VertexId) -> Vec<Token> {
        let node = self.node(v);
        if node.is_root() {
            return node.parts.iter().map(|p| Token::Root(KeyId::root(&p.digest, 0, p.transient))).collect();
        }
        let digest = &node.parts[0].digest;
        self.sources(v, 0).into_iter().map(|s| Token::First(digest.clone(), s)).collect()
    }

    fn sources(&self, v: VertexId, i: usize) -> BTreeSet<Source> {
        let dep = &self.node(v).deps[i];
        let mut sources = BTreeSet::from([Source::Output(dep.on, dep.output, dep.selector.clone())]);
        let keys = self.alternatives(v, i).into_iter().chain(self.hidden_alternatives(v, i));
        sources.extend(keys.map(|(key, selector)| Source::Key(key, selector)));
        sources
    }

    fn can_follow(&self, v: VertexId, leader: VertexId) -> bool {
        let (follower, node) = (self.node(v), self.node(leader));
        let alive = match node.stage {
            Stage::Running(_) | Stage::Ran(_) => true,
            Stage::Seeking => node.outputs.iter().any(|o| o.demand() > Level::Nothing || o.value().is_some()),
            Stage::Failed(_) | Stage::Merged(_) => false,
        };
        // Who ignores the cache must not be given a cached result.
        let allowed = leader != v && (node.ignore_cache || !follower.ignore_cache);
        alive && allowed && self.are_equal(v, leader) && !self.reaches(leader, v) && !self.reaches(v, leader)
    }

    fn are_equal(&self, a: VertexId, b: VertexId) -> bool {
        let (left, right) = (self.node(a), self.node(b));
        if left.is_root() {
            let same = |p: &super::Part, q: &super::Part| p.digest == q.digest && p.transient == q.transient;
            return right.is_root() && left.parts.iter().any(|p| right.parts.iter().any(|q| same(p, q)));
        }
        left.deps.len() == right.deps.len()
            && left.parts[0].digest == right.parts[0].digest
            && (0..left.deps.len()).all(|i| !self.sources(a, i).is_disjoint(&self.sources(b, i)))
    }

    /// Whether `from` waits for `to`, through inputs or through what its op asks for.
    pub(super) fn reaches(&self, from: VertexId, to: VertexId) -> bool {
        let floor = self.node(to).height;
        let mut seen = BTreeSet::from([from]);
        let mut rest = vec![from];
        while let Some(v) = rest.pop() {
            if v == to {
                return true;
            }
            let node = self.node(v);
            let below = node.deps.iter().map(|d| d.on).chain(node.children.iter().copied());
            rest.extend(below.filter(|&b| self.node(b).height >= floor && seen.insert(b)));
        }
        false
    }

    /// Keeps every vertex higher than those below it.
    pub(super) fn raise_height(&mut self, v: VertexId, height: u32) {
        let mut raising = vec![(v, height)];
        while let Some((v, height)) = raising.pop() {
            let node = self.node_mut(v);
            if node.height < height {
                node.height = height;
                raising.extend(node.consumers.iter().map(|&(c, _)| (c, height + 1)));
                raising.extend(node.parents.iter().map(|&p| (p, height + 1)));
            }
        }
    }

    fn merge(&mut self, v: VertexId, leader: VertexId) {
        self.stop(v);
        self.forget_tokens(v);
        self.turn(v, "merge", Stage::Merged(leader));
        for job in self.node(v).jobs.clone() {
            self.join(leader, job);
        }
        let caches = self.node(v).caches.clone();
        self.add_caches(leader, &caches);
        self.share_keys(v, leader);
        self.move_consumers(v, leader);
        self.leave_inputs(v);
        self.move_children(v, leader);
        self.commands.push(Command::Follow { follower: v, leader });
        self.enqueue(leader);
    }

    /// What is known of the one holds for the other.
    fn share_keys(&mut self, v: VertexId, leader: VertexId) {
        for i in 0..self.node(v).deps.len() {
            let other = self.alternatives(v, i);
            let own = self.alternatives(leader, i);
            let fresh = other.into_iter().filter(|a| !own.contains(a));
            self.node_mut(leader).deps[i].also.extend(fresh.collect::<Vec<_>>());
            self.touch(leader, i);
        }
        let outputs = self.node(v).outputs.len();
        if outputs > 0 {
            self.ensure_output(leader, outputs - 1);
        }
        for o in 0..outputs {
            let output = &self.node(v).outputs[o];
            let keys = output.keys.clone();
            let known = &self.node(leader).outputs[o].keys;
            let fresh: Vec<KeyId> = keys.into_iter().filter(|k| !known.contains(k)).collect();
            if !fresh.is_empty() && !self.node(leader).ignore_cache {
                self.take_keys(leader, o, fresh);
            }
            if let OutputState::Ready(_) = self.node(leader).outputs[o].state {
                self.link_more(leader, o);
            }
        }
    }

    fn move_consumers(&mut self, v: VertexId, leader: VertexId) {
        for (consumer, i) in std::mem::take(&mut self.node_mut(v).consumers) {
            let request = self.node(consumer).deps[i].request;
            self.set_request(consumer, i, Level::Nothing);
            self.forget_tokens(consumer);
            let node = self.node_mut(consumer);
            node.deps[i].on = leader;
            node.compared = 0;
            for output in &mut node.outputs {
                output.matches[i].probed = 0;
            }
            self.node_mut(leader).consumers.push((consumer, i));
            self.touch(consumer, i);
            self.set_request(consumer, i, request);
            self.raise_height(consumer, self.node(leader).height + 1);
            self.enqueue(consumer);
        }
        for o in 0..self.node(v).outputs.len() {
            for request in std::mem::take(&mut self.node_mut(v).outputs[o].builds) {
                self.unask(v, o, Level::Value);
                self.move_build(request, leader, o);
            }
        }
    }

    fn move_build(&mut self, request: super::RequestId, leader: VertexId, output: usize) {
        if let Some(r) = self.requests.get_mut(&request) {
            r.vertex = leader;
        }
        self.ask(leader, output, Level::Value);
        match self.node(leader).outputs[output].value().cloned() {
            Some(value) => self.reply(request, Ok(value)),
            None => self.node_mut(leader).outputs[output].builds.push(request),
        }
    }

    /// What `v` asked for belongs to `leader` now, and `leader` to what asked for `v`.
    fn move_children(&mut self, v: VertexId, leader: VertexId) {
        for child in std::mem::take(&mut self.node_mut(v).children) {
            self.node_mut(child).parents.retain(|p| *p != v);
            self.adopt(leader, child);
        }
        for parent in std::mem::take(&mut self.node_mut(v).parents) {
            self.node_mut(parent).children.retain(|c| *c != v);
            self.adopt(parent, leader);
        }
    }

    fn leave_inputs(&mut self, v: VertexId) {
        self.note_inputs(v, "merge");
        let node = self.node_mut(v);
        node.tally = Tally::default();
        node.touched.clear();
        for dep in std::mem::take(&mut node.deps) {
            self.node_mut(dep.on).consumers.retain(|(consumer, _)| *consumer != v);
        }
    }

    pub(super) fn forget_tokens(&mut self, v: VertexId) {
        for token in std::mem::take(&mut self.node_mut(v).tokens) {
            if let Some(known) = self.by_token.get_mut(&token) {
                known.retain(|k| *k != v);
                if known.is_empty() {
                    self.by_token.remove(&token);
                }
            }
        }
    }
}
