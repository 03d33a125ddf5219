//! The engine, and the run of one build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cdi::{Device, Devices, Rights};
use errdefs::{Class, Code, Error, Result};
use exporter::Exporters;
use frontend::{Bridge as _, BuildResult, CacheImport, Frontend, SolveRequest, Worker};
use gateway::Session;
use jiff::Timestamp;
use ops::{BuildContext, BuildDomain, Failures, Ops};
use progress::Sink;
use provenance::Options;
use refs::{Records, Refs};
use remote_cache::Importer;
use session::Sessions;
use solver::Scheduler;
use source::{Meanings, Sources};
use tokio_util::sync::CancellationToken;

use crate::bridge::{BuildBridge, Rules};
use crate::builds::{Build, Builds};
use crate::cache_export;
use crate::export::{self, Exports};
use crate::history::{BuildRecord, History};
use crate::log::Reader;
use crate::origins::{Asked, Captured, Machine, Producers, Start, Told};
use crate::platforms;
use crate::request::{BuildRequest, BuildResponse, Work};
use crate::scan::Scanning;
use crate::session_export;
use crate::verify::Verify;

/// How long Status waits for a build that has not started.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client's frontend waits for its build.
const BRIDGE_PATIENCE: Duration = Duration::from_secs(3);

/// What an engine is made of.
pub struct Parts {
    pub sessions: Sessions,
    pub refs: Refs,
    /// The build cache, which the scheduler reads and writes.
    pub records: Records,
    pub sources: Arc<Sources>,
    pub ops: Ops,
    pub scheduler: Scheduler<BuildDomain>,
    pub exporters: Arc<Exporters>,
    pub history: History,
    /// Brings caches of other engines.
    pub importer: Arc<Importer>,
    /// By name, as `dockerfile.v0`.
    pub frontends: BTreeMap<String, Arc<dyn Frontend>>,
    /// What this engine may grant: `network.host`, `security.insecure`.
    pub entitlements: BTreeSet<String>,
    /// All builds reach the network through proxies only, not just those that ask for it.
    pub proxied: bool,
    /// What frontends are told of who runs the steps.
    pub worker: Worker,
    pub told: Told,
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
    producers: Arc<Producers>,
    /// Ends all containers that are run for users.
    end_containers: CancellationToken,
    /// Ends all builds.
    end_builds: CancellationToken,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let (end_containers, end_builds) = Default::default();
        Engine {
            parts: Arc::new(parts),
            builds: Arc::default(),
            producers: Arc::default(),
            end_containers,
            end_builds,
        }
    }

    pub fn sessions(&self) -> &Sessions {
        &self.parts.sessions
    }

    pub fn refs(&self) -> &Refs {
        &self.parts.refs
    }

    pub fn history(&self) -> &History {
        &self.parts.history
    }

    /// The devices that steps may ask for now.
    pub fn devices(&self) -> Vec<Device> {
        self.parts.ops.parts().devices.look().list().cloned().collect()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Kills the containers that are run for users, now and from now on: a build ends by itself, they may not.
    pub fn end_containers(&self) {
        self.end_containers.cancel();
    }

    /// Cancels the builds that run, and those that come.
    pub fn end_builds(&self) {
        self.end_builds.cancel();
    }

    pub(crate) fn containers_end(&self) -> &CancellationToken {
        &self.end_containers
    }

    /// Runs a build. Dropping the future cancels it; what it had started is then ended in the background.
    pub async fn build(&self, request: BuildRequest) -> Result<BuildResponse> {
        let build = Build::new();
        self.builds.insert(&request.id, Arc::clone(&build))?;
        let cancel = self.end_builds.child_token();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let id = request.id.clone();
            let result = engine.run(request, &build, cancel).await;
            engine.builds.end(&id);
            result.map_err(|e| match e.is_canceled() && engine.end_builds.is_cancelled() {
                true => Error::environment("the engine was told to stop").with_code(Code::Unavailable),
                false => e,
            })
        });
        task.await.unwrap_or_else(|e| Err(Error::internal(format!("the build ended unexpectedly: {e}"))))
    }

    /// As [`Engine::status`], without waiting for a build that is not known.
    pub fn known_status(&self, id: &str) -> Option<Reader> {
        self.builds.find(id, |b| b.log.reader())
    }

    /// What happens in a build, from its start.
    pub async fn status(&self, id: &str) -> Result<Reader> {
        self.builds.wait(id, STATUS_PATIENCE, |b| Some(b.log.reader())).await
    }

    /// Where a client that is its own frontend finds its build.
    pub async fn frontend_session(&self, id: &str) -> Result<Arc<Session>> {
        self.builds.wait(id, BRIDGE_PATIENCE, |b| b.session()).await
    }

    async fn run(
        &self,
        mut request: BuildRequest,
        build: &Arc<Build>,
        cancel: CancellationToken,
    ) -> Result<BuildResponse> {
        let verify = Verify::take(&mut request, &self.parts.exporters)?;
        let exporters = export::resolve(&self.parts.exporters, &request)?;
        let cache_exports = cache_export::resolve(&request)?;
        let wanted = Options::of(&request.attrs)?;
        let scanning = Scanning::of(&request.attrs)?;
        let started = Timestamp::now();
        let context = Arc::new(BuildContext {
            sessions: self.parts.sessions.clone(),
            session: request.session.clone(),
            entitlements: self.entitlements(&request.entitlements)?,
            meanings: Meanings::default(),
            failures: Failures::default(),
            judge: OnceLock::new(),
            metered: wanted.as_ref().is_some_and(|options| options.usage),
        });
        let machine = context.metered.then(|| Arc::new(Machine::new()));
        let recording = (!request.internal).then(|| self.parts.history.begin(BuildRecord::of(&request)));
        let sink: Arc<dyn Sink> = Arc::clone(&build.log) as _;
        let job = self.parts.scheduler.job(request.id.clone(), Arc::clone(&context), Arc::clone(&sink));
        let (frontend, inputs) = match &request.work {
            Work::Frontend { name, inputs, .. } => (name.as_str(), inputs.clone()),
            Work::Client { inputs } => ("", inputs.clone()),
            Work::Definition(_) => ("", BTreeMap::new()),
        };
        let asked = Asked::new(frontend, &request.attrs, &inputs);
        let start = Start { asked, inputs, producers: Arc::clone(&self.producers) };
        let (parts, log) = (Arc::clone(&self.parts), Arc::clone(&build.log));
        let rules = Rules {
            policies: request.policies.clone(),
            session: request.policy_session.clone(),
            proxied: request.proxied || self.parts.proxied,
        };
        let bridge = BuildBridge::new(parts, context, job, log, start, rules, cancel.clone());
        let captured = OnceLock::new();
        let work = async {
            let mut result = self.result(&request, build, &bridge).await?;
            let known = Captured::of(&bridge, &result, started, machine.clone()).await?;
            let known = captured.get_or_init(|| Arc::new(known));
            if let Some(scanning) = &scanning {
                scanning.add(&bridge, &mut result).await?;
            }
            if let Some(options) = &wanted {
                known.attest(&bridge, &mut result, options)?;
            }
            let exportable = export::compute(&bridge, &result).await?;
            let asked = request.attrs.get("platform").map(String::as_str);
            platforms::verify(&request.id, asked, &exportable, &sink)?;
            let mut exporters = exporters;
            if request.session_exporters {
                exporters.extend(session_export::find(&bridge, &result).await?);
            }
            let exports = Exports { exporters, caches: cache_exports };
            let first = verify.is_some().then(|| exportable.clone());
            let exported = export::run(exports, &bridge, &result, exportable, &sink, &cancel);
            // Who is told of a result finds it again, even if this process is killed the moment after.
            let (exported, ()) = tokio::join!(exported, self.flush_records());
            if let (true, Ok(response)) = (request.session_exporters, &exported) {
                session_export::finalize(&bridge, response).await?;
            }
            let mut exported = exported?;
            if let (Some(verify), Some(first)) = (verify, first) {
                let answer = verify.run(&bridge, &result, &first, started, &sink, &cancel).await?;
                exported.exporter.extend([answer]);
            }
            Ok(exported)
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = cancel.cancelled() => Err(Error::canceled()),
            never = Machine::watch(machine.as_deref()) => match never {},
        };
        if let Some(session) = self.builds.close(build) {
            session.close().await;
        }
        let provenance = match (captured.get(), &recording) {
            (Some(known), Some(_)) => known.record(&bridge, &request.attrs).await.unwrap_or_else(|e| {
                tracing::warn!(build = request.id, "the record of the build has no provenance: {e}");
                BTreeMap::new()
            }),
            _ => BTreeMap::new(),
        };
        bridge.close().await;
        if let Some(recording) = recording {
            build.log.close();
            recording.complete(&build.log, &outcome, provenance).await;
        }
        outcome
    }

    /// A build whose records cannot be written has its result all the same: the next one has more to do.
    async fn flush_records(&self) {
        if let Err(e) = self.parts.records.flush().await {
            tracing::warn!("results of a build will not be found again: {e}");
        }
    }

    /// What the client asks for and the engine may grant.
    fn entitlements(&self, asked: &[String]) -> Result<BTreeSet<String>> {
        for name in asked {
            let name = Devices::entitlement(name);
            if !self.parts.entitlements.contains(name) {
                let message =
                    format!("granting entitlement {name} is not allowed by build daemon configuration");
                return Err(Error::new(Class::User, Code::PermissionDenied, message)
                    .hint(format!("start the engine with `--allow-insecure-entitlement {name}`")));
            }
        }
        Rights::of(asked)?;
        Ok(asked.iter().cloned().collect())
    }

    async fn result(
        &self,
        request: &BuildRequest,
        build: &Arc<Build>,
        bridge: &BuildBridge,
    ) -> Result<BuildResult> {
        match &request.work {
            Work::Definition(definition) => {
                let definition = Some(definition.clone());
                let cache_imports = imports(request);
                bridge.solve(SolveRequest { definition, cache_imports, ..SolveRequest::default() }).await
            }
            Work::Frontend { name, opts, inputs } => {
                let (frontend, opts, inputs) = (name.clone(), opts.clone(), inputs.clone());
                let cache_imports = imports(request);
                bridge
                    .solve(SolveRequest { frontend, opts, inputs, cache_imports, ..SolveRequest::default() })
                    .await
            }
            Work::Client { .. } => {
                let (session, returned) = Session::new(Arc::new(bridge.clone()));
                self.builds.open(build, session);
                let result = returned.await;
                result.unwrap_or_else(|_| Err(Error::internal("no result for incomplete build")))
            }
        }
    }
}

/// The caches that a request names.
fn imports(request: &BuildRequest) -> Vec<CacheImport> {
    let imports = request.cache_imports.iter();
    imports.map(|i| CacheImport { kind: i.kind.clone(), attrs: i.attrs.clone() }).collect()
}
