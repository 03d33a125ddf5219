//! The build cache on disk: the solver's keys in the database, its results as refs.

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;
use solver::{KeyStore as _, ResultId, ResultStore};

use crate::node::ImmutableRef;
use crate::refs::{Refs, blocking};

mod keys;
mod rows;

pub use keys::Keys;

/// The name of the result that is no file system at all. It is never lost.
const SCRATCH: &str = "scratch";

/// Both stores of a solver.
#[derive(Clone)]
pub struct Records {
    pub keys: Arc<Keys>,
    pub results: Arc<Results>,
}

impl Records {
    /// Opens the records in the database of `refs`. Those whose ref is gone are dropped in the background, unless the
    /// last end was clean: then there are none.
    pub fn open(refs: &Refs) -> Result<Self> {
        let results = Results(refs.clone());
        let there = results.clone();
        let exists = (!refs.0.is_asleep()).then_some(move |id: &ResultId| there.exists(id));
        let keys = Keys::open(refs.database().clone(), exists)?;
        let keys = Arc::new(keys);
        // The store of refs outlives the keys, so it does not hold them.
        let told = Arc::downgrade(&keys);
        refs.0.on_removed(Arc::new(move |id| {
            let forgotten = told.upgrade().map(|keys| keys.forget(&ResultId(id.to_owned())));
            if let Some(Err(e)) = forgotten {
                tracing::warn!(id, "the records of a state that is gone stay until the next start: {e}");
            }
        }));
        Ok(Records { keys, results: Arc::new(results) })
    }

    /// Waits until every result that was saved so far is found again by a later process, however this one ends.
    pub async fn flush(&self) -> Result<()> {
        let records = self.clone();
        blocking(move || {
            records.keys.flush();
            records.results.0.0.table.flush_marked()
        })
        .await
    }
}

/// Refs as results; `None` is scratch.
#[derive(Clone)]
pub struct Results(Refs);

#[async_trait]
impl ResultStore<Option<ImmutableRef>> for Results {
    async fn save(&self, value: &Option<ImmutableRef>) -> Result<ResultId> {
        let Some(value) = value else { return Ok(ResultId(SCRATCH.into())) };
        value.persist();
        Ok(ResultId(value.id().into()))
    }

    async fn load(&self, id: &ResultId) -> Result<Option<Option<ImmutableRef>>> {
        if id.0 == SCRATCH {
            return Ok(Some(None));
        }
        Ok(self.0.get(&id.0).filter(|_| self.0.can_be_read(&id.0)).map(Some))
    }

    fn exists(&self, id: &ResultId) -> bool {
        id.0 == SCRATCH || self.0.can_be_read(&id.0)
    }
}
