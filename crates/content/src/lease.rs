//! What must not be removed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::Result;
use oci::Digest;

use crate::{Ingest, Store};

/// How many leases hold each blob.
pub(crate) type Held = Mutex<HashMap<Digest, usize>>;

/// Keeps blobs from being removed until the last clone is dropped. It may hold blobs that are still to come.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    store: Store,
    digests: Mutex<HashSet<Digest>>,
}

impl Lease {
    pub(crate) fn new(store: &Store) -> Self {
        Lease(Arc::new(Inner { store: store.clone(), digests: Mutex::default() }))
    }

    /// Holds a blob from now on, and says whether it is there. One that is there stays; to look first and hold then
    /// would leave a gap.
    pub fn hold(&self, digest: &Digest) -> bool {
        let mut own = self.0.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if own.insert(digest.clone()) {
            let mut held = self.0.store.held().lock().unwrap_or_else(PoisonError::into_inner);
            *held.entry(digest.clone()).or_default() += 1;
        }
        self.0.store.contains(digest)
    }

    /// As [`Store::ingest`]; the blob is held from its commit on.
    pub fn ingest(&self, expected: Option<(Digest, u64)>) -> Result<Ingest> {
        Ingest::new(&self.0.store, expected, Some(self.clone()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let own = self.digests.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.store.held().lock().unwrap_or_else(PoisonError::into_inner);
        for digest in own.iter() {
            if let Some(count) = held.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    held.remove(digest);
                }
            }
        }
    }
}
