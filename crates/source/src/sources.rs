//! What all sources share.

use std::sync::Arc;

use refs::Refs;
use registry::Logins;

use crate::git::Checkouts;
use crate::http::Pages;
use crate::local::Syncs;

/// What sources work with.
pub struct Parts {
    pub refs: Refs,
    pub content: content::Store,
    pub registry: registry::Registry,
}

/// Makes sources.
pub struct Sources(pub(crate) Arc<Shared>);

/// What sources share.
pub struct Shared {
    pub refs: Refs,
    pub content: content::Store,
    pub logins: Logins,
    pub syncs: Syncs,
    pub pages: Pages,
    pub checkouts: Checkouts,
}

impl Sources {
    pub fn new(parts: Parts) -> Self {
        let Parts { refs, content, registry } = parts;
        let db = refs.database();
        let (syncs, pages) = (Syncs::new(Arc::clone(db)), Pages::new(Arc::clone(db)));
        let checkouts = Checkouts::new(Arc::clone(db));
        Sources(Arc::new(Shared { refs, content, logins: Logins::new(registry), syncs, pages, checkouts }))
    }
}
