//! One build, as a part that several commands use: it is made ready, it runs, and it leaves something to tell.

use std::sync::Arc;

use client::{SolveRequest, SolveResponse};
use errdefs::{Error, Result};
use oci::Platform;
use progress::{Sink, SolveStatus, Step};
use registry::{Config, DockerConfig, Registry};
use serde_json::{Map, Value};
use session::Attachables;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::commands::Local;
use crate::console;
use crate::display::LocalSink;
use crate::environment::Environment;
use crate::inputs::Inputs;
use crate::links::{Base, Link};
use crate::merge::Merge;
use crate::nodes::{self, Chosen, Nodes};
use crate::outputs::{Layout, Load, Outputs};
use crate::policies::Policies;
use crate::provenance;
use crate::secrets::Secrets;
use crate::settings::{BuildSettings, MetadataProvenance};
use crate::source_policy;
use crate::ssh::Agents;
use crate::verify;

/// What all builds of one command have in common.
pub(crate) struct Common<'c> {
    pub nodes: Nodes<'c>,
    pub docker: Arc<DockerConfig>,
    pub env: &'c Environment,
}

/// A build that is ready to run.
pub(crate) struct Job {
    pub id: String,
    /// One for each engine that takes part.
    pub parts: Vec<Part>,
    /// What makes one of what several engines build.
    merge: Option<Merge>,
    docker: Arc<DockerConfig>,
    /// Agents that end with the build.
    agents: Agents,
    /// What is remembered of it here.
    pub local: Local,
    caches: Caches,
    /// How much is to be asked of it when it is over.
    provenance: MetadataProvenance,
    /// Folders that the session offers.
    temporary: Vec<TempDir>,
    sender: mpsc::Sender<SolveStatus>,
}

/// What one engine builds.
pub(crate) struct Part {
    pub node: Chosen,
    pub request: SolveRequest,
    pub attachables: Attachables,
    /// The builds that it waits for, and those that wait for it.
    pub link: Option<Link>,
    policies: Option<Policies>,
    loads: Vec<Load>,
    notes: Vec<String>,
    layout: Option<Layout>,
}

/// What a build that went well leaves to tell.
pub(crate) struct Built {
    /// The node and the id, as `buildx.build.ref` names them.
    pub id: String,
    pub response: SolveResponse,
    /// Fields of the metadata file.
    pub provenance: Map<String, Value>,
    pub notes: Vec<String>,
    /// Engines that have it now.
    pub kept: Vec<String>,
}

/// What one engine has answered.
struct Answered {
    node: Chosen,
    response: SolveResponse,
    layout: Option<Layout>,
    notes: Vec<String>,
}

