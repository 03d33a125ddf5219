//! New states.

use std::sync::Arc;

use errdefs::{Error, Result};
use fsutil::mount::Source;
use jiff::Timestamp;
use oci::Digest;
use snapshot::{LayerId, TreeWriter};

use crate::lazy::BlobProvider;
use crate::node::{ImmutableRef, Parents};
use crate::record::{Kind, LayerBlob, Record, RecordType, Tree};
use crate::refs::{Inner, Refs, blocking};

/// What is said of a new state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRef {
    pub description: String,
    pub record_type: RecordType,
    /// When it was made; now where there is none.
    pub created_at: Option<Timestamp>,
}

impl NewRef {
    pub fn new(description: impl Into<String>, record_type: RecordType) -> Self {
        NewRef { description: description.into(), record_type, created_at: None }
    }

    pub fn regular(description: impl Into<String>) -> Self {
        Self::new(description, RecordType::Regular)
    }

    pub(crate) fn record(self, kind: Kind) -> Record {
        Record {
            kind,
            description: self.description,
            record_type: self.record_type,
            created_at: self.created_at.unwrap_or_else(Timestamp::now),
            last_used_at: None,
            usage_count: 0,
            retained: false,
            blobs: Default::default(),
            clamped: Default::default(),
        }
    }
}

impl From<&str> for NewRef {
    fn from(description: &str) -> Self {
        NewRef::regular(description)
    }
}

impl From<String> for NewRef {
    fn from(description: String) -> Self {
        NewRef::regular(description)
    }
}

impl Refs {
    /// A writable state on `parent`. It becomes a state by its commit; dropped before, it leaves nothing.
    pub async fn new_mutable(
        &self,
        parent: Option<&ImmutableRef>,
        new: impl Into<NewRef>,
    ) -> Result<MutableRef> {
        let chain = match parent {
            Some(parent) => parent.chain().await?,
            None => Vec::new(),
        };
        let (refs, parent, new) = (self.0.clone(), parent.cloned(), new.into());
        blocking(move || {
            let tree = refs.snapshots.new_tree()?;
            Ok(MutableRef { refs, parent, chain, tree, new })
        })
        .await
    }

    /// Makes a state of a tree that was made on `parent`.
    pub async fn from_tree(
        &self,
        parent: Option<&ImmutableRef>,
        tree: TreeWriter,
        new: impl Into<NewRef>,
    ) -> Result<ImmutableRef> {
        let (refs, parent, new) = (self.0.clone(), parent.cloned(), new.into());
        blocking(move || {
            let layer = tree.commit()?;
            Ok(refs.layer(parent, layer, new))
        })
        .await
    }

    /// Makes a state of `of`, whose topmost layer must be one of a tree, and a tree that was made on it. The tree adds no
    /// layer but changes that one.
    pub async fn revise(
        &self,
        of: &ImmutableRef,
        tree: TreeWriter,
        new: impl Into<NewRef>,
    ) -> Result<ImmutableRef> {
        let (refs, of, new) = (self.0.clone(), of.clone(), new.into());
        blocking(move || {
            let kind = &of.node().record().kind.clone();
            if !matches!(kind, Kind::Layer { blob: None, .. } | Kind::Revision { .. }) {
                return Err(Error::internal(format!("`{}` has no layer to be changed", of.id())));
            }
            let tree = Tree(tree.commit()?);
            let record = new.record(Kind::Revision { of: of.id().to_owned(), tree, whole: None });
            Ok(refs.create(Parents::Revision(of), record))
        })
        .await
    }

    /// A state that adds a layer to `parent` of which there is only a blob, which `provider` fetches when it is needed.
    /// Where the same blob is on the same parent already, it is that one; where another blob of the same files is, they
    /// share those, and each is exported as its own blob.
    pub fn lazy_layer(
        &self,
        parent: Option<&ImmutableRef>,
        blob: LayerBlob,
        provider: Arc<dyn BlobProvider>,
        new: impl Into<NewRef>,
    ) -> ImmutableRef {
        let mut known = self.layers_on(parent, &blob.diff_id);
        let digest = &blob.descriptor.digest;
        let is_same = |state: &&ImmutableRef| {
            state.node().record().kind.came_as().is_some_and(|came| came.descriptor.digest == *digest)
        };
        if let Some(same) = known.iter().find(is_same) {
            same.add_provider(&blob, provider);
            return same.clone();
        }
        // On a twin lie the files that lie on what it is a twin of.
        if let Some(below) = parent.and_then(|parent| parent.node().twin.as_ref()) {
            known.extend(self.layers_on(Some(below), &blob.diff_id));
        }
        let twin = known.into_iter().find(|state| state.node().twin.is_none());
        let kind = Kind::Layer {
            parent: parent.map(|parent| parent.id().to_owned()),
            tree: None,
            blob: Some(Box::new(blob.clone())),
            twin: twin.as_ref().map(|twin| twin.id().to_owned()),
        };
        let parents = parent.cloned().map_or(Parents::None, Parents::Layer);
        let made = self.0.create_twin(parents, twin.as_ref(), new.into().record(kind));
        made.add_provider(&blob, provider);
        made
    }

