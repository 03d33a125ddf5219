//! The caches of others that active vertices look into.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::op::Domain;
use crate::remote::{CacheId, Remote, RemoteCache};

/// The caches that the core knows by name.
pub(crate) struct Caches<D: Domain> {
    known: HashMap<CacheId, Arc<dyn RemoteCache<D>>>,
    last: u64,
}

impl<D: Domain> Default for Caches<D> {
    fn default() -> Self {
        Caches { known: HashMap::new(), last: 0 }
    }
}

impl<D: Domain> Caches<D> {
    /// Names a cache; one and the same has one name.
    pub fn enter(&mut self, cache: Arc<dyn RemoteCache<D>>) -> Remote {
        let known = self.known.iter().find(|(_, known)| Arc::ptr_eq(known, &cache));
        let id = known.map(|(id, _)| *id).unwrap_or_else(|| {
            self.last += 1;
            CacheId(self.last)
        });
        self.known.insert(id, cache.clone());
        Remote { id, keys: cache }
    }

    pub fn find(&self, id: CacheId) -> Option<Arc<dyn RemoteCache<D>>> {
        self.known.get(&id).cloned()
    }

    /// Lets go of those that no vertex looks into any more.
    pub fn retain(&mut self, in_use: impl FnOnce() -> HashSet<CacheId>) {
        if !self.known.is_empty() {
            let in_use = in_use();
            self.known.retain(|id, _| in_use.contains(id));
        }
    }
}
