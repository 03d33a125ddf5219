//! From rows of the database to states in memory.
//!
//! After a clean end the store is as its rows say, so nothing is read at the start: states sleep until somebody asks
//! for them by id, and all wake when somebody has to see all. After any other end all rows are read at once, and what
//! does not fit together is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use errdefs::Result;
use oci::Digest;
use snapshot::LayerId;

use crate::ledger::blobs_of;
use crate::node::{ImmutableRef, Node, Parents};
use crate::record::{Kind, Record, RefId};
use crate::refs::Inner;
use crate::table::Mark;

/// Records by id.
type Rows = HashMap<RefId, Record>;

impl Inner {
    /// Brings all rows to life, and removes those that nothing keeps, with all files that belong to none.
    pub fn load(self: &Arc<Self>, rows: Vec<(RefId, Record)>) -> Result<()> {
        // One look at the folder is much quicker than one for each layer.
        let there = self.snapshots.list()?;
        let mut rows: Rows = rows.into_iter().collect();
        self.mend_rows(&mut rows, &|tree| there.contains(tree));
        let kept = kept(&rows, &self.intact(&rows, &|tree| there.contains(tree)));
        let unkept: Rows = rows.extract_if(|id, _| !kept.contains(id)).collect();
        let live: HashSet<LayerId> = rows.values().flat_map(|record| record.kind.own_trees()).collect();
        let leftover = self.snapshots.sweep(&|id| live.contains(id))?;
        if self.content.machine_restarted() {
            // An object that no layer links any more may never have reached the disk, and must not be found.
            leftover.remove()?;
            self.snapshots.objects().collect()?;
            self.drop_lost_images()?;
        } else {
            self.janitor.remove_leftover(leftover);
        }
        self.content.recovered()?;
        self.drop_rows(&unkept);
        let orphans = self.revive(rows);
        self.drop_rows(&orphans);
        Ok(())
    }

    /// Lets the rows sleep, but for cache mounts: those are looked for by name. What was under way at the end goes.
    pub fn doze(self: &Arc<Self>) -> Result<()> {
        self.asleep.store(true, Ordering::Release);
        self.janitor.remove_leftover(self.snapshots.sweep_work()?);
        for id in self.table.marked(&Mark::Mount)? {
            self.node(&id);
        }
        Ok(())
    }

