//! `gateway.v0`: a frontend that is an image. Its program runs in a container with the bridge on its standard streams.

mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dockerfile_llb::FrontendImage;
use errdefs::{Detail, Error, Result};
use frontend::{
    Bridge, BuildResult, Container, ContainerMount, ContainerRequest, Frontend, FrontendRequest, Input,
    ProcessIo, ProcessRequest, Refs, SolveRequest,
};
use llb::{Mount, NetMode};
use oci::{ImageConfig, Reference};
use serde::Serialize;

use self::scope::Scope;
use crate::session::Session;
use crate::stdio::{self, Stdio};

const NO_NETWORK: &str = "moby.buildkit.frontend.network.none";
const CAPS: &str = "moby.buildkit.frontend.caps";
const INPUTS: &str = "moby.buildkit.frontend.inputs";
/// Where a frontend finds the graph that it came from itself.
const OWN_GRAPH: &str = "/run/config/buildkit/metadata/frontend.bin";
/// Bytes of what a frontend prints that its error shows.
const STDERR_LIMIT: usize = 4096;

/// Runs frontend images.
#[derive(Debug, Clone, Default)]
pub struct ImageFrontend {
    /// Repositories that frontends may come from; empty for any.
    allowed: Vec<String>,
}

impl ImageFrontend {
    /// `allowed` are repositories such as `docker/dockerfile`.
    pub fn new(allowed: &[String]) -> Result<Self> {
        let parse = |name: &String| {
            let reference: Reference = name.parse().map_err(|e| Error::user(format!("{name}: {e}")))?;
            Ok(reference.repository())
        };
        Ok(ImageFrontend { allowed: allowed.iter().map(parse).collect::<Result<_>>()? })
    }

    fn check(&self, source: &str) -> Result<()> {
        if self.allowed.is_empty() {
            return Ok(());
        }
        let reference: Reference =
            source.parse().map_err(|e| Error::user(format!("invalid frontend image {source}: {e}")))?;
        match self.allowed.contains(&reference.repository()) {
            true => Ok(()),
            false => Err(Error::user(format!("'{source}' is not an allowed gateway source"))),
        }
    }
}

#[async_trait]
impl Frontend for ImageFrontend {
    async fn solve(&self, bridge: Arc<dyn Bridge>, request: FrontendRequest) -> Result<BuildResult> {
        let Some(source) = request.opts.get("source").cloned() else {
            return Err(Error::user("no source specified for gateway"));
        };
        self.check(&source)?;
        let named =
            |e: Error| e.with_detail(Detail::Frontend { name: "gateway.v0".into(), source: source.clone() });
        run(bridge, request, &source).await.map_err(named)
    }
}

async fn run(bridge: Arc<dyn Bridge>, request: FrontendRequest, source: &str) -> Result<BuildResult> {
    let image = dockerfile_llb::frontend_image(Arc::clone(&bridge), &request, source).await?;
    check_caps(&image.config, &request)?;
    let FrontendImage { definition, config } = image;
    let own_graph = Bytes::from(definition.encode());
    let solved =
        bridge.solve(SolveRequest { definition: Some(definition), ..SolveRequest::default() }).await?;
    let Refs::Single(root) = solved.refs else {
        return Err(Error::user("gateway source didn't return default result"));
    };
    let network = match label(&config, NO_NETWORK).and_then(oci::parse_bool) {
        Some(true) => NetMode::None,
        _ => NetMode::Unset,
    };
    let root = ContainerMount { mount: Mount { dest: "/".into(), ..Mount::default() }, input: Some(root) };
    let container = bridge
        .new_container(ContainerRequest {
            mounts: vec![root],
            files: BTreeMap::from([(OWN_GRAPH.to_owned(), own_graph)]),
            network,
            ..ContainerRequest::default()
        })
        .await?;
    let process = process(&config, &request, &*bridge)?;
    let scope = Arc::new(Scope { bridge, inputs: request.inputs.clone() });
    let (session, returned) = Session::new(scope);
    let ended = attend(&*container, process, Arc::clone(&session)).await;
    session.close().await;
    // Its only process has ended, and how is known.
    let _ = container.release().await;
    // What the frontend has returned as an error counts before how it ended, and that before a result.
    let mut returned = returned;
    let returned = returned.try_recv();
    match (returned, ended) {
        (Ok(Err(e)), _) => Err(e),
        (_, Err(e)) => Err(e),
        (Ok(Ok(result)), Ok(())) => Ok(result),
        (Err(_), Ok(())) => Err(Error::user("no result for incomplete build")),
    }
}

