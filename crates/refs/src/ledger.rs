//! How much room the states take, kept up to date without looking at every file again and again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use errdefs::Result;
use snapshot::{Freed, LayerId};

use crate::node::Node;
use crate::record::Kind;
use crate::refs::Inner;

/// How long a full count is trusted. What comes and goes is counted exactly, but for what happens during the full count.
const TRUSTED: Duration = Duration::from_secs(6 * 3600);

/// The running count of bytes in layer trees and objects.
///
/// Objects count themselves. A tree is counted once, by what it brought; when it goes, by what that freed, which may be
/// less, where others link its files, or more, where it held the last link of a file of another.
#[derive(Default)]
pub struct Ledger {
    /// Bytes of trees and objects at the full count, and what trees came and went since.
    trees: AtomicI64,
    /// When all was counted; held while trees go or all is counted, so that nothing is counted half.
    counted_at: Mutex<Option<Instant>>,
}

impl Ledger {
    /// Removes a layer and takes it off the count, with what it brought where that was counted.
    pub fn remove(
        &self,
        snapshots: &snapshot::Store,
        layer: &LayerId,
        uncounted: &AtomicBool,
    ) -> Result<Freed> {
        let _no_count_meanwhile = self.lock();
        let freed = snapshots.remove(layer)?;
        let counted = freed.linked + if uncounted.load(Ordering::Acquire) { 0 } else { freed.own };
        self.add(-signed(counted));
        Ok(freed)
    }

    fn add(&self, bytes: i64) {
        self.trees.fetch_add(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.counted_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Bytes that states take: trees, objects and blobs. The first call looks at every file, the others at new ones.
    pub fn total(&self) -> Result<u64> {
        let objects = self.snapshots.objects();
        let mut counted_at = self.ledger.lock();
        if counted_at.is_none_or(|at| at.elapsed() > TRUSTED) {
            // What is made from here on is in the change, or is counted below or the next time.
            let before = objects.change();
            let mut all = signed(objects.collect()?.held);
            self.for_each_node(|node| {
                let size = self.tree_size(node);
                all += signed(size);
                if matches!(node.record().kind, Kind::Scratch { .. }) {
                    node.counted.store(size, Ordering::Relaxed);
                }
                node.uncounted.store(false, Ordering::Release);
                Ok(())
            })?;
            self.ledger.trees.store(all - before, Ordering::Relaxed);
            *counted_at = Some(Instant::now());
        }
        drop(counted_at);
        let mut blobs = 0;
        let mut seen = HashSet::new();
        self.for_each_node(|node| {
            if node.uncounted.load(Ordering::Acquire) {
                let _no_tree_goes = self.ledger.lock();
                node.uncounted.store(false, Ordering::Release);
                let size = self.own_size(node);
                let before = node.counted.swap(size, Ordering::Relaxed);
                self.ledger.add(signed(size) - signed(before));
            }
            blobs += self.blob_size(node, &mut seen);
            Ok(())
        })?;
        let trees = self.ledger.trees.load(Ordering::Relaxed) + objects.change();
        Ok(u64::try_from(trees).unwrap_or(0) + blobs)
    }

    /// What came with the trees of a state.
    fn own_size(&self, node: &Node) -> u64 {
        let trees = node.record().kind.own_trees();
        // One that is being removed takes no room.
        trees.iter().map(|tree| self.snapshots.own_size(tree).unwrap_or(0)).sum()
    }

    /// Bytes of the trees of a state, with its share of the files that others link too.
    pub fn tree_size(&self, node: &Node) -> u64 {
        let trees = node.record().kind.own_trees();
        // One that is being removed takes no room.
        trees.iter().map(|tree| self.snapshots.usage(tree).unwrap_or(0)).sum()
    }
}

/// The blobs that belong to a state, whether they are there or not.
pub fn blobs_of(node: &Node) -> HashSet<oci::Digest> {
    let record = node.record();
    record.made_blobs().chain(record.kind.came_as()).map(|blob| blob.descriptor.digest.clone()).collect()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
