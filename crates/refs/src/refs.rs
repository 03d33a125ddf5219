use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Digest;
use redb::Database;
use snapshot::{LayerId, TreeWriter, View};
use tokio::sync::Notify;

use crate::cache_mount::Mounts;
use crate::compress::KnownPieces;
use crate::images::Images;
use crate::janitor::Janitor;
use crate::ledger::Ledger;
use crate::node::{ImmutableRef, Node, Parents, Purpose};
use crate::record::{Kind, Record, RefId};
use crate::table::Table;

/// How many views are kept with what they have read.
const VIEWS: usize = 64;

/// All states of one store. Cheap to clone.
#[derive(Clone)]
pub struct Refs(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub db: Arc<Database>,
    pub snapshots: Arc<snapshot::Store>,
    pub content: content::Store,
    pub table: Table,
    pub images: Images,
    pub mounts: Mounts,
    /// Bounds how many layers are unpacked at once.
    pub unpacking: tokio::sync::Semaphore,
    /// Bounds how many blobs are made at once: each takes all cores and some memory.
    pub packing: tokio::sync::Semaphore,
    pub packed_pieces: KnownPieces,
    pub roots: Mutex<Vec<Roots>>,
    /// What was found to be lost when the store was opened.
    pub lost_at_start: Mutex<Vec<String>>,
    state: Mutex<State>,
    views: Mutex<VecDeque<(RefId, View)>>,
    janitor: Janitor,
    pub ledger: Arc<Ledger>,
    /// One removal of unused states at a time.
    pub pruning: Mutex<()>,
    /// The end has come: long work is broken off.
    pub closing: AtomicBool,
    /// Fires when a state came, or was let go.
    pub changed: Notify,
    /// Told of stored states that are gone.
    on_removed: Mutex<Option<OnRemoved>>,
    names: RandomState,
}

/// Hears of states that are gone, by id.
pub(crate) type OnRemoved = Arc<dyn Fn(&str) + Send + Sync>;

/// Names blobs that others need.
pub type Roots = Arc<dyn Fn() -> Result<Vec<Digest>> + Send + Sync>;

#[derive(Default)]
pub(crate) struct State {
    /// In order, so that they can be gone through piece by piece.
    pub nodes: BTreeMap<RefId, Arc<Node>>,
    /// Layers that came as blobs, by parent and digest of the unpacked archive.
    pub blobs: HashMap<(Option<RefId>, Digest), RefId>,
}

