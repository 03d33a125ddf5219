//! What a vertex does next, from what it knows and what is wanted of it.

use errdefs::Error;

use super::engine::{Core, Work};
use super::event::{Command, VertexId};
use super::node::{Content, Found, Level, Map, Output, OutputState, Phase, Stage};

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
        let touched = self.look_up(v);
        if self.follow_equal(v) {
            return;
        }
        self.raise_levels(v);
        self.map(v);
        if self.bring_values(v) {
            self.ask_inputs(v, wanted < before, touched);
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
        } else if output.is_settled() {
            Level::Slow
        } else if node.tally.below_fast == 0 {
            Level::Fast
        } else {
            Level::Nothing
        }
    }

    fn input_value(&self, v: VertexId, i: usize) -> Option<V> {
        let dep = &self.node(v).deps[i];
        self.node(dep.on).outputs[dep.output].value().cloned()
    }

    /// Asks for the next part of the cache map while it may help.
    fn map(&mut self, v: VertexId) {
        let node = self.node(v);
        let needed = node.parts.is_empty() || node.outputs.iter().any(|o| needs_part(o, node.ignore_cache));
        match node.map {
            Map::Open if needed => self.start_map(v),
            Map::Asking(task) if !needed => {
                self.cancel(task);
                self.turn_map(v, "stop", Map::Open);
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
                self.turn(v, "stop", Stage::Seeking);
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
        let node = self.node(v);
        if node.tally.missing > 0 {
            return None;
        }
        (0..node.deps.len()).map(|i| self.input_value(v, i)).collect()
    }

    /// Loads the best record of an output, if there is one: an own one before one of others, then the newest.
    fn start_load(&mut self, v: VertexId, o: usize) {
        let Some(found) = self.node_mut(v).outputs[o].records.pop() else { return };
        let task = self.start(Work::Load(v, o));
        let Found { record, cache } = found.clone();
        self.turn_output(v, o, "load", OutputState::Loading { task, found });
        self.commands.push(Command::Load { task, vertex: v, record, cache });
    }

    /// Says how much is wanted of each input; only of those in `touched` where nothing else has changed. While the
    /// vertex is under way a wish is not taken back, unless less is wanted of the vertex itself (`lowered`): an input
    /// that was begun is seldom useless.
    fn ask_inputs(&mut self, v: VertexId, lowered: bool, touched: Vec<usize>) {
        let mut changed = lowered;
        let mut under_way = false;
        for o in 0..self.node(v).outputs.len() {
            let phase = self.phase(v, o);
            under_way |= phase != Phase::Nothing;
            changed |= std::mem::replace(&mut self.node_mut(v).outputs[o].asked, phase) != phase;
        }
        let inputs = if changed { (0..self.node(v).deps.len()).collect() } else { touched };
        for i in inputs {
            let mut level = self.wish(v, i);
            if under_way && !lowered {
                level = level.max(self.node(v).deps[i].request);
            }
            if !self.ask_input(v, i, level) {
                return;
            }
        }
    }

    /// Asks one input, and has its content hashed where that is wanted. False when the vertex failed over it.
    fn ask_input(&mut self, v: VertexId, i: usize, level: Level) -> bool {
        if level < Level::Value {
            self.stop_hashing(v, i);
        }
        self.set_request(v, i, level);
        if self.blocked(v, i) {
            return false;
        }
        if level == Level::Value
            && matches!(self.node(v).deps[i].content, Content::Unknown)
            && let Some(input) = self.input_value(v, i)
        {
            self.start_hash(v, i, input);
        }
        true
    }

    /// What an output needs of the inputs.
    fn phase(&self, v: VertexId, o: usize) -> Phase {
        let node = self.node(v);
        let output = &node.outputs[o];
        let demand = output.demand();
        if demand == Level::Nothing || !output.is_open() || matches!(node.stage, Stage::Ran(_)) {
            Phase::Nothing
        } else if output.level >= Level::Slow {
            if demand == Level::Value { Phase::Run } else { Phase::Hold }
        } else if node.parts.is_empty() || demand == Level::Fast || node.tally.below_fast > 0 {
            Phase::Fast
        } else {
            // Inputs that lead nowhere come first: when one of them stays so, nothing else needs to be looked into.
            Phase::Probe { only_unmatched: output.unmatched > 0 }
        }
    }

    /// How much of input `i` would help.
    fn wish(&self, v: VertexId, i: usize) -> Level {
        let node = self.node(v);
        let dep = &node.deps[i];
        let of_output = |output: &Output<V>| match output.asked {
            Phase::Nothing | Phase::Hold => Level::Nothing,
            Phase::Fast => Level::Fast,
            Phase::Probe { only_unmatched } if only_unmatched && !output.matches[i].found.is_empty() => {
                Level::Fast
            }
            Phase::Probe { .. } if dep.is_exhausted() => Level::Fast,
            Phase::Probe { .. } if dep.seen.level < Level::Slow => Level::Slow,
            Phase::Probe { .. } | Phase::Run => Level::Value,
        };
        node.outputs.iter().map(of_output).max().unwrap_or(Level::Nothing)
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
