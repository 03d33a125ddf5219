//! From the keys of a result to all that they are made of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use errdefs::Result;
use oci::Digest;
use solver::{KeyId, KeyStore};

use crate::chains::{Chains, ItemId, Layers, Source};
use crate::import::Imported;
use crate::keys::{Inputs, Origin};

/// Follows keys down, in the own store and in caches of others.
pub struct Walk<'a> {
    own: &'a dyn KeyStore,
    caches: &'a [Arc<Imported>],
    /// `None` while what is below is being followed.
    known: HashMap<KeyId, Option<Vec<ItemId>>>,
    chains: Chains,
}

impl<'a> Walk<'a> {
    pub fn new(own: &'a dyn KeyStore, caches: &'a [Arc<Imported>]) -> Self {
        Walk { own, caches, known: HashMap::new(), chains: Chains::default() }
    }

    /// Adds keys with all that leads to them, and what they lead to.
    pub fn add(&mut self, keys: &[KeyId], layers: Option<Layers>) -> Result<()> {
        for key in keys {
            self.follow(key)?;
            for item in self.known.get(key).cloned().flatten().unwrap_or_default() {
                if let Some(layers) = &layers {
                    self.chains.add_result(item, layers.clone());
                }
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Chains {
        self.chains
    }

    /// Enters a key, after all keys below it. Graphs may be deep, so this is a loop.
    fn follow(&mut self, key: &KeyId) -> Result<()> {
        let mut todo: Vec<(KeyId, Option<Vec<Origin>>)> = vec![(key.clone(), None)];
        while let Some((key, origins)) = todo.pop() {
            if let Some(origins) = origins {
                let items = self.items(&key, &origins);
                self.known.insert(key, Some(items));
                continue;
            }
            if self.known.contains_key(&key) {
                continue;
            }
            self.known.insert(key.clone(), None);
            let origins = self.origins(&key)?;
            let below: Vec<KeyId> = origins
                .iter()
                .flat_map(|(_, inputs)| inputs.iter().flatten())
                .filter(|(key, _)| !self.known.contains_key(key))
                .map(|(key, _)| key.clone())
                .collect();
            todo.push((key, Some(origins)));
            todo.extend(below.into_iter().map(|key| (key, None)));
        }
        Ok(())
    }

    /// The ops that lead to a key.
    fn origins(&self, key: &KeyId) -> Result<Vec<Origin>> {
        if key.is_foreign() {
            return Ok(self.caches.iter().flat_map(|cache| cache.origins(key)).cloned().collect());
        }
        let mut ops: BTreeMap<Digest, Inputs> = BTreeMap::new();
        for (from, link) in self.own.origins(key)? {
            let inputs = ops.entry(link.export_digest()).or_default();
            if inputs.len() <= link.input {
                inputs.resize(link.input + 1, Vec::new());
            }
            if !from.is_transient() {
                inputs[link.input].push((from, link.selector));
            }
        }
        Ok(ops.into_iter().collect())
    }

    /// What stands for a key in the export; nothing where an input has nothing that does.
    fn items(&mut self, key: &KeyId, origins: &[Origin]) -> Vec<ItemId> {
        if origins.is_empty() {
            let digest = key.as_str().parse::<Digest>().ok().filter(|_| !key.is_transient());
            return digest.map(|digest| self.chains.root(&digest)).into_iter().collect();
        }
        let mut items = Vec::new();
        for (digest, inputs) in origins {
            let sources = |alternatives: &Vec<(KeyId, Option<Digest>)>| -> Vec<Source> {
                let items = alternatives.iter().flat_map(|(key, selector)| {
                    let items = self.known.get(key).and_then(Option::as_ref).into_iter().flatten();
                    items.map(|item| (*item, selector.clone()))
                });
                items.collect()
            };
            let inputs: Vec<Vec<Source>> = inputs.iter().map(sources).collect();
            if inputs.iter().all(|sources| !sources.is_empty()) {
                items.push(self.chains.op(digest, &inputs));
            }
        }
        items
    }
}