impl Refs {
    /// Opens the states in `db`, and sweeps from `snapshots` what none of them needs.
    pub async fn open(
        db: Arc<Database>,
        snapshots: Arc<snapshot::Store>,
        content: content::Store,
    ) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(db, snapshots, content));
        opened.await.unwrap_or_else(|e| match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::canceled()),
        })
    }

    fn open_blocking(
        db: Arc<Database>,
        snapshots: Arc<snapshot::Store>,
        content: content::Store,
    ) -> Result<Self> {
        let sync = {
            let (snapshots, content) = (snapshots.clone(), content.clone());
            Arc::new(move || {
                snapshots.sync()?;
                content.flush()
            })
        };
        let (table, rows) = Table::open(db.clone(), sync)?;
        let ledger = Arc::new(Ledger::default());
        let inner = Arc::new(Inner {
            images: Images::open(db.clone())?,
            db,
            content,
            table,
            mounts: Mounts::default(),
            unpacking: tokio::sync::Semaphore::new(threads().max(2) * 2),
            packing: tokio::sync::Semaphore::new(2),
            packed_pieces: KnownPieces::default(),
            roots: Mutex::default(),
            lost_at_start: Mutex::default(),
            state: Mutex::default(),
            views: Mutex::default(),
            janitor: Janitor::start(snapshots.clone(), ledger.clone())?,
            ledger,
            pruning: Mutex::default(),
            closing: AtomicBool::new(false),
            changed: Notify::new(),
            on_removed: Mutex::default(),
            names: RandomState::new(),
            snapshots,
        });
        inner.load(rows)?;
        Ok(Refs(inner))
    }

    /// The database, for others who keep their tables in it.
    pub fn database(&self) -> &Arc<Database> {
        &self.0.db
    }

    pub fn snapshots(&self) -> &Arc<snapshot::Store> {
        &self.0.snapshots
    }

    pub fn content(&self) -> &content::Store {
        &self.0.content
    }

    /// Names of images.
    pub fn images(&self) -> &Images {
        &self.0.images
    }

    /// A new tree, to become a state by [`Refs::from_tree`].
    pub fn new_tree(&self) -> Result<TreeWriter> {
        self.0.snapshots.new_tree()
    }

    /// The view of nothing.
    pub fn scratch_view(&self) -> View {
        View::empty()
    }

    /// The state of this id; `None` where it is gone, or something that it is made of.
    pub fn get(&self, id: &str) -> Option<ImmutableRef> {
        let node = self.0.state().nodes.get(id)?.clone();
        if let Some(lost) = self.0.lost_part(&node) {
            self.0.drop_lost(&lost);
            return None;
        }
        // One that is being removed is not given out.
        let held = node.hold(&self.0);
        // Not in one expression: the end of a handle takes the lock itself.
        let is_there = self.contains(id);
        is_there.then_some(held)
    }

    /// Whether there is a state of this id.
    pub fn contains(&self, id: &str) -> bool {
        self.0.state().nodes.contains_key(id)
    }

    /// Whether there is a state of this id of which all layers are there or can be fetched. One that a client has left
    /// behind before its layers came is none.
    pub fn can_be_read(&self, id: &str) -> bool {
        let node = self.0.state().nodes.get(id).cloned();
        node.is_some_and(|node| self.0.is_available(&node))
    }

    /// Waits until all that was persisted is in the database, so that no end of the process can take it.
    pub async fn flush(&self) -> Result<()> {
        let inner = self.0.clone();
        blocking(move || inner.table.flush()).await
    }

    /// Makes all durable. Nothing is written after it.
    pub async fn close(&self) {
        let inner = self.0.clone();
        inner.closing.store(true, Ordering::Release);
        let closed = blocking(move || {
            inner.table.close();
            Ok(())
        });
        if let Err(e) = closed.await {
            tracing::error!("failed to close the store: {e}");
        }
    }

    /// Keeps blobs that `roots` names from collection; what those blobs name in turn is not kept.
    pub fn add_roots(&self, roots: Roots) {
        self.0.roots.lock().unwrap_or_else(PoisonError::into_inner).push(roots);
    }

    /// The manifests and configs that a manifest or index names; nothing for other blobs.
    pub fn parts_of(&self, digest: &Digest) -> Vec<Digest> {
        self.0.named_in(digest, &["manifests"], &["config"])
    }

    /// The blobs that stay for nothing but the name of an image.
    pub fn blobs_of_images_alone(&self) -> Result<HashSet<Digest>> {
        self.0.only_of_images()
    }

    /// Removes those of `blobs` that nothing needs any more.
    pub fn collect_blobs(&self, blobs: &[Digest]) -> Result<()> {
        self.0.collect_these(blobs)
    }
}

