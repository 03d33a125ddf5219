//! Keys and records: following links to keys that are known, and writing down new ones.

use std::collections::BTreeSet;

use super::engine::Core;
use super::event::VertexId;
use super::node::{Alternative, Content, Found, Level, Output, Seen};
use crate::keys::{Entry, KeyId, KeyInfo, Link};
use crate::remote::Remote;
use crate::results::{Record, ResultId};

impl<V: Clone> Core<V> {
    /// Looks at the inputs that got on, and looks up what was not looked up yet for the outputs that somebody wants.
    /// Gives the inputs that got on.
    pub(super) fn look_up(&mut self, v: VertexId) -> Vec<usize> {
        let touched = std::mem::take(&mut self.node_mut(v).touched);
        for &i in &touched {
            self.see(v, i);
        }
        let node = self.node(v);
        let possible = !node.ignore_cache && !node.parts.is_empty();
        for o in 0..self.node(v).outputs.len() {
            let output = &self.node(v).outputs[o];
            let wanted = output.value().is_none() && output.demand() > Level::Nothing;
            if !possible || !wanted {
                self.node_mut(v).outputs[o].behind |= !touched.is_empty();
                continue;
            }
            let fresh =
                if self.node(v).is_root() { self.root_keys(v, o) } else { self.linked_keys(v, o, &touched) };
            if !fresh.is_empty() {
                self.take_keys(v, o, fresh);
            }
        }
        touched
    }

    /// Takes note of how input `i` stands.
    fn see(&mut self, v: VertexId, i: usize) {
        let dep = &self.node(v).deps[i];
        let input = &self.node(dep.on).outputs[dep.output];
        let level = input.reached();
        let content_open = !matches!(dep.content, Content::Absent | Content::Known(_));
        let seen = Seen {
            level,
            alternatives: input.keys.len() + dep.also.len() + usize::from(dep.content_key().is_some()),
            hidden: input.hidden.len(),
            missing: level < Level::Value || content_open,
        };
        let node = self.node_mut(v);
        node.tally.remove(&node.deps[i].seen);
        node.tally.add(&seen);
        node.deps[i].seen = seen;
        node.deps[i].touched = false;
    }

    /// Adds keys to an output, and the results known under them.
    pub(super) fn take_keys(&mut self, v: VertexId, o: usize, fresh: Vec<KeyId>) {
        let records: Vec<Found> = fresh.iter().flat_map(|k| self.records(v, k)).collect();
        let output = &mut self.node_mut(v).outputs[o];
        output.keys.extend(fresh);
        self.take_records(v, o, records);
        self.publish(v, o);
    }

    fn take_records(&mut self, v: VertexId, o: usize, records: Vec<Found>) {
        let output = &mut self.node_mut(v).outputs[o];
        for found in records {
            if !output.is_gone(&found) && !output.has_record(&found) {
                output.records.push(found);
            }
        }
        output.records.sort_by_key(|f| (f.cache.is_none(), f.record.created_at));
    }

    fn records(&self, v: VertexId, key: &KeyId) -> Vec<Found> {
        let mut records: Vec<Found> =
            self.own_records(key).map(|record| Found { record, cache: None }).collect();
        for Remote { id, keys } in &self.node(v).caches {
            records.extend(keys.records(key).into_iter().map(|record| Found { record, cache: Some(*id) }));
        }
        records
    }

