//! The edges of the state machines: the only place where a state becomes another.
//!
//! Each has a name. docs/solver.md draws them all and says when each is taken; a test compares what random graphs took
//! with that table, in both directions.

use super::engine::Core;
use super::event::VertexId;
use super::node::{Content, Map, OutputState, Stage};

/// Machine, edge, and the states on both sides.
#[cfg(test)]
pub(super) type Taken = (&'static str, &'static str, &'static str, &'static str);

/// What is there before a state machine begins and after it ends.
const NOTHING: &str = "nothing";

impl<V: Clone> Core<V> {
    pub(super) fn turn(&mut self, v: VertexId, edge: &'static str, stage: Stage<V>) {
        let to = stage.name();
        let from = std::mem::replace(&mut self.node_mut(v).stage, stage).name();
        self.note("vertex", edge, from, to);
    }

    pub(super) fn turn_output(
        &mut self,
        v: VertexId,
        o: usize,
        edge: &'static str,
        state: OutputState<V>,
    ) -> OutputState<V> {
        let to = state.name();
        let old = std::mem::replace(&mut self.node_mut(v).outputs[o].state, state);
        self.note("output", edge, old.name(), to);
        old
    }

    pub(super) fn turn_map(&mut self, v: VertexId, edge: &'static str, map: Map) {
        let to = map.name();
        let from = std::mem::replace(&mut self.node_mut(v).map, map).name();
        self.note("map", edge, from, to);
    }

    pub(super) fn turn_content(&mut self, v: VertexId, i: usize, edge: &'static str, content: Content) {
        let to = content.name();
        let from = std::mem::replace(&mut self.node_mut(v).deps[i].content, content).name();
        self.note("content", edge, from, to);
    }

    #[cfg(test)]
    fn note(&mut self, machine: &'static str, edge: &'static str, from: &'static str, to: &'static str) {
        self.taken.insert((machine, edge, from, to));
    }

    #[cfg(not(test))]
    fn note(&mut self, _: &str, _: &str, _: &str, _: &str) {}

    /// Notes that the machines of a vertex begin.
    pub(super) fn note_new(&mut self, v: VertexId) {
        let (stage, map) = (self.node(v).stage.name(), self.node(v).map.name());
        self.note("vertex", "new", NOTHING, stage);
        self.note("map", "new", NOTHING, map);
        self.note_inputs(v, "new");
    }

    /// Notes that the machines of a vertex end.
    pub(super) fn note_dropped(&mut self, v: VertexId) {
        let (stage, map) = (self.node(v).stage.name(), self.node(v).map.name());
        self.note("vertex", "drop", stage, NOTHING);
        self.note("map", "drop", map, NOTHING);
        self.note_outputs(v, "drop");
        self.note_inputs(v, "drop");
    }

    /// Notes that the machines of the outputs begin or end.
    pub(super) fn note_outputs(&mut self, v: VertexId, edge: &'static str) {
        if cfg!(test) {
            for o in 0..self.node(v).outputs.len() {
                let state = self.node(v).outputs[o].state.name();
                match edge {
                    "new" if state != "Open" => {}
                    "new" => self.note("output", edge, NOTHING, state),
                    _ => self.note("output", edge, state, NOTHING),
                }
            }
        }
    }

    /// Notes that the machines of the inputs begin or end.
    pub(super) fn note_inputs(&mut self, v: VertexId, edge: &'static str) {
        if cfg!(test) {
            for i in 0..self.node(v).deps.len() {
                let content = self.node(v).deps[i].content.name();
                match edge {
                    "new" => self.note("content", edge, NOTHING, content),
                    _ => self.note("content", edge, content, NOTHING),
                }
            }
        }
    }
}

impl<V> Stage<V> {
    fn name(&self) -> &'static str {
        match self {
            Stage::Seeking => "Seeking",
            Stage::Running(_) => "Running",
            Stage::Ran(_) => "Ran",
            Stage::Failed(_) => "Failed",
            Stage::Merged(_) => "Merged",
        }
    }
}

impl<V> OutputState<V> {
    fn name(&self) -> &'static str {
        match self {
            OutputState::Open => "Open",
            OutputState::Loading { .. } => "Loading",
            OutputState::Saving { .. } => "Saving",
            OutputState::Ready(_) => "Ready",
        }
    }
}

impl Map {
    fn name(&self) -> &'static str {
        match self {
            Map::Open => "Open",
            Map::Asking(_) => "Asking",
            Map::Complete => "Complete",
        }
    }
}

impl Content {
    fn name(&self) -> &'static str {
        match self {
            Content::Undecided => "Undecided",
            Content::Absent => "Absent",
            Content::Unknown => "Unknown",
            Content::Hashing(_) => "Hashing",
            Content::Known(_) => "Known",
        }
    }
}
