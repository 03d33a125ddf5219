//! `kiln build`.

use std::process::ExitCode;
use std::sync::Arc;

use client::{Client, SolveRequest, SolveResponse};
use errdefs::{Error, Result, ResultExt as _};
use progress::{Sink, SolveStatus, Step, VertexWarning};
use registry::DockerConfig;
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
use crate::engine::{Place, connect};
use crate::environment::Environment;
use crate::inputs::Inputs;
use crate::outputs::{Layout, Outputs};
use crate::result_files::{answer_metadata, image_id, metadata, write_atomic};
use crate::secrets::Secrets;
use crate::settings::{BuildSettings, MetadataProvenance, Notice, ProgressMode};
use crate::ssh::Agents;
use crate::{console, interrupt, provenance, report, source_policy};

/// What a build that went well leaves to tell.
struct Built {
    id: String,
    response: SolveResponse,
    /// Fields of the metadata file.
    provenance: Map<String, Value>,
    notes: Vec<String>,
}

/// Builds, and tells how it went.
pub(crate) async fn build(args: &BuildArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let docker = match env.docker_config_dir() {
        Some(dir) => DockerConfig::load(&dir.join("config.json"))?,
        None => DockerConfig::default(),
    };
    let settings = BuildSettings::new(args, env, &docker.build_proxies("default"))?;
    let place = Place::find(global, env)?;
    if let Some(path) = &settings.iidfile {
        remove_stale(path)?;
    }
    for warning in &settings.warnings {
        console::note(format_args!("WARNING: {warning}\n"));
    }
    let (display, sender) = Display::new(settings.progress, env)?;
    let cancel = interrupt::watch()?;
    let prepared = until(&cancel, prepare(&settings, &place, env, docker, sender)).await?;
    if settings.notice == Notice::Nowhere && settings.progress.is_for_people() {
        console::note(
            "WARNING: No output specified with kiln driver. Build result will only remain in the build cache. To keep \
             the image name it with -t, to push it into a registry use --push, to load it into Docker use --load\n",
        );
    }
    if settings.call.is_none() {
        prepared.local.save(&prepared.request.id, env);
    }
    let drawing = display.start();
    let built = prepared.run(&cancel).await;
    let drawn = drawing.finish().await?;
    print_warnings(&drawn.warnings, settings.progress, global.debug);
    match built {
        Ok(built) => finish(&settings, &place, &built, &drawn),
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
    client: Client,
    request: SolveRequest,
    attachables: Attachables,
    /// Agents that end with the build.
    agents: Agents,
    loads: Vec<Load>,
    notes: Vec<String>,
    layout: Option<Layout>,
    /// What is remembered of it here.
    local: Local,
    caches: Caches,
    /// How much is to be asked of it when it is over.
    provenance: MetadataProvenance,
    /// Folders that the session offers.
    temporary: Vec<TempDir>,
    sender: mpsc::Sender<SolveStatus>,
}

/// Looks at all that the build reads and writes, and finds the engine.
async fn prepare(
    settings: &BuildSettings,
    place: &Place,
    env: &Environment,
    docker: DockerConfig,
    sender: mpsc::Sender<SolveStatus>,
) -> Result<Prepared> {
    let secrets = Secrets::new(&settings.secrets, env)?;
    let inputs = Inputs::open(settings, place, env).await?;
    let attachables = inputs.attachables.secrets(Arc::new(secrets)).auth(Arc::new(docker));
    let sink: Arc<dyn Sink> = Arc::new(LocalSink(sender.clone()));
    let may_delete = settings.frontend.may_delete;
    let (outputs, attachables) =
        Outputs::open(&settings.outputs, may_delete, env, &sink, attachables).await?;
    let Outputs { exporters, loads, notes, layout } = outputs;
    let (caches, attachables) = Caches::open(&settings.caches, env, attachables)?;
    for warning in &caches.warnings {
        console::note(format_args!("WARNING: {warning}\n"));
    }
    let agents = Agents::for_context(&settings.ssh, &settings.context, env)?;
    let attachables = agents.offer(attachables);
    let mut frontend_attrs = settings.frontend.attrs.clone();
    for (key, value) in inputs.attrs {
        // Questions need something of the frontend, and named contexts do.
        match frontend_attrs.get_mut(&key) {
            Some(caps) if key == "frontend.caps" => *caps = format!("{value},{caps}"),
            _ => _ = frontend_attrs.insert(key, value),
        }
    }
    frontend_attrs.extend(caches.frontend_option());
    let request = SolveRequest {
        id: client::new_id(),
        shared_key: inputs.shared_key,
        frontend: settings.frontend.frontend.clone(),
        frontend_attrs,
        exporters,
        cache_imports: caches.imports.clone(),
        cache_exports: caches.exports.clone(),
        entitlements: settings.frontend.entitlements.clone(),
        ask_frontend: settings.call.is_some(),
        internal: settings.call.is_some(),
        source_policy: source_policy::of(env)?,
        ..SolveRequest::default()
    };
    let client = connect(place).await?;
    let (local, temporary) = (inputs.local, inputs.temporary);
    let provenance = match settings.metadata_file {
        Some(_) => settings.metadata_provenance,
        None => MetadataProvenance::None,
    };
    Ok(Prepared {
        client,
        request,
        attachables,
        agents,
        loads,
        notes,
        layout,
        local,
        caches,
        provenance,
        temporary,
        sender,
    })
}

impl Prepared {
    /// Runs the build. All that could still send to the display is gone when it returns.
    async fn run(self, cancel: &CancellationToken) -> Result<Built> {
        let sink: Arc<dyn Sink> = Arc::new(LocalSink(self.sender.clone()));
        let response = self.client.solve(&self.request, self.attachables, self.sender, cancel).await?;
        self.caches.finish(&response.exporter_response)?;
        self.layout.map_or(Ok(()), |layout| layout.finish(&response.exporter_response))?;
        for load in self.loads {
            until(cancel, load.finish()).await?;
        }
        let provenance = match self.provenance {
            MetadataProvenance::None => Map::new(),
            mode => {
                let step = Step::start(sink, "provenance", "resolving provenance for metadata file");
                let known = provenance::of_build(&self.client, &self.request.id, mode);
                step.finish(until(cancel, known).await)?
            }
        };
        drop((self.temporary, self.agents));
        Ok(Built { id: self.request.id, response, provenance, notes: self.notes })
    }
}

/// Does some work unless it is cancelled first.
async fn until<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(Error::canceled()))
}

