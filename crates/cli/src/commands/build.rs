//! `kiln build`.

use std::process::ExitCode;
use std::sync::Arc;

use client::{SolveRequest, SolveResponse};
use errdefs::{Error, Result, ResultExt as _};
use oci::Platform;
use progress::{Sink, SolveStatus, Step, VertexWarning};
use registry::{Config, DockerConfig, Registry};
use serde_json::{Map, Value};
use session::Attachables;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::{BuildArgs, GlobalArgs};
use crate::caches::Caches;
use crate::commands::{Local, call};
use crate::display::{Display, Drawn, LocalSink};
use crate::docker::Load;
use crate::engine::{Builder, Place};
use crate::environment::Environment;
use crate::inputs::Inputs;
use crate::merge::Merge;
use crate::nodes::Chosen;
use crate::outputs::{Layout, Outputs};
use crate::result_files::{answer_metadata, image_id, metadata, write_atomic};
use crate::secrets::Secrets;
use crate::settings::{BuildSettings, MetadataProvenance, Notice, ProgressMode};
use crate::ssh::Agents;
use crate::{console, interrupt, nodes, provenance, report, source_policy, verify};

/// What a build that went well leaves to tell.
struct Built {
    /// The node and the id, as `buildx.build.ref` names them.
    id: String,
    response: SolveResponse,
    /// Fields of the metadata file.
    provenance: Map<String, Value>,
    notes: Vec<String>,
    /// Engines that have it now.
    kept: Vec<String>,
}

/// Builds, and tells how it went.
pub(crate) async fn build(args: &BuildArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let docker = match env.docker_config_dir() {
        Some(dir) => DockerConfig::load(&dir.join("config.json"))?,
        None => DockerConfig::default(),
    };
    let settings = BuildSettings::new(args, env, &docker.build_proxies("default"))?;
    let builder = Builder::find(global, env)?;
    if let Some(path) = &settings.iidfile {
        remove_stale(path)?;
    }
    for warning in &settings.warnings {
        console::note(format_args!("WARNING: {warning}\n"));
    }
    let (display, sender) = Display::new(settings.progress, &builder, env)?;
    let cancel = interrupt::watch()?;
    builder.touch(env);
    let prepared = until(&cancel, prepare(&settings, &builder, env, docker, sender)).await?;
    if settings.notice == Notice::Nowhere && settings.progress.is_for_people() {
        console::note(format_args!(
            "WARNING: No output specified with {} driver. Build result will only remain in the build cache. To keep \
             the image name it with -t, to push it into a registry use --push, to load it into Docker use --load\n",
            builder.driver
        ));
    }
    if settings.call.is_none() {
        prepared.local.save(&prepared.id, env);
    }
    let drawing = display.start();
    let built = prepared.run(env, &cancel).await;
    let drawn = drawing.finish().await?;
    print_warnings(&drawn.warnings, settings.progress, global.debug);
    match built {
        Ok(built) => finish(&settings, &builder, &built, &drawn),
        Err(e) => {
            if !settings.progress.is_for_people() && settings.progress != ProgressMode::RawJson {
                console::note(report::last_words(&e));
            }
            Err(e)
        }
    }
}

/// A build that is ready to run.
struct Prepared {
    id: String,
    /// One for each engine that takes part.
    parts: Vec<Part>,
    /// What makes one of what several engines build.
    merge: Option<Merge>,
    docker: DockerConfig,
    /// Agents that end with the build.
    agents: Agents,
    /// What is remembered of it here.
    local: Local,
    caches: Caches,
    /// How much is to be asked of it when it is over.
    provenance: MetadataProvenance,
    /// Folders that the session offers.
    temporary: Vec<TempDir>,
    sender: mpsc::Sender<SolveStatus>,
}

/// What one engine builds.
struct Part {
    node: Chosen,
    request: SolveRequest,
    attachables: Attachables,
    loads: Vec<Load>,
    notes: Vec<String>,
    layout: Option<Layout>,
}

