//! Makes room.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Digest;

use crate::filter::Filter;
use crate::node::Node;
use crate::rank::Queue;
use crate::record::RecordType;
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
        if !self.is_bounded() {
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

    fn is_bounded(&self) -> bool {
        self.max_used_space != 0 || self.reserved_space != 0 || self.min_free_space != 0
    }

    /// Whether the bound holds whatever the states take: all that lies on the disk is less.
    fn holds_anyway(&self, disk: &Disk) -> bool {
        let bound = self.max_used_space.max(self.reserved_space);
        self.max_used_space != 0 && disk.free >= self.min_free_space && disk.used < bound
    }
}

/// The file system that the store lies on, in bytes.
struct Disk {
    used: u64,
    free: u64,
}

impl Refs {
    /// Removes states that nobody holds, and then the blobs and files that nothing needs. `on_record` is told of each
    /// state that is gone, with the bytes that this freed.
    pub async fn prune(
        &self,
        options: PruneOptions,
        on_record: impl FnMut(UsageRecord) + Send + 'static,
    ) -> Result<()> {
        let refs = self.0.clone();
        blocking(move || {
            refs.prune(&options, on_record)?;
            refs.collect_blobs(Duration::ZERO)?;
            refs.snapshots.objects().collect().map(drop)
        })
        .await
    }
}

impl Inner {
    /// Removes what the options let go; gives the number of states. Builds go on meanwhile: nothing is locked for longer
    /// than one state takes to be taken out of the tables, and what somebody holds, or comes to hold, stays.
    pub fn prune(&self, options: &PruneOptions, mut on_record: impl FnMut(UsageRecord)) -> Result<usize> {
        let _one_at_a_time = self.pruning.lock().unwrap_or_else(PoisonError::into_inner);
        if !options.is_bounded() {
            return self.prune_to(options, &mut 0, None, &mut on_record);
        }
        let disk = self.disk()?;
        if options.holds_anyway(&disk) {
            return Ok(0);
        }
        let mut total = self.total()?;
        let keep = options.keep(total, disk.free);
        // As BuildKit: below the bound nothing goes, and a bound of nothing is none.
        let bound = keep.filter(|keep| *keep != 0);
        let is_over = |total| bound.is_none_or(|keep| total >= keep);
        if is_over(total) && self.snapshots.objects().is_suspect() {
            self.snapshots.objects().collect()?;
            total = self.total()?;
        }
        let mut removed = 0;
        while is_over(total) {
            let more = self.prune_to(options, &mut total, bound, &mut on_record)?;
            if more == 0 {
                break;
            }
            removed += more;
            // A blob that an image needs too did not go with its state.
            self.collect_blobs(Duration::ZERO)?;
            total = self.total()?;
        }
        Ok(removed)
    }

    /// One pass over what may go, until the bound is kept. Each state is looked at once, and again when the last one that
    /// was made of it is gone.
    fn prune_to(
        &self,
        options: &PruneOptions,
        total: &mut u64,
        bound: Option<u64>,
        on_record: &mut dyn FnMut(UsageRecord),
    ) -> Result<usize> {
        let mut queue = Queue::default();
        self.for_each_node(|node| {
            queue.learn(node);
            if self.may_go(node, options) {
                queue.push(node.clone());
            }
            Ok(())
        })?;
        // What images need stays, and a blob of several states goes once.
        let mut blobs = self.named_blobs()?;
        let mut removed = 0;
        while bound.is_none_or(|keep| *total >= keep)
            && !self.is_closing()
            && let Some(node) = queue.pop()
        {
            // Much may have happened since it was put there.
            if !self.may_go(&node, options) {
                continue;
            }
            let parents: Vec<_> = node.made_of().into_iter().map(|p| p.node().clone()).collect();
            let Some(record) = self.prune_one(node, &mut blobs)? else { continue };
            *total = total.saturating_sub(record.size);
            removed += 1;
            on_record(record);
            for parent in parents {
                if self.may_go(&parent, options) {
                    queue.push(parent);
                }
            }
        }
        Ok(removed)
    }

    /// Whether nobody holds the state and the options let it go.
    fn may_go(&self, node: &Arc<Node>, options: &PruneOptions) -> bool {
        if node.is_held() {
            return false;
        }
        let record = describe(node, false);
        let hidden = matches!(record.record_type, RecordType::Internal | RecordType::Frontend);
        let cut = Timestamp::now().checked_sub(options.keep_duration).unwrap_or(Timestamp::MIN);
        let recent = !options.keep_duration.is_zero() && record.last_used_at.is_some_and(|used| used > cut);
        (options.all || !hidden) && !recent && options.filter.matches(&record)
    }