/// Writes and prints what was asked for.
fn finish(settings: &BuildSettings, place: &Place, built: &Built, drawn: &Drawn) -> Result<ExitCode> {
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
        write_atomic(path, &metadata(response, &format!("default/default/{}", built.id), more))?;
    }
    if settings.progress.is_for_people() {
        console::note(format_args!("{}\n", drawn.summary));
        if let Some(emulated) = &drawn.summary.emulated {
            console::note(format_args!(
                "{emulated}. To compile without: FROM --platform=$BUILDPLATFORM, and a compiler that is told $TARGETARCH\n"
            ));
        }
        if settings.notice == Notice::KeptByDefault {
            let names = settings.tags.join(", ");
            match place {
                Place::Own(_) => {
                    let first = &settings.tags[0];
                    console::note(format_args!(
                        "Kept as {names} in Kiln's store; try it: kiln run --rm {first}\n"
                    ));
                }
                Place::Given(address, _) => {
                    console::note(format_args!("Kept as {names} in the store of {address}\n"));
                }
            }
        }
        built.notes.iter().for_each(|n| console::note(format_args!("NOTE: {n}\n")));
    } else if settings.progress == ProgressMode::Quiet && !image_id(response).is_empty() {
        console::out(format!("{}\n", image_id(response)))?;
    }
    if let Some(message) = response.get("frontend.result.inlinemessage") {
        console::out(format!("\n{message}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
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