/// Runs the frontend to its end, and serves it meanwhile.
async fn attend(container: &dyn Container, process: ProcessRequest, session: Arc<Session>) -> Result<()> {
    let Stdio { io, stdin, stdout } = Stdio::open()?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let output = {
        let said = Arc::clone(&said);
        move |_, chunk: Bytes| keep(&mut said.lock().unwrap_or_else(PoisonError::into_inner), &chunk)
    };
    let io_of_process =
        ProcessIo { stdin: Input::Given(stdin), stdout: Some(stdout), output: Box::new(output) };
    let started = container.start(process, io_of_process).await?;
    let serving = tokio::spawn(stdio::serve(session, io));
    let exit = started.process.wait().await;
    // All that it has sent was read by now, or never will be.
    serving.abort();
    let exit = exit?;
    let Some(error) = exit.into_error() else { return Ok(()) };
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let said = String::from_utf8_lossy(&said);
    Err(match said.trim() {
        "" => error,
        said => error.hint(format!("the frontend said: {said}")),
    })
}

/// Keeps the end of an output.
fn keep(said: &mut Vec<u8>, chunk: &[u8]) {
    said.extend_from_slice(chunk);
    let over = said.len().saturating_sub(STDERR_LIMIT);
    said.drain(..over);
}

/// Refuses an image that says it cannot do what is asked of it.
fn check_caps(config: &ImageConfig, request: &FrontendRequest) -> Result<()> {
    let has = caps(label(config, CAPS).unwrap_or_default());
    let mut wants = caps(request.opts.get("frontend.caps").map_or("", String::as_str));
    if !request.inputs.is_empty() {
        wants.insert(INPUTS);
    }
    match wants.into_iter().find(|cap| !has.contains(cap)) {
        None => Ok(()),
        Some(cap) => Err(Error::unimplemented(format!("unsupported frontend capability {cap}"))
            .with_detail(Detail::FrontendCap { name: cap.to_owned() })),
    }
}

/// `a,b+forward` -> a, b.
fn caps(list: &str) -> BTreeSet<&str> {
    list.split(',').filter_map(|cap| cap.split('+').next()).filter(|name| !name.is_empty()).collect()
}

fn label<'a>(config: &'a ImageConfig, name: &str) -> Option<&'a str> {
    config.config.labels.as_ref()?.get(name).map(String::as_str)
}

fn process(config: &ImageConfig, request: &FrontendRequest, bridge: &dyn Bridge) -> Result<ProcessRequest> {
    let config = &config.config;
    let mut env = config.env.clone();
    let opts = request.opts.iter().enumerate();
    env.extend(opts.map(|(at, (key, value))| format!("BUILDKIT_FRONTEND_OPT_{at}={key}={value}")));
    env.push(format!("BUILDKIT_SESSION_ID={}", bridge.session_id()));
    env.push(format!("BUILDKIT_WORKERS={}", workers(bridge)?));
    env.push("BUILDKIT_EXPORTEDPRODUCT=".into());
    Ok(ProcessRequest {
        args: config.entrypoint.clone().unwrap_or_else(|| vec!["/run".into()]),
        env,
        cwd: config.working_dir.clone(),
        remove_mount_stubs_recursive: true,
        ..ProcessRequest::default()
    })
}

fn workers(bridge: &dyn Bridge) -> Result<String> {
    #[derive(Serialize)]
    struct Worker<'a> {
        id: &'a str,
        labels: &'a BTreeMap<String, String>,
        platforms: &'a [oci::Platform],
        #[serde(rename = "gcPolicy")]
        gc_policy: Option<()>,
    }
    let worker = bridge.worker();
    let json =
        [Worker { id: &worker.id, labels: &worker.labels, platforms: &worker.platforms, gc_policy: None }];
    serde_json::to_string(&json).map_err(|e| Error::internal(e.to_string()))
}
