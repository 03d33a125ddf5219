//! What all sources share.

use std::sync::Arc;

use refs::Refs;

use crate::http::HttpIndex;
use crate::local::LocalIndex;

/// What sources work with.
pub struct Parts {
    pub refs: Refs,
    pub content: content::Store,
    pub registry: registry::Registry,
}

/// Makes sources.
pub struct Sources {
    pub(crate) parts: Arc<Parts>,
    pub(crate) local: Arc<LocalIndex>,
    pub(crate) http: Arc<HttpIndex>,
}

impl Sources {
    pub fn new(parts: Parts) -> Self {
        Sources { parts: Arc::new(parts), local: Arc::default(), http: Arc::default() }
    }
}