    /// Whether there are states that nobody has asked for yet.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire)
    }

    /// The state of this id, wherever it is.
    pub fn node(&self, id: &str) -> Option<Arc<Node>> {
        let known = self.state().nodes.get(id).cloned();
        known.or_else(|| self.is_asleep().then(|| self.wake(id))?)
    }

    /// The layers on `parent` that came as blobs of which this is the digest of the unpacked archive.
    pub fn layers_of_blobs(&self, parent: Option<&RefId>, diff_id: &Digest) -> Vec<RefId> {
        // Those that sleep first: one that wakes meanwhile is seen twice, and not missed.
        let mut known = self.sleeping(&Mark::Layer { parent: parent.map(|id| &**id), diff_id });
        known.extend(
            self.state().blobs.get(&(parent.cloned(), diff_id.clone())).into_iter().flatten().cloned(),
        );
        known
    }

    /// Whether a state that sleeps is made of this one.
    pub fn has_sleeping_child(&self, id: &str) -> bool {
        !self.sleeping(&Mark::On(id)).is_empty()
    }

    /// The blobs that belong to states.
    pub fn blobs_of_states(&self) -> Result<HashSet<Digest>> {
        let mut blobs = HashSet::new();
        // Those that sleep first: one that wakes meanwhile is seen twice, and not missed.
        if self.is_asleep() {
            let marked = self.table.marked_blobs()?;
            let state = self.state();
            blobs.extend(marked.into_iter().filter(|(_, id)| state.sleeps(id)).map(|(blob, _)| blob));
        }
        self.for_each_awake(|node| {
            blobs.extend(blobs_of(node));
            Ok(())
        })?;
        Ok(blobs)
    }

    /// Whether a blob belongs to a state.
    pub fn is_of_state(&self, blob: &Digest) -> bool {
        // In this order, for the same reason.
        !self.sleeping(&Mark::Blob(blob)).is_empty()
            || self.state().nodes.values().any(|node| blobs_of(node).contains(blob))
    }

    /// The states with this mark that sleep.
    fn sleeping(&self, mark: &Mark<'_>) -> Vec<RefId> {
        if !self.is_asleep() {
            return Vec::new();
        }
        let marked = self.told(self.table.marked(mark)).unwrap_or_default();
        let state = self.state();
        marked.into_iter().filter(|id| state.sleeps(id)).collect()
    }

    /// Wakes a state, with those that it is made of.
    fn wake(&self, id: &str) -> Option<Arc<Node>> {
        let this = self.me.upgrade()?;
        let _one_at_a_time = self.waking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_asleep() {
            return self.state().nodes.get(id).cloned();
        }
        let mut rows = HashMap::new();
        let mut todo: Vec<RefId> = vec![id.into()];
        while let Some(id) = todo.pop() {
            if rows.contains_key(&id) || !self.state().sleeps(&id) {
                continue;
            }
            let Some(record) = self.told(self.table.get(&id)).flatten() else { continue };
            todo.extend(record.kind.parents().into_iter().map(RefId::from));
            rows.insert(id, record);
        }
        this.enter(rows, &|_, whole| whole.clone());
        self.state().nodes.get(id).cloned()
    }

    /// Wakes all states.
    pub fn wake_all(&self) -> Result<()> {
        let Some(this) = self.me.upgrade().filter(|_| self.is_asleep()) else { return Ok(()) };
        let _one_at_a_time = self.waking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_asleep() {
            return Ok(());
        }
        let mut rows: Rows = self.table.all()?.into_iter().collect();
        {
            let state = self.state();
            rows.retain(|id, _| state.sleeps(id));
        }
        this.enter(rows, &|rows, whole| kept(rows, whole));
        self.asleep.store(false, Ordering::Release);
        let mut state = self.state();
        state.gone = HashSet::new();
        // They might have had a child that slept.
        let unkept = state.nodes.values().filter(|node| node.is_stored() && !node.record().retained);
        let unkept: Vec<Arc<Node>> = unkept.cloned().collect();
        drop(state);
        for node in unkept {
            self.remove(&node);
        }
        Ok(())
    }

    /// Makes states of those rows that `stay` names, given those that are whole, and drops the others.
    fn enter(self: &Arc<Self>, mut rows: Rows, stay: &dyn Fn(&Rows, &HashSet<RefId>) -> HashSet<RefId>) {
        let there = |tree: &LayerId| !matches!(self.snapshots.is_on_disk(tree), Ok(false));
        self.mend_rows(&mut rows, &there);
        let stay = stay(&rows, &self.intact(&rows, &there));
        let mut dropped: Rows = rows.extract_if(|id, _| !stay.contains(id)).collect();
        // Somebody may have removed what one is made of since this was looked at.
        dropped.extend(self.revive(rows));
        self.drop_rows(&dropped);
        for tree in dropped.values().flat_map(|record| record.kind.own_trees()) {
            self.janitor.remove(tree, Arc::new(AtomicBool::new(true)));
        }
        // Some were there for those alone.
        for parent in dropped.values().flat_map(|record| record.kind.parents()) {
            let node = self.state().nodes.get(parent).cloned();
            if let Some(node) = node
                && !node.record().retained
            {
                self.remove(&node);
            }
        }
    }

    /// An answer of the database; what it cannot tell is as if it were not there.
    fn told<T>(&self, answer: Result<T>) -> Option<T> {
        answer.inspect_err(|e| tracing::error!("a state cannot be looked up: {e}")).ok()
    }

    /// Drops rows that are of no use.
    fn drop_rows(&self, rows: &Rows) {
        for (id, record) in rows {
            // What nobody retains goes without a word.
            if record.retained {
                self.lost(format!("`{}` is not whole any more; it was dropped", record.description));
            }
            if self.is_asleep() {
                self.state().gone.insert(id.clone());
            }
            self.table.delete(id);
            self.tell_removed(id);
        }
    }

    /// A name is durable at once, its image a moment later.
    fn drop_lost_images(&self) -> Result<()> {
        for image in self.images.list()? {
            if !self.content.contains(&image.target.digest) {
                self.lost(format!(
                    "the image `{}` was lost with the machine's end; build it again",
                    image.name
                ));
                self.images.remove(&image.name)?;
            }
        }
        Ok(())
    }

    fn lost(&self, what: String) {
        tracing::error!("{what}");
        self.lost_at_start.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Where trees of states are gone that can be made from something else, lets them be made.
    fn mend_rows(&self, rows: &mut Rows, there: &dyn Fn(&LayerId) -> bool) {
        for (id, record) in rows {
            if self.mend(record, there) {
                self.lost(format!(
                    "a layer of `{}` is gone; it is made anew from what there is",
                    record.description
                ));
                self.table.put(id, record);
            }
        }
    }

    fn mend(&self, record: &mut Record, there: &dyn Fn(&LayerId) -> bool) -> bool {
        let lost = record.kind.trees().iter().any(|tree| !there(tree));
        match &mut record.kind {
            Kind::Layer { tree, blob: Some(blob), .. }
                if lost && self.content.contains(&blob.descriptor.digest) =>
            {
                *tree = None;
            }
            Kind::Merge { stack, .. } | Kind::Diff { stack, .. } if lost => *stack = None,
            Kind::Revision { tree, whole, .. } if lost && there(&tree.0) => *whole = None,
            _ => return false,
        }
        true
    }

    /// The rows whose files are there, and those of all that they are made of.
    fn intact(&self, rows: &Rows, there: &dyn Fn(&LayerId) -> bool) -> HashSet<RefId> {
        let has = |kind: &Kind| match kind {
            // Its files are that one's.
            Kind::Layer { twin: Some(_), .. } => true,
            // Who could fetch the blob is not known any more.
            Kind::Layer { tree: None, blob, .. } => {
                blob.as_ref().is_some_and(|blob| self.content.contains(&blob.descriptor.digest))
            }
            kind => kind.own_trees().iter().all(there),
        };
        let is_awake = |id: &str| self.state().nodes.contains_key(id);
        let mut whole = HashMap::new();
        for id in rows.keys() {
            look_at(id, rows, &has, &is_awake, &mut whole);
        }
        whole.into_iter().filter(|(_, is_whole)| *is_whole).map(|(id, _)| id.clone()).collect()
    }

    /// Makes the nodes of rows, each after those of its parents; gives back those whose parents are not there.
    fn revive(self: &Arc<Self>, mut left: Rows) -> Rows {
        let mut orphans = Rows::new();
        let ids: Vec<RefId> = left.keys().cloned().collect();
        for id in ids {
            let mut todo = vec![id];
            while let Some(id) = todo.last().cloned() {
                let Some(record) = left.get(&id) else {
                    todo.pop();
                    continue;
                };
                let missing = record.kind.parents().into_iter().find(|parent| left.contains_key(*parent));
                if let Some(parent) = missing {
                    todo.push(parent.into());
                    continue;
                }
                if let Some(record) = left.remove(&id) {
                    match self.parents_of(&record.kind) {
                        Some((parents, twin)) => self.adopt(&Node::new(id, parents, twin, record, true)),
                        None => drop(orphans.insert(id, record)),
                    }
                }
            }
        }
        orphans
    }

    /// Holds what a state is made of, and its twin; `None` where something of it is gone.
    fn parents_of(self: &Arc<Self>, kind: &Kind) -> Option<(Parents, Option<ImmutableRef>)> {
        let hold = |id: &str| {
            let node = self.state().nodes.get(id).cloned();
            node.map(|node| node.hold_as_part(self))
        };
        // Nothing is no loss where there was nothing.
        let side = |id: &Option<String>| match id {
            Some(id) => hold(id).map(Some),
            None => Some(None),
        };
        let twin = match kind {
            Kind::Layer { twin, .. } => side(twin)?,
            _ => None,
        };
        let parents = match kind {
            Kind::Layer { parent, .. } => side(parent)?.map_or(Parents::None, Parents::Layer),
            Kind::Revision { of, .. } => Parents::Revision(hold(of)?),
            Kind::Merge { parents, .. } => {
                Parents::Merge(parents.iter().map(|id| hold(id)).collect::<Option<_>>()?)
            }
            Kind::Diff { lower, upper, .. } => Parents::Diff { lower: side(lower)?, upper: side(upper)? },
            Kind::Scratch { .. } => Parents::None,
        };
        Some((parents, twin))
    }
}