impl Job {
    /// Looks at all that the build reads and writes, and finds the engines.
    pub(crate) async fn prepare(
        settings: &BuildSettings,
        common: &Common<'_>,
        sender: mpsc::Sender<SolveStatus>,
    ) -> Result<Job> {
        let env = common.env;
        let secrets = Secrets::new(&settings.secrets, env)?;
        let platforms = platforms(settings)?;
        let may_be_several = common.nodes.builder.nodes.len() > 1 && platforms.len() > 1;
        let mut inputs = Inputs::open(settings, &common.nodes, may_be_several, env).await?;
        let attachables = std::mem::take(&mut inputs.attachables).secrets(Arc::new(secrets));
        let attachables = attachables.auth(Arc::clone(&common.docker) as Arc<_>);
        let (caches, attachables) = Caches::open(&settings.caches, env, attachables)?;
        for warning in &caches.warnings {
            console::note(format_args!("WARNING: {warning}\n"));
        }
        let agents = Agents::for_context(&settings.ssh, &settings.context, env)?;
        let mut attachables = agents.offer(attachables);
        let request = request(settings, &inputs, &caches, env)?;
        let sink: Arc<dyn Sink> = Arc::new(LocalSink(sender.clone()));
        let may_delete = settings.frontend.may_delete;
        // Where one engine does all, what it cannot write is told before it is reached.
        let mut alone = match may_be_several {
            true => None,
            false => {
                let offers = std::mem::take(&mut attachables);
                Some(Outputs::open(&settings.outputs, may_delete, env, &sink, offers).await?)
            }
        };
        let mut chosen = common.nodes.choose(&platforms).await?;
        if settings.call.is_some() {
            // One answers for all.
            chosen.truncate(1);
        }
        if settings.verify {
            verify::check(&chosen).await?;
        }
        let merge = if chosen.len() > 1 { Some(Merge::plan(&settings.outputs, env)?) } else { None };
        let mut parts = Vec::new();
        for (place, node) in chosen.into_iter().enumerate() {
            let mut request = request.clone();
            if merge.is_some() {
                request.frontend_attrs.extend(share(&node));
            }
            let (outputs, attachables) = match alone.take() {
                Some(open) => open,
                None => {
                    let offers = inputs.for_one_more(&attachables).await?;
                    let outputs = merge.as_ref().map(|merge| merge.outputs_of(place));
                    let outputs = outputs.as_ref().unwrap_or(&settings.outputs);
                    Outputs::open(outputs, may_delete, env, &sink, offers).await?
                }
            };
            let key = format!("{} {}", request.id, node.name);
            let offers = attachables.again();
            let display = Arc::clone(&sink);
            let policies =
                Policies::prepare(settings, &inputs.policies, &node.client, offers, display, &key).await?;
            let attachables = match &policies {
                Some(policies) => policies.offer(attachables),
                None => attachables,
            };
            request.proxy_network |= policies.as_ref().is_some_and(|policies| policies.proxied);
            let Outputs { exporters, loads, notes, layout } = outputs;
            request.exporters = exporters;
            request.exporters.extend(settings.verify.then(verify::exporter));
            parts.push(Part { node, request, attachables, link: None, policies, loads, notes, layout });
        }
        let provenance = match settings.metadata_file {
            Some(_) => settings.metadata_provenance,
            None => MetadataProvenance::None,
        };
        let Inputs { local, temporary, .. } = inputs;
        let docker = Arc::clone(&common.docker);
        let id = request.id;
        Ok(Job { id, parts, merge, docker, agents, local, caches, provenance, temporary, sender })
    }

    /// Runs the build. All that could still send to the display is gone when it returns.
    pub(crate) async fn run(self, env: &Environment, cancel: &CancellationToken) -> Result<Built> {
        let sink: Arc<dyn Sink> = Arc::new(LocalSink(self.sender.clone()));
        let several = self.merge.is_some();
        let together = cancel.child_token();
        let work = self.parts.into_iter().map(|part| {
            let display = match several {
                true => nodes::labelled(&part.node.name, self.sender.clone()),
                false => self.sender.clone(),
            };
            let told = part.node.told();
            let (caches, together) = (&self.caches, &together);
            async move {
                let solved = part.solve(caches, display, together).await;
                // Whoever broke off the build knows what it was.
                solved.map_err(|e| if several && !cancel.is_cancelled() { e.context(told) } else { e })
            }
        });
        let mut answered = nodes::all_or_none(work, || together.cancel()).await?;
        let merged = match self.merge {
            None => {
                for Answered { layout, response, .. } in &answered {
                    layout.as_ref().map_or(Ok(()), |layout| layout.finish(&response.exporter_response))?;
                }
                None
            }
            Some(merge) => {
                let answer = |a: &Answered| (a.node.platforms.clone(), a.response.exporter_response.clone());
                let answers: Vec<_> = answered.iter().map(answer).collect();
                let layout = answered.iter().find_map(|a| a.layout.as_ref());
                let hosts = answered.iter().find(|a| !a.node.registries.is_empty());
                let hosts = hosts.map(|a| a.node.registries.clone()).unwrap_or_default();
                let config = Config { hosts, proxy: env.proxies(), ..Config::default() };
                let registry = Registry::new(config, self.docker);
                let work = merge.finish(&answers, layout, &registry, env, Arc::clone(&sink));
                Some(until(cancel, work).await?)
            }
        };
        let mut provenance = Map::new();
        if self.provenance != MetadataProvenance::None {
            let step = Step::start(
                sink,
                &format!("provenance {}", self.id),
                "resolving provenance for metadata file",
            );
            let known = async {
                for a in &answered {
                    provenance.extend(provenance::of_build(&a.node.client, &self.id, self.provenance).await?);
                }
                Ok(())
            };
            step.finish(until(cancel, known).await)?;
        }
        drop((self.temporary, self.agents));
        let notes = answered.iter_mut().flat_map(|a| std::mem::take(&mut a.notes)).collect();
        let kept = answered.iter().map(|a| a.node.address.clone()).collect();
        let first = answered.into_iter().next().ok_or_else(|| Error::internal("nobody has built"))?;
        let mut response = first.response;
        response.exporter_response = merged.unwrap_or(response.exporter_response);
        Ok(Built { id: format!("{}/{}", first.node.name, self.id), response, provenance, notes, kept })
    }
}

