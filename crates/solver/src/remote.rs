//! Caches that other engines filled, looked up beside the solver's own keys.
//!
//! A build brings its caches along ([`Job::build_with`](crate::Job::build_with)); they serve all vertices of its graph. What
//! is found in one is written down in the own store once it was loaded, and nothing is ever written to them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;

use crate::keys::{KeyId, Link};
use crate::op::{Domain, OpContext};
use crate::results::{Record, ResultId};

/// The keys of such a cache. Those of ops without inputs and of content have the ids that they have everywhere, all others
/// are [foreign](KeyId::foreign). It is asked from the solver's loop: all must be in memory.
pub trait RemoteKeys: Send + Sync + 'static {
    fn contains(&self, key: &KeyId) -> bool;

    /// The keys that `link` leads to from `from`, in a stable order.
    fn targets(&self, from: &KeyId, link: &Link) -> Vec<KeyId>;

    /// The results known under `key`.
    fn records(&self, key: &KeyId) -> Vec<Record>;
}

/// A cache with its results.
#[async_trait]
pub trait RemoteCache<D: Domain>: RemoteKeys {
    /// The value of a result, on behalf of the vertex of `cx`; `None` when it is gone.
    async fn load(&self, id: &ResultId, cx: &OpContext<D>) -> Result<Option<D::Value>>;
}

/// The name of a cache inside the solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CacheId(pub u64);

/// A cache as the core sees it.
#[derive(Clone)]
pub(crate) struct Remote {
    pub id: CacheId,
    pub keys: Arc<dyn RemoteKeys>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}
