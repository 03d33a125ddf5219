//! What a vertex does next, from what it knows and what is wanted of it.

use std::collections::BTreeSet;

use errdefs::Error;

use super::engine::{Core, Work};
use super::event::{Command, VertexId};
use super::node::{Content, Level, Map, Output, OutputState, Stage};
use crate::keys::KeyId;

impl<V: Clone> Core<V> {
    /// Brings `v` as far as it can go now: looks up, starts and cancels work, and asks its inputs.
    pub(super) fn advance(&mut self, v: VertexId) {
        let node = self.node(v);
        if matches!(node.stage, Stage::Failed(_) | Stage::Merged(_)) {
            return;
        }
        let wanted = node.wanted();
        let before = std::mem::replace(&mut self.node_mut(v).demand, wanted);
        if wanted == Level::Nothing {
            self.stop(v);
            self.node_mut(v).compared = 0;
            return;
        }
        for o in 0..self.node(v).outputs.len() {
            if self.node(v).outputs[o].demand() < Level::Value {
                self.stop_loading(v, o);
            }
        }
        self.look_up(v);
        if self.follow_equal(v) {
            return;
        }
        self.raise_levels(v);
        self.map(v);
        if self.bring_values(v) {
            self.ask_inputs(v, wanted < before);
        }
    }

    /// Works out how much is known of each output.
    fn raise_levels(&mut self, v: VertexId) {
        for o in 0..self.node(v).outputs.len() {
            let output = &self.node(v).outputs[o];
            if output.demand() == Level::Nothing || output.level >= Level::Slow {
                continue;
            }
            let level = self.level(v, o);
            if level > output.level {
                self.node_mut(v).outputs[o].level = level;
                self.publish(v, o);
            }
        }
    }

    fn level(&self, v: VertexId, o: usize) -> Level {
        let node = self.node(v);
        let output = &node.outputs[o];
        if node.ignore_cache || (node.is_root() && node.is_mapped()) || matches!(node.stage, Stage::Ran(_)) {
            Level::Slow
        } else if node.is_root() {
            if output.stored { Level::Fast } else { Level::Nothing }
        } else if node.parts.is_empty() {
            Level::Nothing
        } else if self.is_settled(v, o) {
            Level::Slow
        } else {
            self.lowest_input(v).min(Level::Fast)
        }
    }

    /// Whether no further key can come to light: the inputs of which all keys are known lead to nothing new in common.
    /// One input that leads nowhere is enough.
    fn is_settled(&self, v: VertexId, o: usize) -> bool {
        let output = &self.node(v).outputs[o];
        let mut common: Option<BTreeSet<&KeyId>> = None;
        for i in 0..output.matches.len() {
            if !self.is_exhausted(v, i) {
                continue;
            }
            let found = &output.matches[i].found;
            let shared: BTreeSet<&KeyId> = match common {
                None => found.iter().collect(),
                Some(c) => c.into_iter().filter(|k| found.contains(*k)).collect(),
            };
            if shared.is_empty() {
                return true;
            }
            common = Some(shared);
        }
        common.is_some_and(|c| c.iter().all(|k| output.keys.contains(k)))
    }

    /// Whether all keys of input `i` are known, that of its content too.
    fn is_exhausted(&self, v: VertexId, i: usize) -> bool {
        match self.node(v).deps[i].content {
            Content::Absent => self.input_level(v, i) >= Level::Slow,
            Content::Known(_) => true,
            Content::Undecided | Content::Unknown | Content::Hashing(_) => false,
        }
    }

    fn input_level(&self, v: VertexId, i: usize) -> Level {
        let dep = &self.node(v).deps[i];
        self.node(dep.on).outputs[dep.output].reached()
    }

    fn input_value(&self, v: VertexId, i: usize) -> Option<V> {
        let dep = &self.node(v).deps[i];
        self.node(dep.on).outputs[dep.output].value().cloned()
    }

    fn lowest_input(&self, v: VertexId) -> Level {
        let levels = (0..self.node(v).deps.len()).map(|i| self.input_level(v, i));
        levels.min().unwrap_or(Level::Value)
    }

    /// Asks for the next part of the cache map while it may help.
    fn map(&mut self, v: VertexId) {
        let node = self.node(v);
        let needed = node.parts.is_empty() || node.outputs.iter().any(|o| needs_part(o, node.ignore_cache));
        match node.map {
            Map::Open if needed => self.start_map(v),
            Map::Asking(task) if !needed => {
                self.cancel(task);
                self.node_mut(v).map = Map::Open;
            }
            _ => {}
        }
    }

