//! What every source can do.

use async_trait::async_trait;
use errdefs::Result;
use refs::ImmutableRef;

use crate::Context;

/// The key of a source, in BuildKit's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceKey {
    pub key: String,
    /// What the source turned out to be, as the digest of a tag; for provenance.
    pub pin: Option<String>,
    /// No key with a higher index follows.
    pub done: bool,
}

/// One source of one vertex.
#[async_trait]
pub trait SourceInstance: Send + Sync {
    /// The key of number `index`. Sources with several keys give the most exact first; the same bytes may be found under
    /// any of them.
    async fn cache_key(&self, cx: &Context, index: usize) -> Result<SourceKey>;

    /// The files; nothing for an empty image. Asked for after the first key.
    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>>;
}
