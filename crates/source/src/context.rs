//! What a source may use of the builds that want it.

use std::time::Duration;

use errdefs::{Error, Result};
use progress::Step;
use session::{Session, Sessions};
use tokio_util::sync::CancellationToken;

use crate::meanings::Meanings;

/// How long a session that is still connecting is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The builds that want a source, and the vertex that shows its work. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub sessions: Sessions,
    /// The sessions of the builds; any of them may answer for all.
    pub session_ids: Vec<String>,
    pub step: Step,
    pub cancel: CancellationToken,
    /// What names mean in the first of the builds.
    pub meanings: Meanings,
}

impl Context {
    /// The first session that is open.
    pub async fn session(&self) -> Result<Session> {
        if let Some(session) = self.session_ids.iter().find_map(|id| self.sessions.find(id)) {
            return Ok(session);
        }
        match self.session_ids.first() {
            Some(id) => self.sessions.get(id, PATIENCE).await,
            None => Err(Error::user("no active sessions")),
        }
    }

    /// The session of this id; any of the builds' where the id is empty or its session is gone.
    pub async fn session_or_any(&self, id: &str) -> Result<Session> {
        if id.is_empty() {
            return self.session().await;
        }
        match self.sessions.get(id, PATIENCE).await {
            Ok(session) => Ok(session),
            Err(e) => self.session().await.map_err(|_| e),
        }
    }
}
