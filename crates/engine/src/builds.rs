//! The builds that are known by id: those that run, and the last ones that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result};
use frontend::BuildResult;
use tokio::sync::{Notify, mpsc};

use crate::bridge::BuildBridge;
use crate::log::BuildLog;

/// Ended builds whose log can still be read.
const ENDED: usize = 16;

/// What is known of one build.
pub struct Build {
    pub log: Arc<BuildLog>,
    /// The bridge of a build whose client is its own frontend, while it runs.
    bridge: Mutex<Option<BuildBridge>>,
    /// Takes what that client returns.
    returned: mpsc::Sender<Result<BuildResult>>,
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
    /// A build, and where the result of its client comes in.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Result<BuildResult>>) {
        let (returned, receiver) = mpsc::channel(1);
        (Arc::new(Build { log: BuildLog::new(), bridge: Mutex::default(), returned }), receiver)
    }

    pub fn bridge(&self) -> Option<BuildBridge> {
        self.bridge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands in the result of the client's own frontend.
    pub fn give_back(&self, result: Result<BuildResult>) -> Result<()> {
        self.returned.try_send(result).map_err(|_| Error::user("the build has its result already"))
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

    /// Opens the bridge of a build to its client.
    pub fn open_bridge(&self, build: &Build, bridge: BuildBridge) {
        *build.bridge.lock().unwrap_or_else(PoisonError::into_inner) = Some(bridge);
        self.changed.notify_waiters();
    }

    /// Takes the bridge away from the client.
    pub fn close_bridge(&self, build: &Build) {
        build.bridge.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends a build: its bridge closes, its log stays for a while.
    pub fn end(&self, id: &str) {
        let mut state = self.state();
        let Some(build) = state.by_id.get(id) else { return };
        build.log.close();
        self.close_bridge(build);
        state.ended.push_back(id.to_owned());
        if state.ended.len() > ENDED
            && let Some(oldest) = state.ended.pop_front()
        {
            state.by_id.remove(&oldest);
        }
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
