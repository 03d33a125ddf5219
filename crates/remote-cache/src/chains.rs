//! The keys of an export, as they are gathered: each op once, however many ways lead to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use oci::{Descriptor, Digest};

use crate::config::{CacheConfig, Input, LayerResult, Record};
use crate::stacks::Stacks;

/// A key in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(usize);

/// A key that stands for an input, and which part of the input counts.
pub type Source = (ItemId, Option<Digest>);

/// The layers of a result, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    pub descriptors: Vec<Descriptor>,
    pub created_at: Timestamp,
}

impl Layers {
    fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.descriptors.iter().map(|d| &d.digest)
    }
}

/// Keys with their inputs and results.
#[derive(Debug, Default)]
pub struct Chains {
    items: Vec<Item>,
    roots: HashMap<Digest, ItemId>,
}

#[derive(Debug)]
struct Item {
    digest: Digest,
    inputs: Vec<BTreeSet<Source>>,
    /// What it is an input of: (number of the input, selector, digest of the op).
    users: HashMap<(usize, Option<Digest>, Digest), BTreeSet<ItemId>>,
    results: Vec<Layers>,
    /// The item that stands for this one since they turned out to be the same.
    same_as: Option<ItemId>,
}

impl Chains {
    /// A key of an op without inputs, or of content.
    pub fn root(&mut self, digest: &Digest) -> ItemId {
        if let Some(known) = self.roots.get(digest) {
            return *known;
        }
        let id = self.push(digest.clone(), 0);
        self.roots.insert(digest.clone(), id);
        id
    }

    /// A key of an op, which may have any of the given keys for each input. One that shares a key with it for each input
    /// is the same.
    pub fn op(&mut self, digest: &Digest, inputs: &[Vec<Source>]) -> ItemId {
        let mut known = self.known(digest, inputs).into_iter();
        let id = match known.next() {
            Some(first) => {
                known.for_each(|other| self.unite(first, other));
                first
            }
            None => self.push(digest.clone(), inputs.len()),
        };
        let below = self.all_users(id);
        for (i, sources) in inputs.iter().enumerate() {
            for (source, selector) in sources {
                let source = self.resolve(*source);
                // What is made of a key cannot stand for its input.
                if !below.contains(&source) {
                    self.link(source, id, i, selector.clone());
                }
            }
        }
        id
    }

    /// Adds a result to a key.
    pub fn add_result(&mut self, id: ItemId, result: Layers) {
        let id = self.resolve(id);
        let results = &mut self.items[id.0].results;
        if !results.contains(&result) {
            results.push(result);
        }
    }

    fn push(&mut self, digest: Digest, inputs: usize) -> ItemId {
        let (users, results) = Default::default();
        self.items.push(Item {
            digest,
            inputs: vec![BTreeSet::new(); inputs],
            users,
            results,
            same_as: None,
        });
        ItemId(self.items.len() - 1)
    }

    fn resolve(&self, mut id: ItemId) -> ItemId {
        while let Some(same) = self.items[id.0].same_as {
            id = same;
        }
        id
    }

    fn known(&self, digest: &Digest, inputs: &[Vec<Source>]) -> BTreeSet<ItemId> {
        let mut common: Option<BTreeSet<ItemId>> = None;
        for (i, sources) in inputs.iter().enumerate() {
            let mut reached = BTreeSet::new();
            for (source, selector) in sources {
                let users = &self.items[self.resolve(*source).0].users;
                let found = users.get(&(i, selector.clone(), digest.clone()));
                reached.extend(found.into_iter().flatten().map(|id| self.resolve(*id)));
            }
            if let Some(common) = &common {
                reached.retain(|id| common.contains(id));
            }
            if reached.is_empty() {
                return reached;
            }
            common = Some(reached);
        }
        common.unwrap_or_default()
    }

    fn link(&mut self, source: ItemId, to: ItemId, input: usize, selector: Option<Digest>) {
        let digest = self.items[to.0].digest.clone();
        self.items[source.0].users.entry((input, selector.clone(), digest)).or_default().insert(to);
        self.items[to.0].inputs[input].insert((source, selector));
    }

    /// Makes two keys one.
    fn unite(&mut self, kept: ItemId, other: ItemId) {
        let inputs = std::mem::take(&mut self.items[other.0].inputs);
        let users = std::mem::take(&mut self.items[other.0].users);
        let results = std::mem::take(&mut self.items[other.0].results);
        self.items[other.0].same_as = Some(kept);
        for (i, sources) in inputs.into_iter().enumerate() {
            for (source, selector) in sources {
                let source = self.resolve(source);
                if source != kept {
                    self.link(source, kept, i, selector);
                }
            }
        }
        for ((input, selector, _), to) in users {
            for to in to {
                let to = self.resolve(to);
                if let Some(sources) = self.items[to.0].inputs.get_mut(input) {
                    sources.remove(&(other, selector.clone()));
                }
                if to != kept {
                    self.link(kept, to, input, selector.clone());
                }
            }
        }
        results.into_iter().for_each(|result| self.add_result(kept, result));
    }

