//! Where results live between builds.

use async_trait::async_trait;
use errdefs::Result;
use jiff::Timestamp;

/// The name of a stored result; made by the [`ResultStore`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId(pub String);

/// A result that is known under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub result: ResultId,
    pub created_at: Timestamp,
}

/// Keeps values. A value becomes an id when it is saved; the store may lose it at any time later (prune), and the
/// solver then runs the op again.
#[async_trait]
pub trait ResultStore<V>: Send + Sync + 'static {
    /// Keeps `value` beyond the life of its handles. Saving a value twice may give the same id.
    async fn save(&self, value: &V) -> Result<ResultId>;

    /// The value, or `None` when it is gone. An error is logged and taken for `None`.
    async fn load(&self, id: &ResultId) -> Result<Option<V>>;

    /// Whether `load` would probably find it. Called on the solver's loop: must not block.
    fn exists(&self, id: &ResultId) -> bool;
}