    /// Loads, records or runs for the outputs whose value is wanted. False when the vertex failed over it.
    fn bring_values(&mut self, v: VertexId) -> bool {
        for o in 0..self.node(v).outputs.len() {
            let node = self.node(v);
            if node.outputs[o].is_missing() {
                match &node.stage {
                    Stage::Ran(values) => match values.get(o).cloned().flatten() {
                        Some(value) => self.start_save(v, o, value),
                        None => {
                            let error = Error::internal(format!("`{}` gave no output {o}", node.name));
                            self.fail(v, error);
                            return false;
                        }
                    },
                    Stage::Running(_) => {}
                    _ => self.start_load(v, o),
                }
            }
        }
        let must_run = self.must_run(v);
        match self.node(v).stage {
            Stage::Running(task) if !must_run => {
                self.cancel(task);
                self.node_mut(v).stage = Stage::Seeking;
            }
            Stage::Seeking if must_run && self.node(v).is_mapped() => {
                if let Some(inputs) = self.inputs(v) {
                    self.start_exec(v, inputs);
                }
            }
            _ => {}
        }
        true
    }

    /// Some value is wanted that no record can bring.
    fn must_run(&self, v: VertexId) -> bool {
        self.node(v).outputs.iter().any(|o| o.is_missing() && o.level >= Level::Slow)
    }

    /// The values of all inputs, once they are there and their content keys are known: a run is recorded by all keys.
    fn inputs(&self, v: VertexId) -> Option<Vec<V>> {
        let deps = self.node(v).deps.iter().enumerate();
        deps.map(|(i, dep)| match dep.content {
            Content::Absent | Content::Known(_) => self.input_value(v, i),
            _ => None,
        })
        .collect()
    }

    /// Loads the newest record of an output, if there is one.
    fn start_load(&mut self, v: VertexId, o: usize) {
        let Some(record) = self.node_mut(v).outputs[o].records.pop() else { return };
        let task = self.start(Work::Load(v, o));
        let result = record.result.clone();
        self.node_mut(v).outputs[o].state = OutputState::Loading { task, record };
        self.commands.push(Command::Load { task, vertex: v, result });
    }

    /// Says how much is wanted of each input. While the vertex is under way a wish is not taken back, unless less is
    /// wanted of the vertex itself (`lowered`): an input that was begun is seldom useless.
    fn ask_inputs(&mut self, v: VertexId, lowered: bool) {
        let node = self.node(v);
        let under_way = node.outputs.iter().any(|o| o.is_open() && o.demand() > Level::Nothing);
        let done = matches!(node.stage, Stage::Ran(_));
        for i in 0..node.deps.len() {
            let mut level = if under_way && !done { self.wish(v, i) } else { Level::Nothing };
            if under_way && !done && !lowered {
                level = level.max(self.node(v).deps[i].request);
            }
            if level < Level::Value {
                self.stop_hashing(v, i);
            }
            self.set_request(v, i, level);
            if self.blocked(v, i) {
                return;
            }
            if level == Level::Value
                && matches!(self.node(v).deps[i].content, Content::Unknown)
                && let Some(input) = self.input_value(v, i)
            {
                self.start_hash(v, i, input);
            }
        }
    }

    /// Whether `v` asks an input for what it failed to bring; `v` fails then too.
    fn blocked(&mut self, v: VertexId, i: usize) -> bool {
        let dep = &self.node(v).deps[i];
        let on = self.node(dep.on);
        if dep.request == Level::Nothing || on.outputs[dep.output].value().is_some() {
            return false;
        }
        let Stage::Failed(error) = &on.stage else { return false };
        let error = error.clone();
        self.fail(v, error);
        true
    }

    /// How much of input `i` would help the outputs that are still open.
    fn wish(&self, v: VertexId, i: usize) -> Level {
        let node = self.node(v);
        let open = (0..node.outputs.len()).filter(|&o| node.outputs[o].is_open());
        open.map(|o| self.wish_for(v, o, i)).max().unwrap_or(Level::Nothing)
    }

    fn wish_for(&self, v: VertexId, o: usize, i: usize) -> Level {
        let node = self.node(v);
        let output = &node.outputs[o];
        let demand = output.demand();
        if demand == Level::Nothing {
            return Level::Nothing;
        }
        if output.level >= Level::Slow {
            return if demand == Level::Value { Level::Value } else { Level::Nothing };
        }
        if node.parts.is_empty() || demand == Level::Fast || self.lowest_input(v) < Level::Fast {
            return Level::Fast;
        }
        // Inputs that lead nowhere come first: when one of them stays so, nothing else needs to be looked into.
        let found = |m: &super::node::Match| !m.found.is_empty();
        let waits = found(&output.matches[i]) && !output.matches.iter().all(found);
        if waits || self.is_exhausted(v, i) {
            Level::Fast
        } else if self.input_level(v, i) < Level::Slow {
            Level::Slow
        } else {
            Level::Value
        }
    }
}

/// Whether another part of the cache map could bring an output nearer to what is wanted of it.
fn needs_part<V>(output: &Output<V>, ignore_cache: bool) -> bool {
    if !output.is_open() {
        return false;
    }
    match output.demand() {
        Level::Nothing => false,
        Level::Fast => !ignore_cache && !output.stored,
        Level::Slow => !ignore_cache,
        Level::Value => output.records.is_empty(),
    }
}
