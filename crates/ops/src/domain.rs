//! What flows through the solver in a build.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use errdefs::{Class, Code, Error, Result};
use refs::ImmutableRef;
use session::{Session, Sessions};

/// How long a build waits for the session of its client.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The solver's types: results are refs, and a job lends its client's session.
pub struct BuildDomain;

impl solver::Domain for BuildDomain {
    type Value = Value;
    type JobContext = BuildContext;
}

/// The result of an op: a file system, or scratch.
pub type Value = Option<ImmutableRef>;

/// What a build lends to the ops it needs.
pub struct BuildContext {
    pub sessions: Sessions,
    /// The session of the client that asked for the build.
    pub session: String,
    /// What client and engine both allow.
    pub entitlements: BTreeSet<String>,
}

impl BuildContext {
    /// The client's session; waits a moment for one that is still connecting.
    pub async fn session(&self) -> Result<Session> {
        self.sessions.get(&self.session, LOOKUP_TIMEOUT).await
    }
}

/// The first session among the builds that want a vertex: any of them can give secrets and credentials.
pub async fn any_session(builds: &[Arc<BuildContext>]) -> Result<Session> {
    let mut last = Error::new(Class::User, Code::NotFound, "no active sessions");
    for build in builds {
        match build.session().await {
            Ok(session) => return Ok(session),
            Err(e) => last = e,
        }
    }
    Err(last)
}