    /// An item and all that is made of it.
    fn all_users(&self, id: ItemId) -> BTreeSet<ItemId> {
        let mut seen = BTreeSet::from([id]);
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            for user in self.items[id.0].users.values().flatten() {
                let user = self.resolve(*user);
                if seen.insert(user) {
                    todo.push(user);
                }
            }
        }
        seen
    }

    /// The config, and the blobs that it names. What it looks like follows from what was added alone, not from the order.
    pub fn config(&self) -> (CacheConfig, BTreeMap<Digest, Descriptor>) {
        let groups = self.groups();
        let mut stacks = Stacks::default();
        let mut best_of = |group: &Vec<ItemId>| {
            let best = best(group.iter().flat_map(|id| &self.items[id.0].results))?;
            Some((stacks.add(&best.descriptors), best.created_at))
        };
        let results: Vec<_> = groups.iter().map(&mut best_of).collect();
        let (layers, places) = stacks.layers();
        let members = groups.iter().enumerate().flat_map(|(at, group)| group.iter().map(move |id| (*id, at)));
        let position: HashMap<ItemId, usize> = members.collect();
        let record = |(group, result): (&Vec<ItemId>, Option<(usize, Timestamp)>)| {
            let item = &self.items[group[0].0];
            let best = result.map(|(top, created_at)| LayerResult { layer: places[top], created_at });
            Record {
                results: best.into_iter().collect(),
                chains: Vec::new(),
                digest: item.digest.clone(),
                inputs: item.inputs.iter().map(|sources| self.inputs(sources, &position)).collect(),
            }
        };
        let records = groups.iter().zip(results).map(record).collect();
        (CacheConfig { layers, records }, stacks.blobs)
    }

    fn inputs(&self, sources: &BTreeSet<Source>, position: &HashMap<ItemId, usize>) -> Vec<Input> {
        let mut inputs: Vec<_> = sources
            .iter()
            .filter_map(|(source, selector)| {
                let record = *position.get(&self.resolve(*source))? as i64;
                Some((record, selector.as_ref().map(ToString::to_string).unwrap_or_default()))
            })
            .collect();
        inputs.sort();
        inputs.dedup();
        inputs.into_iter().map(|(record, selector)| Input { selector, record }).collect()
    }

    /// The items that can be written down, sorted; those that are the same in groups.
    fn groups(&self) -> Vec<Vec<ItemId>> {
        let mut named: Vec<(ItemId, Digest)> = self.names().into_iter().collect();
        named.sort_by(|(a, name), (b, other)| {
            let (left, right) = (&self.items[a.0], &self.items[b.0]);
            let shape = |item: &Item| item.inputs.iter().map(BTreeSet::len).collect::<Vec<_>>();
            let by_shape = (&left.digest, left.inputs.len(), shape(left));
            by_shape
                .cmp(&(&right.digest, right.inputs.len(), shape(right)))
                .then(name.cmp(other))
                .then(a.cmp(b))
        });
        named.chunk_by(|a, b| a.1 == b.1).map(|group| group.iter().map(|(id, _)| *id).collect()).collect()
    }

    /// A digest of each item with all that it is made of. Those that lack an input have none.
    fn names(&self) -> HashMap<ItemId, Digest> {
        let mut names: HashMap<ItemId, Digest> = HashMap::new();
        let mut visited = BTreeSet::new();
        let mut todo: Vec<(ItemId, bool)> =
            (0..self.items.len()).rev().map(|at| (self.resolve(ItemId(at)), false)).collect();
        while let Some((id, below_done)) = todo.pop() {
            let item = &self.items[id.0];
            if below_done {
                if let Some(name) = self.name(item, &names) {
                    names.insert(id, name);
                }
            } else if visited.insert(id) {
                todo.push((id, true));
                let sources = item.inputs.iter().flatten();
                todo.extend(sources.map(|(source, _)| (self.resolve(*source), false)));
            }
        }
        names
    }

    fn name(&self, item: &Item, names: &HashMap<ItemId, Digest>) -> Option<Digest> {
        let mut text = item.digest.to_string();
        for sources in &item.inputs {
            let mut lines: Vec<String> = sources
                .iter()
                .filter_map(|(source, selector)| {
                    let name = names.get(&self.resolve(*source))?;
                    Some(format!(" {name} {}", selector.as_ref().map_or("", Digest::as_str)))
                })
                .collect();
            if lines.is_empty() {
                return None;
            }
            lines.sort();
            text.push('\n');
            text.push_str(&lines.concat());
        }
        Some(Digest::of(text))
    }
}

/// The newest result.
fn best<'a>(results: impl Iterator<Item = &'a Layers>) -> Option<&'a Layers> {
    results
        .filter(|result| !result.descriptors.is_empty())
        .max_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.digests().cmp(b.digests())))
}

#[cfg(test)]
mod tests;