    fn own_records(&self, key: &KeyId) -> impl Iterator<Item = Record> + use<'_, V> {
        let records = if key.is_foreign() { Vec::new() } else { self.keys.records(key).unwrap_or_else(miss) };
        records.into_iter().filter(|r| {
            let exists = (self.exists)(&r.result);
            if !exists {
                self.forget(&r.result);
            }
            exists
        })
    }

    fn is_stored(&self, v: VertexId, key: &KeyId) -> bool {
        self.keys.contains(key).unwrap_or_else(miss)
            || self.node(v).caches.iter().any(|c| c.keys.contains(key))
    }

    /// Where a link leads to, in the own store and in the caches that `v` may look into.
    fn targets(&self, v: VertexId, from: &KeyId, link: &Link) -> BTreeSet<KeyId> {
        let mut found = self.own_targets(from, link);
        found.extend(self.node(v).caches.iter().flat_map(|c| c.keys.targets(from, link)));
        found
    }

    fn own_targets(&self, from: &KeyId, link: &Link) -> BTreeSet<KeyId> {
        match from.is_foreign() {
            true => BTreeSet::new(),
            false => self.keys.targets(from, link).unwrap_or_else(miss).into_iter().collect(),
        }
    }

    pub(super) fn forget(&self, result: &ResultId) {
        if let Err(e) = self.keys.forget(result) {
            tracing::warn!(error = %e, "failed to forget a result that is gone");
        }
    }

    fn root_keys(&mut self, v: VertexId, o: usize) -> Vec<KeyId> {
        let node = self.node(v);
        let from = node.outputs[o].probed;
        let fresh: Vec<KeyId> =
            node.parts[from..].iter().map(|p| KeyId::root(&p.digest, o, p.transient)).collect();
        let stored = fresh.iter().any(|k| self.is_stored(v, k));
        let node = self.node_mut(v);
        let parts = node.parts.len();
        let output = &mut node.outputs[o];
        output.probed = parts;
        output.stored |= stored;
        fresh.into_iter().filter(|k| !output.keys.contains(k)).collect()
    }

    /// Follows the links of inputs that have new keys; gives the new keys that all inputs lead to.
    fn linked_keys(&mut self, v: VertexId, o: usize, touched: &[usize]) -> Vec<KeyId> {
        let behind = std::mem::take(&mut self.node_mut(v).outputs[o].behind);
        let mut changed = false;
        if behind {
            for i in 0..self.node(v).deps.len() {
                changed |= self.match_input(v, o, i);
            }
        } else {
            for &i in touched {
                changed |= self.match_input(v, o, i);
            }
        }
        let output = &self.node(v).outputs[o];
        if changed && output.unmatched == 0 { common_keys(output) } else { Vec::new() }
    }

    /// Looks up by what is new of input `i`. Whether it leads to more.
    fn match_input(&mut self, v: VertexId, o: usize, i: usize) -> bool {
        let dep = &self.node(v).deps[i];
        let (alternatives, exhausted) = (dep.seen.alternatives, dep.is_exhausted());
        let mut changed = false;
        if self.node(v).outputs[o].matches[i].probed != alternatives {
            let found = self.probe(v, o, i);
            let output = &mut self.node_mut(v).outputs[o];
            let matches = &mut output.matches[i];
            let before = matches.found.len();
            matches.probed = alternatives;
            matches.found.extend(found);
            changed = matches.found.len() > before;
            output.unmatched -= usize::from(changed && before == 0);
        }
        let output = &mut self.node_mut(v).outputs[o];
        let matches = &mut output.matches[i];
        if exhausted && !std::mem::replace(&mut matches.counted, true) {
            match &mut output.common {
                Some(common) => common.retain(|k| matches.found.contains(k)),
                None => output.common = Some(matches.found.clone()),
            }
        }
        changed
    }

    /// Where the alternatives of input `i` lead to. They stand for the same input: what one of them is linked to, the
    /// others are linked to from now on, so that the next lookup needs no more than any one of them.
    fn probe(&self, v: VertexId, o: usize, i: usize) -> BTreeSet<KeyId> {
        let alternatives = self.alternatives(v, i);
        let reached: Vec<BTreeSet<KeyId>> = alternatives
            .iter()
            .map(|(key, selector)| self.targets(v, key, &self.link(v, o, i, selector)))
            .collect();
        let found: BTreeSet<KeyId> = reached.iter().flatten().cloned().collect();
        let hidden = self.hidden_alternatives(v, i);
        for target in found.iter().filter(|target| !target.is_foreign()) {
            let lacking =
                alternatives.iter().zip(&reached).filter(|(_, r)| !r.contains(target)).map(|(a, _)| a);
            let links: Vec<_> = lacking
                .chain(
                    hidden.iter().filter(|_| matches!(self.node(v).deps[i].content, Content::Known(Some(_)))),
                )
                .filter(|(key, _)| !key.is_foreign())
                .map(|(key, selector)| (key.clone(), self.link(v, o, i, selector)))
                .collect();
            if !links.is_empty() {
                self.add(&Entry { key: target.clone(), links, record: None, info: None });
            }
        }
        found
    }

    fn link(&self, v: VertexId, output: usize, input: usize, selector: &Option<oci::Digest>) -> Link {
        Link { input, output, digest: self.node(v).parts[0].digest.clone(), selector: selector.clone() }
    }

    fn add(&self, entry: &Entry) {
        if let Err(e) = self.keys.add(entry) {
            tracing::warn!(error = %e, "failed to write to the table of cache keys");
        }
    }

    /// The keys of input `i` that may be looked up by.
    pub(super) fn alternatives(&self, v: VertexId, i: usize) -> Vec<Alternative> {
        let dep = &self.node(v).deps[i];
        let keys =
            self.node(dep.on).outputs[dep.output].keys.iter().map(|k| (k.clone(), dep.selector.clone()));
        let content = dep.content_key().map(|key| (key.clone(), None));
        keys.chain(dep.also.iter().cloned()).chain(content).collect()
    }

    /// The keys of input `i` that are only recorded by.
    pub(super) fn hidden_alternatives(&self, v: VertexId, i: usize) -> Vec<Alternative> {
        let dep = &self.node(v).deps[i];
        let hidden = &self.node(dep.on).outputs[dep.output].hidden;
        hidden.iter().map(|k| (k.clone(), dep.selector.clone())).collect()
    }

    /// The keys of input `i` that mean something in the own store.
    fn own_alternatives(&self, v: VertexId, i: usize) -> Vec<Alternative> {
        let mut all = self.alternatives(v, i);
        all.extend(self.hidden_alternatives(v, i));
        all.retain(|(key, _)| !key.is_foreign());
        all
    }

    /// Writes down what output `o` is known by, now that its value is there.
    pub(super) fn record(&mut self, v: VertexId, o: usize, record: Option<Record>) {
        self.own_inputs(v);
        self.write_down(v, o, record);
    }

    /// Gives the inputs of `v` keys in the own store, down to where there are some. Those that were found in a cache of
    /// others have none yet.
    fn own_inputs(&mut self, v: VertexId) {
        // A vertex comes twice: on the way down, and when those below it are done.
        let mut todo = vec![(v, None)];
        let mut seen = BTreeSet::new();
        while let Some((v, output)) = todo.pop() {
            if let Some((output, true)) = output {
                self.write_down(v, output, None);
                self.publish(v, output);
                continue;
            }
            if let Some((output, false)) = output {
                if !seen.insert((v, output)) {
                    continue;
                }
                todo.push((v, Some((output, true))));
            }
            for i in 0..self.node(v).deps.len() {
                if self.own_alternatives(v, i).is_empty() {
                    let dep = &self.node(v).deps[i];
                    todo.push((dep.on, Some((dep.output, false))));
                }
            }
        }
    }

    fn write_down(&mut self, v: VertexId, o: usize, record: Option<Record>) {
        if self.node(v).parts.is_empty()
            || (0..self.node(v).deps.len()).any(|i| self.own_alternatives(v, i).is_empty())
        {
            tracing::debug!(vertex = %self.node(v).name, "a result is not recorded: an input has no key");
            return;
        }
        let ids = if self.node(v).is_root() {
            let parts = self.node(v).parts.iter();
            parts.map(|p| (KeyId::root(&p.digest, o, p.transient), Vec::new())).collect()
        } else {
            vec![self.key_with_links(v, o)]
        };
        for (part, (key, links)) in ids.iter().enumerate() {
            let info = Some(self.info(v, o, part));
            self.add(&Entry { key: key.clone(), links: links.clone(), record: record.clone(), info });
        }
        let node = self.node_mut(v);
        let ignore_cache = node.ignore_cache;
        let output = &mut node.outputs[o];
        let known = if ignore_cache { &mut output.hidden } else { &mut output.keys };
        for (key, _) in ids {
            if !known.contains(&key) {
                known.push(key);
            }
        }
    }

    /// Links keys of inputs that came to light later to an output that is recorded already.
    pub(super) fn link_more(&self, v: VertexId, o: usize) {
        let keyed = |i| !self.own_alternatives(v, i).is_empty();
        if !self.node(v).is_root() && (0..self.node(v).deps.len()).all(keyed) {
            let (key, links) = self.key_with_links(v, o);
            self.add(&Entry { key, links, record: None, info: None });
        }
    }

    /// The key of an op with inputs: one that is known already, or a new one.
    fn key_with_links(&self, v: VertexId, o: usize) -> (KeyId, Vec<(KeyId, Link)>) {
        let deps: Vec<Vec<Alternative>> = (0..self.node(v).deps.len())
            .map(|i| {
                let mut all = self.own_alternatives(v, i);
                all.sort();
                all.dedup();
                all
            })
            .collect();
        let own = self.node(v).outputs[o].keys.iter().filter(|k| !k.is_foreign());
        let known = own.min().cloned().or_else(|| self.key_of(v, o, &deps));
        let digest = &self.node(v).parts[0].digest;
        let key = known.unwrap_or_else(|| KeyId::derived(digest, o, &deps));
        let links = deps
            .iter()
            .enumerate()
            .flat_map(|(i, all)| all.iter().map(move |a| (i, a)))
            .map(|(i, (from, selector))| (from.clone(), self.link(v, o, i, selector)))
            .collect();
        (key, links)
    }

    fn key_of(&self, v: VertexId, o: usize, deps: &[Vec<Alternative>]) -> Option<KeyId> {
        let mut common: Option<BTreeSet<KeyId>> = None;
        for (i, all) in deps.iter().enumerate() {
            let reached = all
                .iter()
                .flat_map(|(key, selector)| self.own_targets(key, &self.link(v, o, i, selector)))
                .filter(|k| common.as_ref().is_none_or(|c| c.contains(k)))
                .collect::<BTreeSet<_>>();
            if reached.is_empty() {
                return None;
            }
            common = Some(reached);
        }
        common.and_then(|c| c.into_iter().next())
    }

    fn info(&self, v: VertexId, output: usize, part: usize) -> KeyInfo {
        let node = self.node(v);
        let part = &node.parts[part];
        KeyInfo {
            digest: part.digest.clone(),
            output,
            vertex: node.digest.clone(),
            name: node.name.to_string(),
            ingredients: part.ingredients.clone(),
        }
    }
}

/// The keys that all inputs lead to and that are not known yet.
fn common_keys<V>(output: &Output<V>) -> Vec<KeyId> {
    let Some(fewest) = output.matches.iter().min_by_key(|m| m.found.len()) else { return Vec::new() };
    let common = fewest.found.iter().filter(|k| output.matches.iter().all(|m| m.found.contains(*k)));
    common.filter(|k| !output.keys.contains(k)).cloned().collect()
}

/// An error of the table counts as a miss: a build without a cache is better than none.
fn miss<T: Default>(error: errdefs::Error) -> T {
    tracing::warn!(%error, "failed to read the table of cache keys");
    T::default()
}
