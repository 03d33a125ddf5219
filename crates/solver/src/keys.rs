//! Keys of the build cache, and the store that links them.
//!
//! A key is a cache-map digest, an output number and, for each input, a set of alternative keys with selectors: the
//! definition key of the input, its content key, or both. Alternatives make it impossible to name a key by a hash of
//! its parts, so a key has an id, and [`Link`]s lead to it from the keys of its inputs. To look up is to follow the
//! links of each input and to intersect what they reach. This is BuildKit's scheme, so its exported caches fit.
//!
//! | key | id |
//! |---|---|
//! | of an op without inputs | `sha256:` + sha256 of `<digest>@<output>` (`random:` when transient) |
//! | of content | the same with output -1 |
//! | of an op with inputs | bare hex: the one that links already reach, else a hash of all its parts |
//! | the same in a cache of another engine | `cache:` + the name of the cache + `/` + its name there |

use std::fmt;
use std::sync::Arc;

use errdefs::Result;
use oci::Digest;
use serde::{Deserialize, Serialize};

use crate::results::{Record, ResultId};

/// Begins the ids of keys of other engines' caches.
const FOREIGN: &str = "cache:";

/// The id of a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The key of an op without inputs.
    pub fn root(digest: &Digest, output: usize, transient: bool) -> Self {
        Self::whole(digest, output as i64, transient)
    }

    /// The key of content.
    pub fn content(digest: &Digest) -> Self {
        Self::whole(digest, -1, false)
    }

    fn whole(digest: &Digest, output: i64, transient: bool) -> Self {
        let hash = Digest::of(format!("{digest}@{output}"));
        if transient { KeyId(format!("random:{}", hash.hex()).into()) } else { KeyId(hash.as_str().into()) }
    }

    /// A new key of an op with inputs: a hash of its parts, so that one graph has one set of ids.
    pub(crate) fn derived(digest: &Digest, output: usize, deps: &[Vec<(KeyId, Option<Digest>)>]) -> Self {
        use std::fmt::Write as _;
        let mut text = format!("{digest}@{output}");
        for dep in deps {
            text.push('\n');
            for (key, selector) in dep {
                let _ = write!(text, "{key} {} ", selector.as_ref().map_or("", Digest::as_str));
            }
        }
        KeyId(Digest::of(text).hex().into())
    }

    /// A key of an op with inputs in the cache of this name, which nobody else knows under this id.
    pub fn foreign(cache: &str, name: &str) -> Self {
        KeyId(format!("{FOREIGN}{cache}/{name}").into())
    }

    /// Whether only one cache knows the key under this id.
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with(FOREIGN)
    }

    /// An id as a store wrote it down.
    pub fn from_stored(text: &str) -> Self {
        KeyId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key holds for one build only and must not be exported.
    pub fn is_transient(&self) -> bool {
        self.0.starts_with("random:")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How one key leads to another: as input number `input` of an op of this digest, to its output `output`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    pub input: usize,
    pub output: usize,
    pub digest: Digest,
    pub selector: Option<Digest>,
}

impl Link {
    /// The digest that a cache export writes for the keys that the link leads to.
    pub fn export_digest(&self) -> Digest {
        export_digest(&self.digest, self.output)
    }
}

/// What is remembered of a key beside its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The digest of the cache map.
    pub digest: Digest,
    pub output: usize,
    /// The vertex that was built when the key was first recorded.
    pub vertex: Digest,
    /// The name of that vertex.
    pub name: String,
    /// What went into `digest`, to say why a later key differs.
    pub ingredients: Vec<(String, String)>,
}

impl KeyInfo {
    /// The digest that a cache export writes for the key.
    pub fn export_digest(&self) -> Digest {
        export_digest(&self.digest, self.output)
    }
}

/// The digest that a cache export writes for the keys of an output of ops of this digest.
fn export_digest(digest: &Digest, output: usize) -> Digest {
    Digest::of(format!("{digest}@{output}"))
}

/// What [`KeyStore::add`] writes: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: KeyId,
    /// Links that lead to `key`. Those that are there already stay as they are.
    pub links: Vec<(KeyId, Link)>,
    pub record: Option<Record>,
    pub info: Option<KeyInfo>,
}

/// The table of keys. It is asked from the solver's loop, so an answer should take microseconds, and a write may
/// become durable later; what was written is found at once. An error counts as a miss.
///
/// A key is kept while it has a record or leads to a key that is kept.
pub trait KeyStore: Send + Sync + 'static {
    fn contains(&self, key: &KeyId) -> Result<bool>;

    /// The keys that `link` leads to from `from`, in a stable order.
    fn targets(&self, from: &KeyId, link: &Link) -> Result<Vec<KeyId>>;

    /// The links that lead to `to`.
    fn origins(&self, to: &KeyId) -> Result<Vec<(KeyId, Link)>>;

    /// The results known under `key`, newest first.
    fn records(&self, key: &KeyId) -> Result<Vec<Record>>;

    fn info(&self, key: &KeyId) -> Result<Option<KeyInfo>>;

    /// The keys under which a result is known.
    fn keys_of(&self, result: &ResultId) -> Result<Vec<KeyId>>;

    /// All results that are known under some key.
    fn results(&self) -> Result<Vec<ResultId>>;

    fn add(&self, entry: &Entry) -> Result<()>;

    /// Removes a result from all keys, at once, and the keys that are not kept then, at once or later.
    fn forget(&self, result: &ResultId) -> Result<()>;
}
