//! States in memory, and the handles on them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use errdefs::{Error, Result};
use fsutil::mount::Source;
use jiff::Timestamp;
use oci::Digest;
use snapshot::{HashOptions, LayerId, View};

use crate::lazy::Providers;
use crate::record::{Kind, Record, RecordType, RefId};
use crate::refs::{Inner, blocking};

/// A state. It holds handles on the states that it is made of.
pub(crate) struct Node {
    pub id: RefId,
    pub parents: Parents,
    /// The layer whose tree this one has: it came as another blob of the same.
    pub twin: Option<ImmutableRef>,
    record: Mutex<Record>,
    /// Held by who uses the state.
    handle: Mutex<Weak<Handle>>,
    /// Held by the states that are made of this one. That they go is no use of it.
    lineage: Mutex<Weak<Handle>>,
    /// Set once its trees are in the store and fit together.
    pub chain: OnceLock<Vec<LayerId>>,
    /// Held by who makes the trees or blobs of this state.
    pub making: tokio::sync::Mutex<()>,
    /// Where the blob is fetched from.
    pub providers: Mutex<Providers>,
    /// Whether the database has the record.
    stored: AtomicBool,
    /// Bytes that the ledger has for its trees.
    pub counted: AtomicU64,
    /// Whether its trees changed since they were counted.
    pub uncounted: Arc<AtomicBool>,
}

/// The states that a state is made of.
pub(crate) enum Parents {
    None,
    Layer(ImmutableRef),
    /// The state that is changed.
    Revision(ImmutableRef),
    Merge(Vec<ImmutableRef>),
    Diff {
        lower: Option<ImmutableRef>,
        upper: Option<ImmutableRef>,
    },
}

impl Parents {
    fn all(&self) -> Vec<&ImmutableRef> {
        match self {
            Parents::None => Vec::new(),
            Parents::Layer(parent) | Parents::Revision(parent) => vec![parent],
            Parents::Merge(parents) => parents.iter().collect(),
            Parents::Diff { lower, upper } => lower.iter().chain(upper).collect(),
        }
    }

    /// The same states, held as parts of another.
    pub fn as_parts(&self, refs: &Arc<Inner>) -> Self {
        let part = |state: &ImmutableRef| state.node().hold_as_part(refs);
        match self {
            Parents::None => Parents::None,
            Parents::Layer(parent) => Parents::Layer(part(parent)),
            Parents::Revision(of) => Parents::Revision(part(of)),
            Parents::Merge(parents) => Parents::Merge(parents.iter().map(part).collect()),
            Parents::Diff { lower, upper } => {
                Parents::Diff { lower: lower.as_ref().map(part), upper: upper.as_ref().map(part) }
            }
        }
    }
}

impl Node {
    pub fn new(
        id: RefId,
        parents: Parents,
        twin: Option<ImmutableRef>,
        record: Record,
        stored: bool,
    ) -> Arc<Self> {
        let (handle, lineage, chain, making, providers, counted) = Default::default();
        Arc::new(Node {
            id,
            parents,
            twin,
            record: Mutex::new(record),
            handle,
            lineage,
            chain,
            making,
            providers,
            stored: AtomicBool::new(stored),
            counted,
            uncounted: Arc::new(AtomicBool::new(true)),
        })
    }

    /// The states that this one needs.
    pub fn made_of(&self) -> Vec<&ImmutableRef> {
        let mut all = self.parents.all();
        all.extend(&self.twin);
        all
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    pub fn set_stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    /// Notes that the trees are not what was counted.
    pub fn recount(&self) {
        self.uncounted.store(true, Ordering::Release);
    }

    /// Whether somebody uses the state, or another state is made of it.
    pub fn is_held(&self) -> bool {
        self.is_used() || is_alive(&self.lineage)
    }

    /// Whether somebody uses the state itself.
    pub fn is_used(&self) -> bool {
        is_alive(&self.handle)
    }

    /// A handle, the one that is held or a new one.
    pub fn hold(self: &Arc<Self>, refs: &Arc<Inner>) -> ImmutableRef {
        self.hold_in(&self.handle, Purpose::Use, refs)
    }

    /// A handle for a state that is made of this one.
    pub fn hold_as_part(self: &Arc<Self>, refs: &Arc<Inner>) -> ImmutableRef {
        self.hold_in(&self.lineage, Purpose::Lineage, refs)
    }

    fn hold_in(
        self: &Arc<Self>,
        slot: &Mutex<Weak<Handle>>,
        purpose: Purpose,
        refs: &Arc<Inner>,
    ) -> ImmutableRef {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = slot.upgrade() {
            return ImmutableRef(handle);
        }
        let handle = Arc::new(Handle { node: self.clone(), purpose, refs: Arc::downgrade(refs) });
        *slot = Arc::downgrade(&handle);
        ImmutableRef(handle)
    }
}

fn is_alive(slot: &Mutex<Weak<Handle>>) -> bool {
    slot.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
}

/// What a state is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Use,
    /// Another state is made of it.
    Lineage,
}

