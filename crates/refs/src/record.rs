//! What is written down of a state.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use errdefs::Result;
use jiff::Timestamp;
use oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};
use snapshot::LayerId;

/// What a state is for, in BuildKit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum RecordType {
    #[default]
    #[serde(rename = "regular")]
    Regular,
    #[serde(rename = "source.local")]
    LocalSource,
    #[serde(rename = "source.git.checkout")]
    GitCheckout,
    #[serde(rename = "exec.cachemount")]
    CacheMount,
    #[serde(rename = "internal")]
    Internal,
    #[serde(rename = "frontend")]
    Frontend,
}

impl RecordType {
    pub fn as_str(self) -> &'static str {
        match self {
            RecordType::Regular => "regular",
            RecordType::LocalSource => "source.local",
            RecordType::GitCheckout => "source.git.checkout",
            RecordType::CacheMount => "exec.cachemount",
            RecordType::Internal => "internal",
            RecordType::Frontend => "frontend",
        }
    }

    /// The type of this name; an unknown name is a regular one.
    pub fn from_name(name: &str) -> Self {
        use RecordType as T;
        [T::LocalSource, T::GitCheckout, T::CacheMount, T::Internal, T::Frontend]
            .into_iter()
            .find(|t| t.as_str() == name)
            .unwrap_or_default()
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A layer as an archive: the blob, and the digest of what it unpacks to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    pub descriptor: Descriptor,
    /// OCI image-spec, config.md, "DiffID".
    pub diff_id: Digest,
}

/// The id of a record.
pub type RefId = Arc<str>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub kind: Kind,
    pub description: String,
    pub record_type: RecordType,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub usage_count: u64,
    /// Kept as cache although nobody holds it.
    pub retained: bool,
    /// Archives that were made of the layer, by [`crate::Compression::key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blobs: BTreeMap<String, LayerBlob>,
    /// The last archive of each packing that has the layer's files with other times.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clamped: BTreeMap<String, Clamped>,
}

/// An archive with the files of another, none of them later than a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clamped {
    /// The other archive.
    pub of: Digest,
    /// Seconds since 1970.
    pub latest: i64,
    pub blob: LayerBlob,
}

impl Record {
    /// All archives that were made of the layer.
    pub fn made_blobs(&self) -> impl Iterator<Item = &LayerBlob> {
        self.blobs.values().chain(self.clamped.values().map(|clamped| &clamped.blob))
    }
}

/// What a state is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A layer on a parent. It is there unpacked, or as a blob that was or can be fetched, or both. One with a `twin` came
    /// as another blob of the same files: it has no tree but that one's.
    Layer {
        parent: Option<String>,
        tree: Option<Tree>,
        blob: Option<Box<LayerBlob>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        twin: Option<String>,
    },
    /// Another state whose topmost layer is changed by one more tree: the two count as one layer. `whole` has both in
    /// one, where that was needed.
    Revision { of: String, tree: Tree, whole: Option<Tree> },
    /// States put on each other, lowest first.
    Merge { parents: Vec<String>, stack: Option<Stack> },
    /// What turns one state into another.
    Diff { lower: Option<String>, upper: Option<String>, stack: Option<Stack> },
    /// The directory of a cache mount, which changes.
    Scratch { key: String, tree: Tree },
}

impl Kind {
    /// The ids of the states that this one is made of.
    pub fn parents(&self) -> Vec<&str> {
        match self {
            Kind::Layer { parent, twin, .. } => parent.iter().chain(twin).map(String::as_str).collect(),
            Kind::Revision { of, .. } => vec![of],
            Kind::Merge { parents, .. } => parents.iter().map(String::as_str).collect(),
            Kind::Diff { lower, upper, .. } => lower.iter().chain(upper).map(String::as_str).collect(),
            Kind::Scratch { .. } => Vec::new(),
        }
    }

    /// The blob that a layer came as.
    pub fn came_as(&self) -> Option<&LayerBlob> {
        match self {
            Kind::Layer { blob, .. } => blob.as_deref(),
            _ => None,
        }
    }

    /// The layer trees that show this state, without those of what it is made of.
    pub fn trees(&self) -> Vec<LayerId> {
        match self {
            Kind::Merge { stack, .. } | Kind::Diff { stack, .. } => {
                stack.iter().flat_map(|stack| &stack.chain).map(|tree| tree.0.clone()).collect()
            }
            kind => kind.own_trees(),
        }
    }

    /// The layer trees that belong to this state and to no other.
    pub fn own_trees(&self) -> Vec<LayerId> {
        match self {
            Kind::Layer { tree, .. } => tree.iter().map(|tree| tree.0.clone()).collect(),
            Kind::Revision { tree, whole, .. } => {
                std::iter::once(tree).chain(whole).map(|tree| tree.0.clone()).collect()
            }
            Kind::Merge { stack, .. } | Kind::Diff { stack, .. } => {
                stack.iter().flat_map(|stack| &stack.own).map(|tree| tree.0.clone()).collect()
            }
            Kind::Scratch { tree, .. } => vec![tree.0.clone()],
        }
    }
}

/// The layers of a merge or a difference, once they were put on each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Lowest first.
    pub chain: Vec<Tree>,
    /// Those that were made for this stack.
    pub own: Vec<Tree>,
}

/// A layer tree, by name in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(pub LayerId);

impl Serialize for Tree {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        LayerId::parse(&text).map(Tree).map_err(serde::de::Error::custom)
    }
}