impl Part {
    /// Builds, and finishes what the engine has left to do here.
    async fn solve(
        self,
        caches: &Caches,
        display: mpsc::Sender<SolveStatus>,
        cancel: &CancellationToken,
    ) -> Result<Answered> {
        let Part { node, mut request, attachables, link, policies, loads, notes, layout } = self;
        let solved = match link {
            None => node.client.solve(&request, attachables, display, cancel).await,
            Some(link) => {
                until(cancel, link.go_on_from(&mut request)).await?;
                let bases = link.bases.clone();
                let between = |made| link.carry(made);
                let solved = node.client.solve_between(&request, attachables, display, cancel, between).await;
                // The engine tells of it as of an error of this build.
                solved.map_err(|e| bases.iter().find_map(Base::failure).unwrap_or(e))
            }
        };
        let response = match &policies {
            Some(policies) => policies.finish(solved)?,
            None => solved?,
        };
        drop(policies);
        caches.finish(&response.exporter_response)?;
        for load in loads {
            until(cancel, load.finish(&response.exporter_response)).await?;
        }
        Ok(Answered { node, response, layout, notes })
    }
}

/// Does some work unless it is cancelled first.
pub(crate) async fn until<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(Error::canceled()))
}

/// Platforms that the build is for; none where the engine takes its own.
fn platforms(settings: &BuildSettings) -> Result<Vec<Platform>> {
    let told = settings.frontend.attrs.get("platform").map_or("", String::as_str);
    let parse =
        |text: &str| text.parse().map_err(|e: oci::platform::InvalidPlatform| Error::user(e.to_string()));
    told.split(',').filter(|text| !text.is_empty()).map(parse).collect()
}

/// What makes a node build its own platforms, as part of an image of several.
fn share(node: &Chosen) -> [(String, String); 2] {
    let platforms: Vec<_> = node.platforms.iter().map(Platform::format_all).collect();
    [("platform".into(), platforms.join(",")), ("multi-platform".into(), "true".into())]
}

/// The request for any of the engines, without what the engine is to write.
fn request(
    settings: &BuildSettings,
    inputs: &Inputs,
    caches: &Caches,
    env: &Environment,
) -> Result<SolveRequest> {
    let mut frontend_attrs = settings.frontend.attrs.clone();
    for (key, value) in &inputs.attrs {
        // Questions need something of the frontend, and named contexts do.
        match frontend_attrs.get_mut(key) {
            Some(caps) if key == "frontend.caps" => *caps = format!("{value},{caps}"),
            _ => _ = frontend_attrs.insert(key.clone(), value.clone()),
        }
    }
    frontend_attrs.extend(caches.frontend_option());
    Ok(SolveRequest {
        id: client::new_id(),
        shared_key: inputs.shared_key.clone(),
        frontend: settings.frontend.frontend.clone(),
        frontend_attrs,
        frontend_inputs: inputs.graphs.clone(),
        cache_imports: caches.imports.clone(),
        cache_exports: caches.exports.clone(),
        entitlements: settings.frontend.entitlements.clone(),
        ask_frontend: settings.call.is_some(),
        internal: settings.call.is_some(),
        source_policy: source_policy::of(env)?,
        ..SolveRequest::default()
    })
}