/// All clones of one [`ImmutableRef`].
pub(crate) struct Handle {
    node: Arc<Node>,
    purpose: Purpose,
    /// The store holds states that hold handles, so a handle must not hold the store.
    refs: Weak<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(refs) = self.refs.upgrade() {
            refs.released(&self.node, self.purpose);
        }
    }
}

/// A state of a file system that does not change. Cheap to clone; the state stays as long as one clone is held.
#[derive(Clone)]
pub struct ImmutableRef(Arc<Handle>);

impl ImmutableRef {
    pub fn id(&self) -> &str {
        &self.0.node.id
    }

    pub fn description(&self) -> String {
        self.node().record().description.clone()
    }

    pub fn record_type(&self) -> RecordType {
        self.node().record().record_type
    }

    pub fn created_at(&self) -> Timestamp {
        self.node().record().created_at
    }

    /// Keeps the state as cache when no handle is left.
    pub fn persist(&self) {
        if let Ok(refs) = self.refs() {
            refs.persist(self.node());
        }
    }

    /// Undoes [`ImmutableRef::persist`]: the state goes with its last handle.
    pub fn forget(self) {
        self.node().record().retained = false;
    }

    /// The layer trees, lowest first. Fetches and unpacks what is not there yet.
    pub async fn chain(&self) -> Result<Vec<LayerId>> {
        self.refs()?.chain(self.node()).await
    }

    /// The files, read without a mount.
    pub async fn view(&self) -> Result<View> {
        let chain = self.chain().await?;
        let (refs, id) = (self.refs()?, self.node().id.clone());
        blocking(move || refs.view(&id, &chain)).await
    }

    /// A mount of the files, to be made read-only.
    pub async fn mount_source(&self) -> Result<Source> {
        let chain = self.chain().await?;
        let refs = self.refs()?;
        blocking(move || refs.snapshots.mount_source(&chain)).await
    }

    /// BuildKit's digest of what `path` selects.
    pub async fn path_hash(&self, path: &[u8], options: &HashOptions) -> Result<Digest> {
        let view = self.view().await?;
        let (path, options) = (path.to_vec(), options.clone());
        blocking(move || view.path_hash(&path, &options)).await
    }

    /// The states of which each adds one layer, lowest first: what an image of this state has as layers.
    pub fn layers(&self) -> Vec<ImmutableRef> {
        let mut layers = Vec::new();
        let mut todo = vec![self.clone()];
        // Topmost first.
        while let Some(next) = todo.pop() {
            match &next.node().parents {
                Parents::Merge(parents) => todo.extend(parents.iter().cloned()),
                Parents::Diff { lower, upper } => match upper {
                    Some(upper) if upper.is_one_layer_on(lower.as_ref()) => layers.push(upper.clone()),
                    _ => layers.push(next.clone()),
                },
                Parents::Layer(parent) => {
                    todo.push(parent.clone());
                    layers.push(next.clone());
                }
                Parents::Revision(_) => {
                    todo.extend(next.below_layer());
                    layers.push(next.clone());
                }
                Parents::None => layers.push(next.clone()),
            }
        }
        layers.reverse();
        layers
    }

    /// The layers that this state has on those of `lower`, if it begins with them.
    pub(crate) fn layers_on(&self, lower: &ImmutableRef) -> Option<Vec<ImmutableRef>> {
        let (lower, mut layers) = (lower.layers(), self.layers());
        let begins = layers.len() >= lower.len() && layers.iter().zip(&lower).all(|(own, of)| own == of);
        begins.then(|| layers.split_off(lower.len()))
    }

    /// The state that the topmost layer lies on, revisions of it left out.
    pub(crate) fn below_layer(&self) -> Option<ImmutableRef> {
        let mut state = self.clone();
        loop {
            state = match &state.node().parents {
                Parents::Revision(of) => of.clone(),
                Parents::Layer(parent) => return Some(parent.clone()),
                _ => return None,
            };
        }
    }

    /// Whether this state is `lower` (or nothing) with one layer more.
    pub(crate) fn is_one_layer_on(&self, lower: Option<&ImmutableRef>) -> bool {
        let node = self.node();
        let parent = match &node.parents {
            Parents::None => None,
            Parents::Layer(parent) => Some(parent.id()),
            _ => return false,
        };
        parent == lower.map(ImmutableRef::id) && matches!(node.record().kind, Kind::Layer { .. })
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    pub(crate) fn refs(&self) -> Result<Arc<Inner>> {
        self.0.refs.upgrade().ok_or_else(|| Error::internal("the store is closed"))
    }
}

impl std::fmt::Debug for ImmutableRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ImmutableRef").field(&self.id()).finish()
    }
}

impl PartialEq for ImmutableRef {
    /// Whether both are handles on one state.
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for ImmutableRef {}
