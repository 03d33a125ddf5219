//! Makes room.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Digest;

use crate::filter::Filter;
use crate::node::Node;
use crate::record::{Kind, RecordType};
use crate::refs::{Inner, Refs, blocking};
use crate::usage::{UsageRecord, describe};

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Only what matches.
    pub filter: Filter,
    /// Also what is internal or belongs to a frontend.
    pub all: bool,
    /// What was used in this time stays.
    pub keep_duration: Duration,
    /// Bytes that stay in any case; 0 for none.
    pub reserved_space: u64,
    /// Bytes that the states may take; 0 for no limit.
    pub max_used_space: u64,
    /// Bytes of the disk that are to be free; 0 for none.
    pub min_free_space: u64,
}

impl PruneOptions {
    /// How many bytes may stay; `None` where all that matches is to go.
    fn keep(&self, total: u64, free: u64) -> Option<u64> {
        if self.max_used_space == 0 && self.reserved_space == 0 && self.min_free_space == 0 {
            return None;
        }
        let excess = self.min_free_space.saturating_sub(free);
        let keep = match (self.max_used_space, excess) {
            (0, 0) if self.min_free_space != 0 => total,
            (0, 0) => 0,
            (0, excess) => total.saturating_sub(excess),
            (max, 0) => max,
            (max, excess) => max.min(total.saturating_sub(excess)),
        };
        Some(keep.max(self.reserved_space))
    }
}

impl Refs {
    /// Removes states that nobody holds, and then the blobs and files that nothing needs. `on_record` is told of each
    /// state that is gone.
    pub async fn prune(
        &self,
        options: PruneOptions,
        on_record: impl FnMut(UsageRecord) + Send + 'static,
    ) -> Result<()> {
        let refs = self.0.clone();
        blocking(move || {
            refs.prune(&options, on_record)?;
            refs.collect()
        })
        .await
    }
}

impl Inner {
    fn prune(&self, options: &PruneOptions, mut on_record: impl FnMut(UsageRecord)) -> Result<()> {
        let mut total = 0;
        for node in self.nodes() {
            total += self.size(&node)?;
        }
        let keep = options.keep(total, self.free_space()?);
        loop {
            // As BuildKit: below the bound nothing goes, and a bound of nothing is none.
            let bound = keep.filter(|keep| *keep != 0);
            if bound.is_some_and(|keep| total < keep) {
                return Ok(());
            }
            let mut found = self.candidates(options);
            if found.is_empty() {
                return Ok(());
            }
            if bound.is_some() {
                sort(&mut found);
                found.truncate(1);
            }
            let mut removed = 0;
            for node in found {
                if let Some(record) = self.prune_one(&node)? {
                    total = total.saturating_sub(record.size);
                    removed += 1;
                    on_record(record);
                }
            }
            if removed == 0 {
                return Ok(());
            }
        }
    }

    /// What nobody holds and the options let go.
    fn candidates(&self, options: &PruneOptions) -> Vec<Arc<Node>> {
        let cut = Timestamp::now().checked_sub(options.keep_duration).unwrap_or(Timestamp::MIN);
        let mut nodes = self.nodes();
        nodes.retain(|node| {
            if node.holders() > 0 {
                return false;
            }
            let record = describe(node, false);
            let hidden = matches!(record.record_type, RecordType::Internal | RecordType::Frontend);
            let recent =
                !options.keep_duration.is_zero() && record.last_used_at.is_some_and(|used| used > cut);
            (options.all || !hidden) && !recent && options.filter.matches(&record)
        });
        nodes
    }

    fn prune_one(&self, node: &Arc<Node>) -> Result<Option<UsageRecord>> {
        let size = self.size(node)?;
        let record = UsageRecord { size, ..describe(node, false) };
        // What it is made of must pass by the options itself, so it does not go along.
        for parent in node.parents.all() {
            parent.persist();
        }
        node.record().retained = false;
        if !self.remove(node) {
            node.record().retained = true;
            return Ok(None);
        }
        Ok(Some(record))
    }