    /// The layers on `parent` that came as blobs which unpack to this.
    fn layers_on(&self, parent: Option<&ImmutableRef>, diff_id: &Digest) -> Vec<ImmutableRef> {
        let ids = self.0.layers_of_blobs(parent.map(|parent| &parent.node().id), diff_id);
        ids.iter().filter_map(|id| self.get(id)).collect()
    }

    /// The states put on each other, lowest first.
    pub fn merge(&self, parents: Vec<ImmutableRef>, new: impl Into<NewRef>) -> ImmutableRef {
        let ids = parents.iter().map(|parent| parent.id().to_owned()).collect();
        let record = new.into().record(Kind::Merge { parents: ids, stack: None });
        self.0.create(Parents::Merge(parents), record)
    }

    /// What turns `lower` into `upper`. Where `upper` is `lower` with layers on it, that is all that those do, each on
    /// the one before: also what a later one takes back.
    pub fn diff(
        &self,
        lower: Option<&ImmutableRef>,
        upper: Option<&ImmutableRef>,
        new: impl Into<NewRef>,
    ) -> ImmutableRef {
        let new = new.into();
        let above = lower.zip(upper).and_then(|(lower, upper)| upper.layers_on(lower));
        match above {
            Some(layers) if layers.len() > 1 => {
                let steps = layers.iter().map(|layer| match layer.below_layer() {
                    Some(below) => self.difference(Some(&below), Some(layer), new.clone()),
                    None => layer.clone(),
                });
                self.merge(steps.collect(), new.clone())
            }
            _ => self.difference(lower, upper, new),
        }
    }

    fn difference(
        &self,
        lower: Option<&ImmutableRef>,
        upper: Option<&ImmutableRef>,
        new: NewRef,
    ) -> ImmutableRef {
        let id = |side: Option<&ImmutableRef>| side.map(|side| side.id().to_owned());
        let record = new.record(Kind::Diff { lower: id(lower), upper: id(upper), stack: None });
        self.0.create(Parents::Diff { lower: lower.cloned(), upper: upper.cloned() }, record)
    }
}

impl Inner {
    fn layer(self: &Arc<Self>, parent: Option<ImmutableRef>, layer: LayerId, new: NewRef) -> ImmutableRef {
        let parent_id = parent.as_ref().map(|parent| parent.id().to_owned());
        let record =
            new.record(Kind::Layer { parent: parent_id, tree: Some(Tree(layer)), blob: None, twin: None });
        self.create(parent.map_or(Parents::None, Parents::Layer), record)
    }
}

/// A writable state.
#[must_use = "a state that is not committed is removed"]
pub struct MutableRef {
    refs: Arc<Inner>,
    parent: Option<ImmutableRef>,
    chain: Vec<LayerId>,
    tree: TreeWriter,
    new: NewRef,
}

impl MutableRef {
    /// A mount of the files that takes writes.
    pub fn mount_source(&self) -> Result<Source> {
        self.tree.mount_source(&self.chain)
    }

    /// The tree that takes the writes.
    pub fn tree(&self) -> &TreeWriter {
        &self.tree
    }

    /// Makes it a state that does not change any more. Nothing may be mounted from it.
    pub async fn commit(self) -> Result<ImmutableRef> {
        self.commit_without(Vec::new()).await
    }

    /// The same without those of `dirs` that only look touched: see [`TreeWriter::drop_untouched`].
    pub async fn commit_without(self, dirs: Vec<Vec<u8>>) -> Result<ImmutableRef> {
        let MutableRef { refs, parent, chain, tree, new } = self;
        blocking(move || {
            if !chain.is_empty() {
                let base = refs.snapshots.view(&chain)?;
                dirs.iter().try_for_each(|dir| tree.drop_untouched(&base, dir))?;
            }
            let layer = tree.commit()?;
            Ok(refs.layer(parent, layer, new))
        })
        .await
    }
}
