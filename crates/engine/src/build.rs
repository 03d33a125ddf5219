//! The engine, and the run of one build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use errdefs::{Class, Code, Error, Result};
use exporter::Exporters;
use frontend::{Bridge as _, BuildResult, Frontend, FrontendRequest, SolveRequest};
use ops::{BuildContext, BuildDomain, Ops};
use progress::Sink;
use refs::Refs;
use session::Sessions;
use solver::Scheduler;
use source::Sources;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bridge::BuildBridge;
use crate::builds::{Build, Builds};
use crate::export;
use crate::log::Reader;
use crate::request::{BuildRequest, BuildResponse, Work};

/// How long Status waits for a build that has not started.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client's frontend waits for its build.
const BRIDGE_PATIENCE: Duration = Duration::from_secs(3);

/// What an engine is made of.
pub struct Parts {
    pub sessions: Sessions,
    pub refs: Refs,
    pub sources: Arc<Sources>,
    pub ops: Ops,
    pub scheduler: Scheduler<BuildDomain>,
    pub exporters: Arc<Exporters>,
    /// By name, as `dockerfile.v0`.
    pub frontends: BTreeMap<String, Arc<dyn Frontend>>,
    /// What this engine may grant: `network.host`, `security.insecure`.
    pub entitlements: BTreeSet<String>,
}

impl Parts {
    pub(crate) fn frontend(&self, name: &str) -> Result<&Arc<dyn Frontend>> {
        self.frontends.get(name).ok_or_else(|| {
            Error::not_found(format!("invalid frontend: {name}")).with_code(Code::InvalidArgument)
        })
    }
}

/// Runs builds. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
    builds: Arc<Builds>,
    /// Ends all containers that are run for users.
    end_containers: CancellationToken,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        Engine { parts: Arc::new(parts), builds: Arc::default(), end_containers: CancellationToken::new() }
    }

    pub fn sessions(&self) -> &Sessions {
        &self.parts.sessions
    }

    pub fn refs(&self) -> &Refs {
        &self.parts.refs
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Kills the containers that are run for users, now and from now on: a build ends by itself, they may not.
    pub fn end_containers(&self) {
        self.end_containers.cancel();
    }

    pub(crate) fn containers_end(&self) -> &CancellationToken {
        &self.end_containers
    }

    /// Runs a build. Dropping the future cancels it; what it had started is then ended in the background.
    pub async fn build(&self, request: BuildRequest) -> Result<BuildResponse> {
        let (build, returned) = Build::new();
        self.builds.insert(&request.id, Arc::clone(&build))?;
        let cancel = CancellationToken::new();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let id = request.id.clone();
            let result = engine.run(request, &build, returned, cancel).await;
            engine.builds.end(&id);
            result
        });
        task.await.unwrap_or_else(|e| Err(Error::internal(format!("the build ended unexpectedly: {e}"))))
    }

    /// What happens in a build, from its start.
    pub async fn status(&self, id: &str) -> Result<Reader> {
        self.builds.wait(id, STATUS_PATIENCE, |b| Some(b.log.reader())).await
    }

    /// The bridge of a build whose client is its own frontend.
    pub async fn bridge(&self, id: &str) -> Result<BuildBridge> {
        self.builds.wait(id, BRIDGE_PATIENCE, |b| b.bridge()).await
    }

    /// The client's own frontend has come to an end.
    pub async fn give_back(&self, id: &str, result: Result<BuildResult>) -> Result<()> {
        let build = self.builds.wait(id, BRIDGE_PATIENCE, |b| Some(Arc::clone(b))).await?;
        build.give_back(result)
    }

    async fn run(
        &self,
        request: BuildRequest,
        build: &Arc<Build>,
        returned: mpsc::Receiver<Result<BuildResult>>,
        cancel: CancellationToken,
    ) -> Result<BuildResponse> {
        let exporters = export::resolve(&self.parts.exporters, &request)?;
        let context = Arc::new(BuildContext {
            sessions: self.parts.sessions.clone(),
            session: request.session.clone(),
            entitlements: self.entitlements(&request.entitlements)?,
        });
        let sink: Arc<dyn Sink> = Arc::clone(&build.log) as _;
        let job = self.parts.scheduler.job(request.id.clone(), Arc::clone(&context), Arc::clone(&sink));
        let inputs = match &request.work {
            Work::Frontend { inputs, .. } | Work::Client { inputs } => inputs.clone(),
            Work::Definition(_) => BTreeMap::new(),
        };
        let bridge = BuildBridge::new(Arc::clone(&self.parts), context, job, Arc::clone(&build.log), inputs);
        let work = async {
            let result = self.result(&request, build, &bridge, returned).await?;
            export::run(exporters, &bridge, result, &sink, &cancel).await
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = cancel.cancelled() => Err(Error::canceled()),
        };
        // Its clone in the table would keep the job open.
        self.builds.close_bridge(build);
        bridge.close().await;
        outcome
    }

    /// What the client asks for and the engine may grant.
    fn entitlements(&self, asked: &[String]) -> Result<BTreeSet<String>> {
        for name in asked {
            if !self.parts.entitlements.contains(name) {
                let message =
                    format!("granting entitlement {name} is not allowed by build daemon configuration");
                return Err(Error::new(Class::User, Code::PermissionDenied, message)
                    .hint(format!("start the engine with `--allow-insecure-entitlement {name}`")));
            }
        }
        Ok(asked.iter().cloned().collect())
    }

    async fn result(
        &self,
        request: &BuildRequest,
        build: &Arc<Build>,
        bridge: &BuildBridge,
        mut returned: mpsc::Receiver<Result<BuildResult>>,
    ) -> Result<BuildResult> {
        match &request.work {
            Work::Definition(definition) => {
                let definition = Some(definition.clone());
                bridge.solve(SolveRequest { definition, ..SolveRequest::default() }).await
            }
            Work::Frontend { name, opts, inputs } => {
                let request = FrontendRequest { opts: opts.clone(), inputs: inputs.clone() };
                self.parts.frontend(name)?.solve(Arc::new(bridge.clone()), request).await
            }
            Work::Client { .. } => {
                self.builds.open_bridge(build, bridge.clone());
                let result = returned.recv().await;
                result.unwrap_or_else(|| Err(Error::internal("no result for incomplete build")))
            }
        }
    }
}
