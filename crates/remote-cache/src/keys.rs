//! The keys of an imported cache.

use std::collections::{BTreeSet, HashMap};

use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::{Descriptor, Digest};
use solver::{KeyId, Link, RemoteKeys, ResultId};

use crate::config::CacheConfig;

/// The blobs that a cache has, by digest.
pub type Blobs = HashMap<Digest, Descriptor>;

/// Keys, links and results, ready to be asked.
#[derive(Debug, Default)]
pub struct Keys {
    keys: HashMap<KeyId, Key>,
    results: HashMap<ResultId, Stack>,
    /// The layers of each config.
    stacks: Vec<Stacks>,
}

/// Layers of a config, put on each other.
#[derive(Debug)]
enum Stack {
    /// A layer with all of its parents.
    Below { config: usize, top: usize },
    /// One by one, lowest first.
    Each { config: usize, layers: Vec<usize> },
}

#[derive(Debug, Default)]
struct Key {
    records: Vec<solver::Record>,
    /// The op, and for each input the keys that stand for it; nothing for a key without inputs.
    origins: Vec<Origin>,
    users: HashMap<Way, BTreeSet<KeyId>>,
}

/// How one key leads to another: by input and selector, to an op of this digest.
type Way = (usize, Option<Digest>, Digest);

/// For each input of an op the keys that stand for it, with selectors.
pub type Inputs = Vec<Vec<(KeyId, Option<Digest>)>>;

/// An op that leads to a key.
pub type Origin = (Digest, Inputs);

impl Keys {
    /// Takes in a config whose layers are among `blobs`; results with others are passed over. `name` tells the keys of this
    /// config from those of others.
    ///
    /// # Errors
    /// A config that points to nothing, or in circles.
    pub fn add(&mut self, name: &str, config: &CacheConfig, blobs: &Blobs) -> Result<()> {
        let stacks = Stacks::new(config, blobs)?;
        check_loops(config)?;
        let number = self.stacks.len();
        let id = |at: usize| match config.records[at].inputs.is_empty() {
            true => KeyId::from_stored(config.records[at].digest.as_str()),
            false => KeyId::foreign(name, &at.to_string()),
        };
        for (at, record) in config.records.iter().enumerate() {
            let mut inputs = Vec::new();
            for alternatives in &record.inputs {
                if alternatives.is_empty() {
                    return Err(invalid(format!("record {at} has an input without keys")));
                }
                let source = |input: &crate::config::Input| {
                    Ok((id(place(input.record, config.records.len(), "record")?), selector(&input.selector)?))
                };
                inputs.push(alternatives.iter().map(source).collect::<Result<Vec<_>>>()?);
            }
            self.enter(id(at), &record.digest, inputs);
            for result in &record.results {
                let top = place(result.layer, config.layers.len(), "layer")?;
                if stacks.whole[top] {
                    let result_id = ResultId(format!("{name}/{top}"));
                    let stack = Stack::Below { config: number, top };
                    self.add_result(&id(at), result_id, stack, result.created_at);
                }
            }
            for result in &record.chains {
                let layers = result.layers.iter().map(|l| place(*l, config.layers.len(), "layer"));
                let layers = layers.collect::<Result<Vec<_>>>()?;
                let is_whole = layers.iter().all(|&at| stacks.layers[at].blob.is_some());
                if is_whole && !layers.is_empty() {
                    let label = layers.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
                    let result_id = ResultId(format!("{name}/chain-{label}"));
                    let stack = Stack::Each { config: number, layers };
                    self.add_result(&id(at), result_id, stack, result.created_at);
                }
            }
        }
        self.stacks.push(stacks);
        Ok(())
    }

    fn enter(&mut self, id: KeyId, digest: &Digest, inputs: Inputs) {
        for (i, alternatives) in inputs.iter().enumerate() {
            for (from, selector) in alternatives {
                let way = (i, selector.clone(), digest.clone());
                self.keys.entry(from.clone()).or_default().users.entry(way).or_default().insert(id.clone());
            }
        }
        let key = self.keys.entry(id).or_default();
        if !inputs.is_empty() {
            key.origins.push((digest.clone(), inputs));
        }
    }

    fn add_result(&mut self, key: &KeyId, result: ResultId, stack: Stack, created_at: Timestamp) {
        self.results.insert(result.clone(), stack);
        let records = &mut self.keys.entry(key.clone()).or_default().records;
        if records.iter().all(|known| known.result != result) {
            records.push(solver::Record { result, created_at });
        }
    }

