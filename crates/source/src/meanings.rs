//! What names mean in one build: a branch is one commit, and a page has one content, from its start to its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::Result;
use tokio::sync::OnceCell;

use crate::git::Resolved;
use crate::http::Fetched;

/// The memory of one build. Cheap to clone.
#[derive(Clone, Default)]
pub struct Meanings(Arc<Inner>);

#[derive(Default)]
struct Inner {
    references: Table<Resolved>,
    pages: Table<Fetched>,
}

impl Meanings {
    pub(crate) fn references(&self) -> &Table<Resolved> {
        &self.0.references
    }

    pub(crate) fn pages(&self) -> &Table<Fetched> {
        &self.0.pages
    }
}

/// Things that are found out once.
pub(crate) struct Table<T>(Mutex<HashMap<String, Arc<OnceCell<T>>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Mutex::default())
    }
}

impl<T: Clone> Table<T> {
    /// What is known of `name`, found out where nothing is. A failure is not kept.
    pub async fn get(&self, name: &str, find: impl Future<Output = Result<T>>) -> Result<T> {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(name.to_owned()).or_default())
        };
        cell.get_or_try_init(|| find).await.cloned()
    }
}