impl Inner {
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the rows of the database to life, and removes those that nothing keeps.
    fn load(self: &Arc<Self>, rows: Vec<(RefId, Record)>) -> Result<()> {
        let ids: Vec<RefId> = rows.iter().map(|(id, _)| id.clone()).collect();
        let mut left: HashMap<RefId, Record> = rows.into_iter().collect();
        // One look at the folder is much quicker than one for each layer.
        let there = self.snapshots.list()?;
        for (id, record) in &mut left {
            if self.mend(record, &there) {
                self.lost(format!(
                    "a layer of `{}` is gone; it is made anew from what there is",
                    record.description
                ));
                self.table.put(id, record);
            }
        }
        let kept = kept(&left, &|kind| match kind {
            // Who could fetch the blob is not known any more.
            Kind::Layer { tree: None, blob, .. } => {
                blob.as_ref().is_some_and(|blob| self.content.contains(&blob.descriptor.digest))
            }
            kind => kind.own_trees().iter().all(|tree| there.contains(tree)),
        });
        let unkept: HashMap<RefId, Record> = left.extract_if(|id, _| !kept.contains(id)).collect();
        let live: HashSet<LayerId> = left.values().flat_map(|record| record.kind.own_trees()).collect();
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
        for id in ids.iter().filter(|id| !kept.contains(*id)) {
            // What nobody retains goes without a word.
            if let Some(record) = unkept.get(id).filter(|record| record.retained) {
                self.lost(format!("`{}` is not whole any more; it was dropped", record.description));
            }
            self.table.delete(id);
        }
        for id in ids {
            self.revive(&id, &mut left);
        }
        Ok(())
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

    /// Where trees of a state are gone that can be made from something else, lets them be made. Says whether there were
    /// any.
    fn mend(&self, record: &mut Record, there: &HashSet<LayerId>) -> bool {
        let lost = record.kind.trees().iter().any(|tree| !there.contains(tree));
        match &mut record.kind {
            Kind::Layer { tree, blob: Some(blob), .. }
                if lost && self.content.contains(&blob.descriptor.digest) =>
            {
                *tree = None;
            }
            Kind::Merge { stack, .. } | Kind::Diff { stack, .. } if lost => *stack = None,
            Kind::Revision { tree, whole, .. } if lost && there.contains(&tree.0) => *whole = None,
            _ => return false,
        }
        true
    }

    /// Makes the node of a row, after those of its parents.
    fn revive(self: &Arc<Self>, id: &RefId, left: &mut HashMap<RefId, Record>) {
        let mut todo = vec![id.clone()];
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
                let parents = self.parents_of(&record.kind);
                let node = Node::new(id, parents, record, true);
                self.adopt(&node);
            }
        }
    }

    fn parents_of(self: &Arc<Self>, kind: &Kind) -> Parents {
        let hold = |id: &str| {
            let node = self.state().nodes.get(id).cloned();
            node.map(|node| node.hold_as_part(self))
        };
        match kind {
            Kind::Layer { parent, .. } => {
                parent.as_deref().and_then(hold).map_or(Parents::None, Parents::Layer)
            }
            Kind::Revision { of, .. } => hold(of).map_or(Parents::None, Parents::Revision),
            Kind::Merge { parents, .. } => Parents::Merge(parents.iter().filter_map(|id| hold(id)).collect()),
            Kind::Diff { lower, upper, .. } => Parents::Diff {
                lower: lower.as_deref().and_then(hold),
                upper: upper.as_deref().and_then(hold),
            },
            Kind::Scratch { .. } => Parents::None,
        }
    }

    /// Enters a node into the tables.
    pub fn adopt(&self, node: &Arc<Node>) {
        let (scratch, blob) = match &node.record().kind {
            Kind::Scratch { key, .. } => (Some(key.clone()), None),
            kind => (None, blob_key(kind)),
        };
        if let Some(key) = scratch {
            self.mounts.add(key, node.clone());
        }
        let mut state = self.state();
        if let Some(blob) = blob {
            state.blobs.insert(blob, node.id.clone());
        }
        state.nodes.insert(node.id.clone(), node.clone());
    }

    /// Makes a state and enters it.
    pub fn create(self: &Arc<Self>, parents: Parents, record: Record) -> ImmutableRef {
        let node = Node::new(self.new_id(), parents.as_parts(self), record, false);
        let held = node.hold(self);
        self.adopt(&node);
        self.changed.notify_one();
        held
    }

    /// The last handle of its kind on a state was dropped.
    pub fn released(&self, node: &Arc<Node>, purpose: Purpose) {
        let retained = {
            let mut record = node.record();
            if purpose == Purpose::Use {
                record.last_used_at = Some(Timestamp::now());
                record.usage_count += 1;
            }
            record.retained
        };
        if !retained {
            self.remove(node);
        } else if purpose == Purpose::Use {
            self.save_use(node);
        }
        self.changed.notify_one();
    }

    /// Takes a state out of all tables and has its trees removed, unless somebody holds it.
    pub fn remove(&self, node: &Arc<Node>) -> bool {
        self.remove_node(node, false)
    }

    /// As [`Inner::remove`], also where somebody holds it.
    pub fn forget_node(&self, node: &Arc<Node>) -> bool {
        node.record().retained = false;
        self.remove_node(node, true)
    }

    fn remove_node(&self, node: &Arc<Node>, even_held: bool) -> bool {
        let is_gone = self.take_out(node, even_held);
        if is_gone {
            for tree in node.record().kind.own_trees() {
                self.janitor.remove(tree, node.uncounted.clone());
            }
        }
        is_gone
    }

    /// Takes a state out of all tables, unless somebody holds it and that counts. Its trees are the caller's to remove.
    pub fn take_out(&self, node: &Arc<Node>, even_held: bool) -> bool {
        let kind = node.record().kind.clone();
        let mut state = self.state();
        // A handle may have come meanwhile, and another caller may be further.
        let is_ours = state.nodes.get(&node.id).is_some_and(|there| Arc::ptr_eq(there, node));
        if !is_ours || (node.is_held() && !even_held) {
            return false;
        }
        state.nodes.remove(&node.id);
        if even_held {
            // Its record may be the damaged part, so that does not say which blob it is.
            state.blobs.retain(|_, id| *id != node.id);
        } else if let Some(blob) = blob_key(&kind)
            && state.blobs.get(&blob) == Some(&node.id)
        {
            state.blobs.remove(&blob);
        }
        drop(state);
        if node.is_stored() {
            self.table.delete(&node.id);
            let told = self.on_removed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(told) = told {
                told(&node.id);
            }
        }
        self.views.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != node.id);
        if let Kind::Scratch { key, .. } = &kind {
            self.mounts.remove(key, &node.id);
        }
        true
    }

    /// Tells one who keeps the ids of states of those that are gone.
    pub fn on_removed(&self, told: OnRemoved) {
        *self.on_removed.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    /// Keeps a state, with those that it is made of, over restarts.
    pub fn persist(&self, node: &Arc<Node>) {
        node.record().retained = true;
        let mut todo = vec![node.clone()];
        while let Some(node) = todo.pop() {
            if !node.is_stored() {
                node.set_stored();
                todo.extend(node.parents.all().into_iter().map(|parent| parent.node().clone()));
            }
            self.save(&node);
        }
        self.table.mark();
    }

    /// Writes a record that is kept, after a change.
    pub fn save(&self, node: &Node) {
        if node.is_stored() {
            let record = node.record().clone();
            self.table.put(&node.id, &record);
        }
    }

    /// Writes when a record was last used: what it says beside stays as durable as it is.
    fn save_use(&self, node: &Node) {
        if node.is_stored() {
            let record = node.record().clone();
            self.table.put_use(&node.id, &record);
        }
    }

    /// The view of a state, which is remembered for some time.
    pub fn view(&self, id: &RefId, chain: &[LayerId]) -> Result<View> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = views.iter().position(|(known, _)| known == id) {
            let found = views.remove(at).expect("it was found there");
            views.push_back(found.clone());
            return Ok(found.1);
        }
        // What is known of the files below is not found out again.
        let below = views.iter().map(|(_, view)| view).filter(|view| chain.starts_with(view.chain()));
        let below = below.max_by_key(|view| view.chain().len()).cloned();
        drop(views);
        let view = match below {
            Some(below) => self.snapshots.view_on(&below, chain)?,
            None => self.snapshots.view(chain)?,
        };
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if views.len() >= VIEWS {
            views.pop_front();
        }
        views.push_back((id.clone(), view.clone()));
        Ok(view)
    }

    /// 25 digits, in the form of BuildKit's ids.
    fn new_id(&self) -> RefId {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let now = Timestamp::now().as_nanosecond();
        let count = self.state().nodes.len();
        let random = |salt: u8| {
            let mut hasher = self.names.build_hasher();
            hasher.write_i128(now);
            hasher.write_usize(count);
            hasher.write_u8(salt);
            RandomState::new().hash_one(hasher.finish())
        };
        let mut rest = (u128::from(random(0)) << 64) | u128::from(random(1));
        let mut id = String::with_capacity(25);
        for _ in 0..25 {
            id.push(DIGITS[(rest % 36) as usize] as char);
            rest /= 36;
        }
        id.into()
    }
}