    /// Removes a state with its trees; `None` where somebody came to hold it. Its blobs go later, but for those in `stay`.
    fn prune_one(&self, node: Arc<Node>, stay: &mut HashSet<Digest>) -> Result<Option<UsageRecord>> {
        let mut record = describe(&node, false);
        node.record().retained = false;
        if !self.take_out(&node, false) {
            node.record().retained = true;
            return Ok(None);
        }
        // What it is made of must pass by the options itself, so it does not go along.
        for parent in node.made_of() {
            parent.persist();
        }
        record.size = self.blob_size(&node, stay);
        let trees = node.record().kind.own_trees();
        for tree in trees {
            record.size += self.ledger.remove(&self.snapshots, &tree, &node.uncounted)?.total();
        }
        Ok(Some(record))
    }

    fn disk(&self) -> Result<Disk> {
        let stat = rustix::fs::statvfs(self.snapshots.root())
            .map_err(|e| Error::from(std::io::Error::from(e)).context("failed to look at the free space"))?;
        let bytes = |blocks: u64| blocks * stat.f_frsize;
        Ok(Disk { used: bytes(stat.f_blocks - stat.f_bfree), free: bytes(stat.f_bfree) })
    }

    /// Removes the blobs that nothing needs and that have been there for `age`.
    pub fn collect_blobs(&self, age: Duration) -> Result<()> {
        self.content.gc(age, || self.roots()).map(drop)
    }

    /// The blobs that are needed: of states, of images with all that they name, and what others say.
    fn roots(&self) -> Result<HashSet<Digest>> {
        let mut roots = self.named_blobs()?;
        roots.extend(self.blobs_of_states()?);
        Ok(roots)
    }

    /// The blobs of images, and what others say.
    fn named_blobs(&self) -> Result<HashSet<Digest>> {
        let mut roots = self.image_blobs()?;
        roots.extend(self.blobs_of_others()?);
        Ok(roots)
    }

    /// The blobs that stay for nothing but the name of an image.
    pub fn only_of_images(&self) -> Result<HashSet<Digest>> {
        let mut only = self.image_blobs()?;
        for other in self.blobs_of_others()? {
            only.remove(&other);
        }
        for blob in self.blobs_of_states()? {
            only.remove(&blob);
        }
        Ok(only)
    }

    fn blobs_of_others(&self) -> Result<Vec<Digest>> {
        let others = self.roots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut blobs = Vec::new();
        for other in others {
            blobs.extend(other()?);
        }
        Ok(blobs)
    }

    fn image_blobs(&self) -> Result<HashSet<Digest>> {
        let mut roots = HashSet::new();
        let mut todo: Vec<Digest> =
            self.images.list()?.into_iter().map(|image| image.target.digest).collect();
        while let Some(digest) = todo.pop() {
            if roots.insert(digest.clone()) {
                todo.extend(self.named_by(&digest));
            }
        }
        Ok(roots)
    }

    /// Removes those of `blobs` that nothing needs.
    pub fn collect_these(&self, blobs: &[Digest]) -> Result<()> {
        let named = self.named_blobs()?;
        blobs
            .iter()
            .filter(|blob| !named.contains(blob) && !self.is_of_state(blob))
            .try_for_each(|blob| self.content.remove(blob).map(drop))
    }

    /// The blobs that a manifest or index names; nothing for other blobs.
    pub fn named_by(&self, digest: &Digest) -> Vec<Digest> {
        self.named_in(digest, &["manifests", "layers"], &["config", "subject"])
    }

    /// The blobs of these lists and fields of a manifest or index.
    pub fn named_in(&self, digest: &Digest, lists: &[&str], fields: &[&str]) -> Vec<Digest> {
        const MANIFEST: u64 = 8 << 20;
        let small = self.content.size(digest).is_ok_and(|size| size <= MANIFEST);
        let Some(bytes) = small.then(|| self.content.read(digest).ok()).flatten() else { return Vec::new() };
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Vec::new() };
        let lists = lists.iter().filter_map(|name| json.get(name)?.as_array()).flatten();
        let single = fields.iter().filter_map(|name| json.get(name));
        lists
            .chain(single)
            .filter_map(|descriptor| descriptor.get("digest")?.as_str()?.parse().ok())
            .collect()
    }
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