/// The rows that are retained and whole, with all that those are made of.
fn kept(rows: &Rows, whole: &HashSet<RefId>) -> HashSet<RefId> {
    let mut kept = HashSet::new();
    let retained = rows.iter().filter(|(id, record)| record.retained && whole.contains(*id));
    let mut todo: Vec<&RefId> = retained.map(|(id, _)| id).collect();
    while let Some(id) = todo.pop() {
        if kept.insert(id.clone())
            && let Some(record) = rows.get(id)
        {
            let parents = record.kind.parents().into_iter();
            todo.extend(parents.filter_map(|id| rows.get_key_value(id)).map(|(id, _)| id));
        }
    }
    kept
}

/// Finds out whether a state and all that it is made of are there. Goes down without recursion: chains may be long.
fn look_at<'a>(
    id: &'a RefId,
    rows: &'a Rows,
    has: &dyn Fn(&Kind) -> bool,
    is_awake: &dyn Fn(&str) -> bool,
    whole: &mut HashMap<&'a RefId, bool>,
) {
    let mut todo = vec![id];
    while let Some(&id) = todo.last() {
        let Some(record) = rows.get(id).filter(|_| !whole.contains_key(id)) else {
            todo.pop();
            continue;
        };
        let parents: Vec<_> =
            record.kind.parents().into_iter().map(|id| (id, rows.get_key_value(id))).collect();
        let open = parents.iter().filter_map(|(_, row)| *row).find(|(parent, _)| !whole.contains_key(parent));
        if let Some((parent, _)) = open
            && !todo.contains(&parent)
        {
            todo.push(parent);
            continue;
        }
        let parents_whole = parents.iter().all(|(id, row)| match row {
            Some((parent, _)) => whole.get(parent) == Some(&true),
            None => is_awake(id),
        });
        whole.insert(id, parents_whole && has(&record.kind));
        todo.pop();
    }
}
