//! What flows through the solver in a build.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use errdefs::{Class, Code, Error, Result, Subject};
use network::Judge;
use oci::Digest;
use refs::ImmutableRef;
use session::{Session, Sessions};
use solver::OpContext;
use source::Meanings;

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
    /// What names mean in the build.
    pub meanings: Meanings,
    /// What steps that failed have left.
    pub failures: Failures,
    /// Says what steps may fetch, where they reach the network through proxies only.
    pub judge: OnceLock<Arc<dyn Judge>>,
    /// What steps use is measured.
    pub metered: bool,
}

/// What a step had when it failed. `None` is scratch, or nothing that could be kept.
#[derive(Clone, Default)]
pub struct Failure {
    /// One for each input of the op; of an exec op, one for each mount.
    pub inputs: Vec<Value>,
    /// One for each mount, with what the step did to it; of a file op, one for each action.
    pub mounts: Vec<Value>,
    pub subject: Option<Subject>,
}

impl Failure {
    /// Keeps it for all builds that want the vertex.
    pub fn tell(self, cx: &OpContext<BuildDomain>) {
        for build in cx.job_contexts() {
            build.failures.add(cx.vertex.clone(), self.clone());
        }
    }
}

/// The failures of one build, by vertex. They are kept as long as the build runs, so that somebody can look.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<Digest, Failure>>);

impl Failures {
    pub fn of(&self, vertex: &Digest) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(vertex).cloned()
    }

    pub fn add(&self, vertex: Digest, failure: Failure) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(vertex, failure);
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
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
