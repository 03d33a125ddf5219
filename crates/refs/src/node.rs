//! States in memory, and the handles on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use errdefs::{Error, Result};
use fsutil::mount::Source;
use jiff::Timestamp;
use oci::Digest;
use snapshot::{HashOptions, LayerId, View};

use crate::lazy::BlobProvider;
use crate::record::{Kind, Record, RecordType, RefId};
use crate::refs::{Inner, blocking};

/// A state. It holds handles on the states that it is made of.
pub(crate) struct Node {
    pub id: RefId,
    pub parents: Parents,
    record: Mutex<Record>,
    handle: Mutex<Weak<Handle>>,
    /// Set once its trees are in the store and fit together.
    pub chain: OnceLock<Vec<LayerId>>,
    /// Held by who makes the trees or blobs of this state.
    pub making: tokio::sync::Mutex<()>,
    /// Where the blob is fetched from.
    pub provider: Mutex<Option<Arc<dyn BlobProvider>>>,
    /// Whether the database has the record.
    stored: AtomicBool,
}

/// The states that a state is made of.
pub(crate) enum Parents {
    None,
    Layer(ImmutableRef),
    Merge(Vec<ImmutableRef>),
    Diff { lower: Option<ImmutableRef>, upper: Option<ImmutableRef> },
}

impl Parents {
    pub fn all(&self) -> Vec<&ImmutableRef> {
        match self {
            Parents::None => Vec::new(),
            Parents::Layer(parent) => vec![parent],
            Parents::Merge(parents) => parents.iter().collect(),
            Parents::Diff { lower, upper } => lower.iter().chain(upper).collect(),
        }
    }
}

impl Node {
    pub fn new(id: RefId, parents: Parents, record: Record, stored: bool) -> Arc<Self> {
        let (handle, chain, making, provider) = Default::default();
        let stored = AtomicBool::new(stored);
        Arc::new(Node { id, parents, record: Mutex::new(record), handle, chain, making, provider, stored })
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

    /// How many handles are held; those of states made of this one count.
    pub fn holders(&self) -> usize {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).strong_count()
    }

    /// A handle, the one that is held or a new one.
    pub fn hold(self: &Arc<Self>, refs: &Arc<Inner>) -> ImmutableRef {
        let mut slot = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = slot.upgrade() {
            return ImmutableRef(handle);
        }
        let handle = Arc::new(Handle { node: self.clone(), refs: Arc::downgrade(refs) });
        *slot = Arc::downgrade(&handle);
        ImmutableRef(handle)
    }
}

/// All clones of one [`ImmutableRef`].
pub(crate) struct Handle {
    node: Arc<Node>,
    /// The store holds states that hold handles, so a handle must not hold the store.
    refs: Weak<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(refs) = self.refs.upgrade() {
            refs.released(&self.node);
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
                Parents::None => layers.push(next.clone()),
            }
        }
        layers.reverse();
        layers
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