/// What a layer that came as a blob is found by.
fn blob_key(kind: &Kind) -> Option<(Option<RefId>, Digest)> {
    match kind {
        Kind::Layer { parent, blob: Some(blob), .. } => {
            Some((parent.as_deref().map(RefId::from), blob.diff_id.clone()))
        }
        _ => None,
    }
}

/// The rows that are retained, or that a retained one is made of, and whose files are there.
fn kept(rows: &HashMap<RefId, Record>, has: &dyn Fn(&Kind) -> bool) -> HashSet<RefId> {
    let mut whole: HashMap<&RefId, bool> = HashMap::new();
    for id in rows.keys() {
        check(id, rows, has, &mut whole);
    }
    let mut kept = HashSet::new();
    let mut todo: Vec<&RefId> =
        rows.iter().filter(|(id, record)| record.retained && whole[id]).map(|(id, _)| id).collect();
    while let Some(id) = todo.pop() {
        if kept.insert(id.clone())
            && let Some(record) = rows.get(id)
        {
            todo.extend(
                record.kind.parents().into_iter().filter_map(|id| rows.get_key_value(id)).map(|(id, _)| id),
            );
        }
    }
    kept
}

/// Finds out whether a state and all that it is made of are there. Goes down without recursion: chains may be long.
fn check<'a>(
    id: &'a RefId,
    rows: &'a HashMap<RefId, Record>,
    has: &dyn Fn(&Kind) -> bool,
    whole: &mut HashMap<&'a RefId, bool>,
) {
    let mut todo = vec![id];
    while let Some(&id) = todo.last() {
        let Some(record) = rows.get(id).filter(|_| !whole.contains_key(id)) else {
            todo.pop();
            continue;
        };
        let parents: Vec<_> = record.kind.parents().into_iter().map(|id| rows.get_key_value(id)).collect();
        let open = parents.iter().flatten().find(|(parent, _)| !whole.contains_key(parent));
        if let Some((parent, _)) = open
            && !todo.contains(parent)
        {
            todo.push(parent);
            continue;
        }
        let parents_whole = parents.iter().all(|p| p.is_some_and(|(p, _)| whole.get(p) == Some(&true)));
        whole.insert(id, parents_whole && has(&record.kind));
        todo.pop();
    }
}

pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs blocking work on the threads for that.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) if e.is_cancelled() => Err(Error::canceled()),
        Err(e) => Err(Error::internal(format!("a task of the store ended: {e}"))),
    }
}
