use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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

/// How long a close waits for files to be removed; the next start removes the others.
const TIDYING: Duration = Duration::from_secs(2);
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
    /// Whether there are states that nobody has asked for yet.
    pub asleep: AtomicBool,
    /// One at a time wakes states.
    pub waking: Mutex<()>,
    pub me: Weak<Inner>,
    views: Mutex<VecDeque<(RefId, View)>>,
    pub janitor: Janitor,
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
    pub blobs: HashMap<(Option<RefId>, Digest), Vec<RefId>>,
    /// States that were removed while others sleep: the database may have them still.
    pub gone: HashSet<RefId>,
}

impl State {
    /// Whether the state of this id, if there is one, has not been woken.
    pub fn sleeps(&self, id: &str) -> bool {
        !self.nodes.contains_key(id) && !self.gone.contains(id)
    }
}

/// How the last engine that used the store came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastEnd {
    /// [`Refs::close`] said that nothing is left to be swept.
    Clean,
    Unknown,
}

impl Refs {
    /// Opens the states in `db`, and sweeps from `snapshots` what none of them needs.
    pub async fn open(
        db: Arc<Database>,
        snapshots: Arc<snapshot::Store>,
        content: content::Store,
        last_end: LastEnd,
    ) -> Result<Self> {
        let opened =
            tokio::task::spawn_blocking(move || Self::open_blocking(db, snapshots, content, last_end));
        opened.await.unwrap_or_else(|e| match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::canceled()),
        })
    }

    fn open_blocking(
        db: Arc<Database>,
        snapshots: Arc<snapshot::Store>,
        content: content::Store,
        last_end: LastEnd,
    ) -> Result<Self> {
        let sync = {
            let (snapshots, content) = (snapshots.clone(), content.clone());
            Arc::new(move || {
                snapshots.sync()?;
                content.flush()
            })
        };
        let is_clean = last_end == LastEnd::Clean && !content.machine_restarted();
        let (table, rows) = Table::open(db.clone(), sync, is_clean)?;
        let images = Images::open(db.clone())?;
        let ledger = Arc::new(Ledger::default());
        let janitor = Janitor::start(snapshots.clone(), ledger.clone())?;
        let inner = Arc::new_cyclic(|me| Inner {
            images,
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
            asleep: AtomicBool::new(false),
            waking: Mutex::default(),
            me: me.clone(),
            views: Mutex::default(),
            janitor,
            ledger,
            pruning: Mutex::default(),
            closing: AtomicBool::new(false),
            changed: Notify::new(),
            on_removed: Mutex::default(),
            names: RandomState::new(),
            snapshots,
        });
        match rows {
            Some(rows) => inner.load(rows)?,
            None => inner.doze()?,
        }
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
        let node = self.0.node(id)?;
        if let Some(lost) = self.0.lost_part(&node) {
            self.0.drop_lost(&lost);
            return None;
        }
        // One that is being removed is not given out.
        let held = node.hold(&self.0);
        // Not in one expression: the end of a handle takes the lock itself.
        let is_there = self.0.state().nodes.contains_key(id);
        is_there.then_some(held)
    }

    /// Whether there is a state of this id.
    pub fn contains(&self, id: &str) -> bool {
        self.0.node(id).is_some()
    }

    /// Whether there is a state of this id of which all layers are there or can be fetched. One that a client has left
    /// behind before its layers came is none.
    pub fn can_be_read(&self, id: &str) -> bool {
        self.0.node(id).is_some_and(|node| self.0.is_available(&node))
    }

    /// Waits until all that was persisted is in the database, so that no end of the process can take it.
    pub async fn flush(&self) -> Result<()> {
        let inner = self.0.clone();
        blocking(move || inner.table.flush()).await
    }

    /// Makes all durable, and removes what no later engine will know of. Nothing is written after it. Says how the next
    /// one may open the store.
    pub async fn close(&self) -> LastEnd {
        let inner = self.0.clone();
        inner.closing.store(true, Ordering::Release);
        let closed = blocking(move || {
            // What is being removed goes whole, with its row. A look that finds the store closing removes nothing more.
            let _no_prune_is_under_way = inner.pruning.lock().unwrap_or_else(PoisonError::into_inner);
            inner.remove_unstored();
            let is_tidy = inner.janitor.finish(TIDYING);
            Ok(inner.table.close() && is_tidy)
        });
        match closed.await {
            Ok(true) => LastEnd::Clean,
            Ok(false) => LastEnd::Unknown,
            Err(e) => {
                tracing::error!("failed to close the store: {e}");
                LastEnd::Unknown
            }
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
            state.blobs.entry(blob).or_default().push(node.id.clone());
        }
        state.nodes.insert(node.id.clone(), node.clone());
    }

    /// Makes a state and enters it.
    pub fn create(self: &Arc<Self>, parents: Parents, record: Record) -> ImmutableRef {
        self.create_twin(parents, None, record)
    }

    /// The same for a layer that has the tree of `twin`.
    pub fn create_twin(
        self: &Arc<Self>,
        parents: Parents,
        twin: Option<&ImmutableRef>,
        record: Record,
    ) -> ImmutableRef {
        let twin = twin.map(|twin| twin.node().hold_as_part(self));
        let node = Node::new(self.new_id(), parents.as_parts(self), twin, record, false);
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
        if !even_held && node.is_stored() && self.has_sleeping_child(&node.id) {
            return false;
        }
        let mut state = self.state();
        // A handle may have come meanwhile, and another caller may be further.
        let is_ours = state.nodes.get(&node.id).is_some_and(|there| Arc::ptr_eq(there, node));
        if !is_ours || (node.is_held() && !even_held) {
            return false;
        }
        state.nodes.remove(&node.id);
        if self.is_asleep() {
            state.gone.insert(node.id.clone());
        }
        let mut forget = |ids: &mut Vec<RefId>| {
            ids.retain(|id| *id != node.id);
            !ids.is_empty()
        };
        if even_held {
            // Its record may be the damaged part, so that does not say which blob it is.
            state.blobs.retain(|_, ids| forget(ids));
        } else if let Some(blob) = blob_key(&kind)
            && !state.blobs.get_mut(&blob).is_none_or(&mut forget)
        {
            state.blobs.remove(&blob);
        }
        drop(state);
        if node.is_stored() {
            self.table.delete(&node.id);
            self.tell_removed(&node.id);
        }
        self.views.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != node.id);
        if let Kind::Scratch { key, .. } = &kind {
            self.mounts.remove(key, &node.id);
        }
        true
    }

    /// Removes the trees of states that are not in the database.
    fn remove_unstored(&self) {
        let unstored: Vec<_> =
            self.state().nodes.values().filter(|node| !node.is_stored()).cloned().collect();
        for node in unstored {
            self.remove_node(&node, true);
        }
    }

    pub fn tell_removed(&self, id: &str) {
        let told = self.on_removed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(told) = told {
            told(id);
        }
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
                todo.extend(node.made_of().into_iter().map(|parent| parent.node().clone()));
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
