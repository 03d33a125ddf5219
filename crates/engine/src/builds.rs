//! The builds that are known by id: those that run, and the last ones that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result};
use gateway::Session;
use tokio::sync::Notify;

use crate::log::BuildLog;

/// Ended builds whose log can still be read.
const ENDED: usize = 16;

/// What is known of one build.
pub struct Build {
    pub log: Arc<BuildLog>,
    /// That of a client which is its own frontend, while the build runs.
    session: Mutex<Option<Arc<Session>>>,
}

#[derive(Default)]
struct State {
    by_id: HashMap<String, Arc<Build>>,
    ended: VecDeque<String>,
}

/// The table of builds.
#[derive(Default)]
pub struct Builds {
    state: Mutex<State>,
    changed: Notify,
}

impl Build {
    pub fn new() -> Arc<Self> {
        Arc::new(Build { log: BuildLog::new(), session: Mutex::default() })
    }

    pub fn session(&self) -> Option<Arc<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Builds {
    pub fn insert(&self, id: &str, build: Arc<Build>) -> Result<()> {
        let mut state = self.state();
        if state.by_id.contains_key(id) {
            return Err(Error::user(format!("job ID {id} exists")).with_code(errdefs::Code::AlreadyExists));
        }
        state.by_id.insert(id.to_owned(), build);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Opens a build to its client.
    pub fn open(&self, build: &Build, session: Arc<Session>) {
        *build.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        self.changed.notify_waiters();
    }

    /// Takes the build away from the client.
    pub fn close(&self, build: &Build) -> Option<Arc<Session>> {
        build.session.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends a build: its log stays for a while.
    pub fn end(&self, id: &str) {
        let mut state = self.state();
        let Some(build) = state.by_id.get(id) else { return };
        build.log.close();
        self.close(build);
        state.ended.push_back(id.to_owned());
        if state.ended.len() > ENDED
            && let Some(oldest) = state.ended.pop_front()
        {
            state.by_id.remove(&oldest);
        }
    }

    /// What `look` makes of a build; nothing where it is not known.
    pub fn find<T>(&self, id: &str, look: impl FnOnce(&Arc<Build>) -> T) -> Option<T> {
        self.state().by_id.get(id).map(look)
    }

    /// What `look` finds in a build, waiting for it up to `patience`.
    pub async fn wait<T>(
        &self,
        id: &str,
        patience: Duration,
        look: impl Fn(&Arc<Build>) -> Option<T>,
    ) -> Result<T> {
        let search = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = self.state().by_id.get(id).and_then(&look) {
                    return found;
                }
                changed.await;
            }
        };
        let found = tokio::time::timeout(patience, search).await;
        found.map_err(|_| Error::not_found(format!("no such job {id}")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