    /// The layers of a result, lowest first.
    pub fn layers(&self, result: &ResultId) -> Option<Vec<Descriptor>> {
        match self.results.get(result)? {
            Stack::Below { config, top } => Some(self.stacks[*config].below(*top)),
            Stack::Each { config, layers } => {
                layers.iter().map(|at| self.stacks[*config].layers[*at].blob.clone()).collect()
            }
        }
    }

    /// The ops that lead to a key; none for one of an op without inputs.
    pub fn origins(&self, key: &KeyId) -> &[Origin] {
        self.keys.get(key).map_or(&[], |key| &key.origins)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl RemoteKeys for Keys {
    fn contains(&self, key: &KeyId) -> bool {
        self.keys.contains_key(key)
    }

    fn targets(&self, from: &KeyId, link: &Link) -> Vec<KeyId> {
        let Some(key) = self.keys.get(from) else { return Vec::new() };
        let way = (link.input, link.selector.clone(), link.export_digest());
        key.users.get(&way).map(|users| users.iter().cloned().collect()).unwrap_or_default()
    }

    fn records(&self, key: &KeyId) -> Vec<solver::Record> {
        self.keys.get(key).map(|key| key.records.clone()).unwrap_or_default()
    }
}

/// The layers of a config.
#[derive(Debug)]
struct Stacks {
    layers: Vec<Layer>,
    /// Whether the blob of a layer is there, and those of all below it.
    whole: Vec<bool>,
}

#[derive(Debug)]
struct Layer {
    /// `None` where it is not there.
    blob: Option<Descriptor>,
    parent: Option<usize>,
}

impl Stacks {
    fn new(config: &CacheConfig, blobs: &Blobs) -> Result<Self> {
        let count = config.layers.len();
        let layer = |layer: &crate::config::Layer| {
            let parent = match layer.parent {
                -1 => None,
                parent => Some(place(parent, count, "layer")?),
            };
            Ok(Layer { blob: blobs.get(&layer.blob).cloned(), parent })
        };
        let layers: Vec<Layer> = config.layers.iter().map(layer).collect::<Result<_>>()?;
        let mut whole: Vec<Option<bool>> = vec![None; count];
        for start in 0..count {
            let (mut line, mut at) = (Vec::new(), Some(start));
            while let Some(layer) = at.filter(|&at| whole[at].is_none()) {
                if line.len() > count {
                    return Err(invalid("invalid looping layer"));
                }
                line.push(layer);
                at = layers[layer].parent;
            }
            let mut below = at.and_then(|at| whole[at]).unwrap_or(true);
            for &layer in line.iter().rev() {
                below &= layers[layer].blob.is_some();
                whole[layer] = Some(below);
            }
        }
        Ok(Stacks { layers, whole: whole.into_iter().map(|whole| whole == Some(true)).collect() })
    }

    fn below(&self, top: usize) -> Vec<Descriptor> {
        let mut stack = Vec::new();
        let mut at = Some(top);
        while let Some(layer) = at {
            stack.extend(self.layers[layer].blob.clone());
            at = self.layers[layer].parent;
        }
        stack.reverse();
        stack
    }
}

/// # Errors
/// A record that is an input of itself.
fn check_loops(config: &CacheConfig) -> Result<()> {
    #[derive(Clone, Copy, PartialEq)]
    enum Visit {
        Not,
        Open,
        Done,
    }
    let mut visits = vec![Visit::Not; config.records.len()];
    for start in 0..config.records.len() {
        let mut todo = vec![(start, false)];
        while let Some((at, below_done)) = todo.pop() {
            if below_done {
                visits[at] = Visit::Done;
                continue;
            }
            match visits[at] {
                Visit::Done => continue,
                Visit::Open => return Err(invalid("invalid looping record")),
                Visit::Not => visits[at] = Visit::Open,
            }
            todo.push((at, true));
            for input in config.records[at].inputs.iter().flatten() {
                let input = place(input.record, config.records.len(), "record")?;
                match visits[input] {
                    Visit::Open => return Err(invalid("invalid looping record")),
                    Visit::Not => todo.push((input, false)),
                    Visit::Done => {}
                }
            }
        }
    }
    Ok(())
}

fn place(at: i64, count: usize, what: &str) -> Result<usize> {
    let place = usize::try_from(at).ok().filter(|at| *at < count);
    place.ok_or_else(|| invalid(format!("there is no {what} {at}")))
}

fn selector(text: &str) -> Result<Option<Digest>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| invalid(format!("`{text}` is no selector")))
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::user(format!("invalid cache config: {why}"))
}

#[cfg(test)]
mod tests;