/// Looks at all that the build reads and writes, and finds the engines.
async fn prepare(
    settings: &BuildSettings,
    builder: &Builder,
    env: &Environment,
    docker: DockerConfig,
    sender: mpsc::Sender<SolveStatus>,
) -> Result<Prepared> {
    let secrets = Secrets::new(&settings.secrets, env)?;
    let platforms = platforms(settings)?;
    let may_be_several = builder.nodes.len() > 1 && platforms.len() > 1;
    let mut inputs = Inputs::open(settings, builder.place()?, may_be_several, env).await?;
    let attachables = std::mem::take(&mut inputs.attachables).secrets(Arc::new(secrets));
    let attachables = attachables.auth(Arc::new(docker.clone()));
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
    let mut chosen = nodes::choose(builder, &platforms).await?;
    if settings.call.is_some() {
        // One answers for all.
        chosen.truncate(1);
    }
    if settings.verify {
        verify::check(&chosen).await?;
    }
    let merge = if chosen.len() > 1 { Some(Merge::plan(&settings.outputs, env)?) } else { None };
    let outputs = merge.as_ref().map_or(&settings.outputs, |merge| &merge.outputs);
    let mut parts = Vec::new();
    for node in chosen {
        let mut request = request.clone();
        if merge.is_some() {
            request.frontend_attrs.extend(share(&node));
        }
        let (outputs, attachables) = match alone.take() {
            Some(open) => open,
            None => {
                let offers = inputs.for_one_more(&attachables).await?;
                Outputs::open(outputs, may_delete, env, &sink, offers).await?
            }
        };
        let Outputs { exporters, loads, notes, layout } = outputs;
        request.exporters = exporters;
        request.exporters.extend(settings.verify.then(verify::exporter));
        parts.push(Part { node, request, attachables, loads, notes, layout });
    }
    let provenance = match settings.metadata_file {
        Some(_) => settings.metadata_provenance,
        None => MetadataProvenance::None,
    };
    let Inputs { local, temporary, .. } = inputs;
    let id = request.id;
    Ok(Prepared { id, parts, merge, docker, agents, local, caches, provenance, temporary, sender })
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
        cache_imports: caches.imports.clone(),
        cache_exports: caches.exports.clone(),
        entitlements: settings.frontend.entitlements.clone(),
        ask_frontend: settings.call.is_some(),
        internal: settings.call.is_some(),
        source_policy: source_policy::of(env)?,
        ..SolveRequest::default()
    })
}

/// What one engine has answered.
struct Answered {
    node: Chosen,
    response: SolveResponse,
    layout: Option<Layout>,
    notes: Vec<String>,
}

impl Prepared {
    /// Runs the build. All that could still send to the display is gone when it returns.
    async fn run(self, env: &Environment, cancel: &CancellationToken) -> Result<Built> {
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
                let registry = Registry::new(config, Arc::new(self.docker));
                let work = merge.finish(&answers, layout, &registry, env, Arc::clone(&sink));
                Some(until(cancel, work).await?)
            }
        };
        let mut provenance = Map::new();
        if self.provenance != MetadataProvenance::None {
            let step = Step::start(sink, "provenance", "resolving provenance for metadata file");
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
        let Part { node, request, attachables, loads, notes, layout } = self;
        let response = node.client.solve(&request, attachables, display, cancel).await?;
        caches.finish(&response.exporter_response)?;
        for load in loads {
            until(cancel, load.finish()).await?;
        }
        Ok(Answered { node, response, layout, notes })
    }
}

/// Does some work unless it is cancelled first.
async fn until<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(Error::canceled()))
}