    fn free_space(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(self.snapshots.root())
            .map_err(|e| Error::from(std::io::Error::from(e)).context("failed to look at the free space"))?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Removes the blobs and objects that nothing needs.
    fn collect(&self) -> Result<()> {
        self.content.gc(|| self.roots())?;
        self.snapshots.objects().collect()?;
        Ok(())
    }

    /// The blobs that are needed: of states, of images with all that they name, and what others say.
    fn roots(&self) -> Result<HashSet<Digest>> {
        let mut roots = HashSet::new();
        for node in self.nodes() {
            let record = node.record();
            roots.extend(record.blobs.values().map(|blob| blob.descriptor.digest.clone()));
            if let Kind::Layer { blob: Some(blob), .. } = &record.kind {
                roots.insert(blob.descriptor.digest.clone());
            }
        }
        let mut todo: Vec<Digest> =
            self.images.list()?.into_iter().map(|image| image.target.digest).collect();
        let others = self.roots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for other in others {
            todo.extend(other()?);
        }
        while let Some(digest) = todo.pop() {
            if roots.insert(digest.clone()) {
                todo.extend(self.named_by(&digest));
            }
        }
        Ok(roots)
    }

    /// The blobs that a manifest or index names; nothing for other blobs.
    fn named_by(&self, digest: &Digest) -> Vec<Digest> {
        const MANIFEST: u64 = 8 << 20;
        let small = self.content.size(digest).is_ok_and(|size| size <= MANIFEST);
        let Some(bytes) = small.then(|| self.content.read(digest).ok()).flatten() else { return Vec::new() };
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Vec::new() };
        let lists = ["manifests", "layers"].iter().filter_map(|name| json.get(name)?.as_array()).flatten();
        let single = ["config", "subject"].iter().filter_map(|name| json.get(name));
        lists
            .chain(single)
            .filter_map(|descriptor| descriptor.get("digest")?.as_str()?.parse().ok())
            .collect()
    }
}

/// Orders by what is least missed: long unused and rarely used first, both counted by rank, as BuildKit does.
fn sort(nodes: &mut [Arc<Node>]) {
    let facts: HashMap<_, _> = nodes
        .iter()
        .map(|node| {
            let record = node.record();
            (node.id.clone(), (record.last_used_at, record.usage_count))
        })
        .collect();
    let used = ranks(facts.values().map(|(used, _)| *used));
    let counts = ranks(facts.values().map(|(_, count)| *count));
    let mut weighed: Vec<_> = nodes
        .iter()
        .cloned()
        .map(|node| {
            let (last, count) = facts[&node.id];
            (used[&last] + counts[&count], node)
        })
        .collect();
    weighed.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id)));
    for (slot, (_, node)) in nodes.iter_mut().zip(weighed) {
        *slot = node;
    }
}

/// The rank of each value among all different ones, from 0 to 1.
fn ranks<T: Ord + std::hash::Hash + Copy>(values: impl Iterator<Item = T>) -> HashMap<T, f64> {
    let mut different: Vec<T> = values.collect();
    different.sort_unstable();
    different.dedup();
    let count = different.len() as f64;
    different.into_iter().enumerate().map(|(i, value)| (value, (i + 1) as f64 / count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max: u64, reserved: u64, min_free: u64, total: u64, free: u64, want: Option<u64>) {
        let options = PruneOptions {
            max_used_space: max,
            reserved_space: reserved,
            min_free_space: min_free,
            ..PruneOptions::default()
        };
        assert_eq!(options.keep(total, free), want, "{max} {reserved} {min_free} {total} {free}");
    }

    #[test]
    fn how_much_stays() {
        check(0, 0, 0, 100, 10, None);
        check(50, 0, 0, 100, 10, Some(50));
        check(0, 30, 0, 100, 10, Some(30));
        check(50, 60, 0, 100, 10, Some(60));
        check(0, 0, 20, 100, 10, Some(90));
        check(0, 0, 20, 100, 30, Some(100));
        check(50, 0, 20, 100, 10, Some(50));
        check(95, 0, 20, 100, 10, Some(90));
        check(0, 95, 20, 100, 10, Some(95));
    }
}