/// Writes and prints what was asked for.
fn finish(settings: &BuildSettings, builder: &Builder, built: &Built, drawn: &Drawn) -> Result<ExitCode> {
    let response = &built.response.exporter_response;
    if let Some(call) = &settings.call {
        if let Some(path) = &settings.metadata_file {
            write_atomic(path, &answer_metadata(&built.response.metadata))?;
        }
        return call::print(call, settings, &built.response.metadata);
    }
    if let Some(path) = &settings.iidfile {
        write_atomic(path, image_id(response)).context("writing image ID file")?;
    }
    if let Some(path) = &settings.metadata_file {
        let mut more = built.provenance.clone();
        if settings.metadata_warnings && !drawn.warnings.is_empty() {
            let warnings = drawn.warnings.iter().map(progress::warning_json).collect();
            more.insert("buildx.build.warnings".into(), Value::Array(warnings));
        }
        write_atomic(path, &metadata(response, &format!("{}/{}", builder.name, built.id), more))?;
    }
    if settings.progress.is_for_people() {
        console::note(format_args!("{}\n", drawn.summary));
        if let Some(emulated) = &drawn.summary.emulated {
            console::note(format_args!(
                "{emulated}. To compile without: FROM --platform=$BUILDPLATFORM, and a compiler that is told $TARGETARCH\n"
            ));
        }
        if settings.notice == Notice::KeptByDefault {
            console::note(kept(settings, builder, built));
        }
        built.notes.iter().for_each(|n| console::note(format_args!("NOTE: {n}\n")));
    } else if settings.progress == ProgressMode::Quiet && !image_id(response).is_empty() {
        console::out(format!("{}\n", image_id(response)))?;
    }
    if let Some(message) = response.get("frontend.result.inlinemessage") {
        console::out(format!("\n{message}\n"))?;
    }
    if settings.verify {
        verify::tell(response, settings.progress)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the image is now.
fn kept(settings: &BuildSettings, builder: &Builder, built: &Built) -> String {
    let (names, stores) = (settings.tags.join(", "), built.kept.join(", "));
    match (builder.place(), &built.kept[..]) {
        (Ok(Place::Own(_)), _) if !builder.is_kept => {
            let first = settings.tags.first().map_or("", String::as_str);
            format!("Kept as {names} in Kiln's store; try it: kiln run --rm {first}\n")
        }
        (_, [_, _, ..]) => {
            format!("Kept as {names} in the stores of {stores}, each with its own platforms\n")
        }
        _ => format!("Kept as {names} in the store of {stores}\n"),
    }
}

/// A build that fails must not leave the ID of the one before.
fn remove_stale(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from(e).context("removing image ID file"))
        }
        _ => Ok(()),
    }
}

/// Findings of the frontend, each once.
fn print_warnings(warnings: &[VertexWarning], mode: ProgressMode, all: bool) {
    if mode.is_for_people() {
        console::note(warnings_text(warnings, all));
    }
}

fn warnings_text(warnings: &[VertexWarning], all: bool) -> String {
    let mut seen: Vec<&VertexWarning> = Vec::new();
    for warning in warnings {
        if !seen
            .iter()
            .any(|s| (&s.short, &s.source, &s.url) == (&warning.short, &warning.source, &warning.url))
        {
            seen.push(warning);
        }
    }
    let count = match seen.len() {
        0 => return String::new(),
        1 => "1 warning found".to_owned(),
        n => format!("{n} warnings found"),
    };
    let expand = if all { "" } else { " (use --debug to expand)" };
    let mut out = format!("\n {count}{expand}:\n");
    for warning in seen {
        out.push_str(&format!(" - {}\n", warning.short));
        if all {
            warning.detail.iter().for_each(|d| out.push_str(&format!("{d}\n")));
            if !warning.url.is_empty() {
                out.push_str(&format!("More info: {}\n", warning.url));
            }
            if let Some(source) = &warning.source {
                out.push_str(&progress::source_frame(source));
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use errdefs::{Range, SourceInfo, SourceLocation};

    use super::*;

    fn warning(line: u32) -> VertexWarning {
        VertexWarning {
            vertex: oci::Digest::of("v"),
            level: 1,
            short: format!("FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line {line})"),
            detail: vec!["The 'as' keyword should match the case of the 'from' keyword".into()],
            url: "https://docs.docker.com/go/dockerfile/rule/from-as-casing/".into(),
            source: Some(SourceLocation {
                info: SourceInfo {
                    filename: "Dockerfile".into(),
                    data: b"FROM a as b\nFROM b as c\n".to_vec(),
                    ..SourceInfo::default()
                },
                ranges: vec![Range::lines(line, line)],
            }),
        }
    }

    #[test]
    fn one_warning_twice_is_told_once() {
        insta::assert_snapshot!(warnings_text(&[warning(1), warning(1)], false));
    }

    #[test]
    fn debug_shows_all() {
        insta::assert_snapshot!(warnings_text(&[warning(1), warning(2)], true));
    }
}
