//! The frontend: from options to a result.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dockerfile::Dockerfile;
use dockerfile::lint::{Finding, Linter, Settings};
use errdefs::{Detail, Error, Result, ResultExt, SourceLocation};
use frontend::sbom::Scanner;
use frontend::{Bridge, BuildResult, Frontend, FrontendRequest, Ref, Refs, SolveRequest, Warning};
use futures_util::future::try_join_all;
use oci::Platform;
use serde::Serialize;

use crate::config::Config;
use crate::convert::{self, Converted};
use crate::{diagnose, image};

mod answers;
mod client;
mod context;
mod named;
mod other;

pub(crate) use client::Client;
pub(crate) use named::{Loaded, LocalContext, NamedContext};
pub use other::{FrontendImage, frontend_image, is_built_in};

use context::Entrypoint;
pub use context::WebContext;

/// `dockerfile.v0`: builds what a Dockerfile says.
#[derive(Debug, Clone, Copy, Default)]
pub struct DockerfileFrontend;

#[async_trait]
impl Frontend for DockerfileFrontend {
    /// Opts as `target`, `filename`, `build-arg:X`, `context:X`; inputs stand in for `context` and `dockerfile`.
    async fn solve(&self, bridge: Arc<dyn Bridge>, request: FrontendRequest) -> Result<BuildResult> {
        let config = Config::read(&request)?;
        let client = Client::open(Arc::clone(&bridge), config, request.inputs.clone()).await?;
        let entrypoint = client.read_entrypoint().await?;
        if !request.opts.contains_key("cmdline") {
            let given = request.opts.get("build-arg:BUILDKIT_SYNTAX").map(String::as_str);
            if let Some(other) = other::wanted(&entrypoint, given) {
                return other.solve(&*bridge, request).await;
            }
        }
        match client.config().request.as_str() {
            "" => build(&client, &entrypoint).await,
            request => answers::answer(&client, &entrypoint, request).await,
        }
    }
}

/// Builds the file for each platform.
async fn build(client: &Client, entrypoint: &Entrypoint) -> Result<BuildResult> {
    let wanted = &client.config().platforms;
    let targets: Vec<Option<Platform>> =
        if wanted.is_empty() { vec![None] } else { wanted.iter().cloned().map(Some).collect() };
    let scanner = client.scanner().await?;
    let mut lint = Linter::new(check_settings(client, entrypoint)?);
    let converted = convert_all(client, entrypoint, &targets, &mut lint).await;
    tell(client, entrypoint, &lint).await?;
    let converted = converted.map_err(|e| with_others(e, client, entrypoint))?;
    let mut result = BuildResult::default();
    let mut platforms = Vec::with_capacity(targets.len());
    for (platform, mut converted) in targets.into_iter().zip(converted) {
        let platform = platform.unwrap_or_else(|| client.build_platform()).normalize();
        let id = platform.format_all();
        let reference = client.solve(std::mem::take(&mut converted.definition)).await?;
        add(&mut result, &id, reference, &converted, client.config().multi_platform);
        if let Some(scanner) = &scanner {
            scanner.scan(client.bridge(), &id, std::mem::take(&mut converted.scan), &mut result).await?;
        }
        platforms.push(ExportPlatform { id, platform });
    }
    let platforms = oci::json::to_vec(&ExportPlatforms { platforms });
    result.metadata.insert("refs.platforms".into(), platforms.into());
    Ok(result)
}

async fn convert_all(
    client: &Client,
    entrypoint: &Entrypoint,
    targets: &[Option<Platform>],
    lint: &mut Linter,
) -> Result<Vec<Converted>> {
    let dockerfile = parse(entrypoint, lint)?;
    // All platforms find the same, so one is heard.
    let mut others = vec![Linter::new(Settings::silent()); targets.len().saturating_sub(1)];
    let linters = std::iter::once(lint).chain(&mut others);
    let conversions = targets.iter().zip(linters).map(|(platform, lint)| {
        convert::convert(request(client, entrypoint, &dockerfile, platform.clone()), lint)
    });
    try_join_all(conversions).await
}

fn parse(entrypoint: &Entrypoint, lint: &mut Linter) -> Result<Dockerfile> {
    let parsed = dockerfile::parse(&entrypoint.info.data, lint);
    match parsed.errors.into_iter().next() {
        Some(error) => Err(error.with_source(entrypoint.info.clone())),
        None => Ok(parsed.dockerfile),
    }
}

/// The fault that BuildKit would tell, and what else is wrong with the file.
fn with_others(error: Error, client: &Client, entrypoint: &Entrypoint) -> Error {
    if error.source_location().is_none() {
        return error;
    }
    let faults = diagnose::others(&error, &entrypoint.info.data, client.config());
    if faults.is_empty() { error } else { error.with_detail(Detail::OtherFaults { faults }) }
}

fn request<'a>(
    client: &'a Client,
    entrypoint: &'a Entrypoint,
    dockerfile: &'a Dockerfile,
    platform: Option<Platform>,
) -> convert::Request<'a> {
    convert::Request {
        client,
        dockerfile,
        info: &entrypoint.info,
        source: Arc::clone(&entrypoint.source),
        platform,
        all_stages: false,
    }
}

/// Sends findings to the client.
async fn tell(client: &Client, entrypoint: &Entrypoint, lint: &Linter) -> Result<()> {
    for finding in lint.findings() {
        client.bridge().warn(&entrypoint.vertex, warning(finding, entrypoint)).await?;
    }
    Ok(())
}

/// The client's word goes before that of the file.
fn check_settings(client: &Client, entrypoint: &Entrypoint) -> Result<Settings> {
    if let Some(given) = client.config().build_args.get("BUILDKIT_DOCKERFILE_CHECK") {
        return Settings::parse(given).context("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK");
    }
    let own = dockerfile::find_directive("check", &entrypoint.info.data);
    Settings::parse(own.as_ref().map_or("", |d| &d.value)).context("failed to parse check options")
}

fn add(result: &mut BuildResult, id: &str, reference: Ref, converted: &Converted, multi_platform: bool) {
    let suffix = if multi_platform { format!("/{id}") } else { String::new() };
    match &mut result.refs {
        _ if !multi_platform => result.refs = Refs::Single(reference),
        Refs::Map(map) => _ = map.insert(id.to_owned(), reference),
        other => *other = Refs::Map([(id.to_owned(), reference)].into()),
    }
    let mut note = |key: &str, value: Vec<u8>| {
        result.metadata.insert(format!("{key}{suffix}"), Bytes::from(value));
    };
    note("containerimage.config", image::write(&converted.image));
    if let Some(base) = &converted.base_image {
        note("containerimage.base.config", image::write(base));
    }
    if let Some(epoch) = converted.epoch {
        note("source.date.epoch", epoch.to_string().into_bytes());
    }
}

fn warning(finding: &Finding, entrypoint: &Entrypoint) -> Warning {
    Warning {
        level: 1,
        short: finding.short(),
        detail: vec![finding.rule.description.to_owned()],
        url: finding.rule.url(),
        source: Some(SourceLocation { info: entrypoint.info.clone(), ranges: finding.ranges.clone() }),
    }
}

/// The value of `refs.platforms`.
#[derive(Serialize)]
struct ExportPlatforms {
    #[serde(rename = "Platforms")]
    platforms: Vec<ExportPlatform>,
}

#[derive(Serialize)]
struct ExportPlatform {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Platform")]
    platform: Platform,
}

impl Client {
    /// What scans the result, where that is asked for.
    async fn scanner(&self) -> Result<Option<Scanner>> {
        let config = self.config();
        let Some(options) = &config.scan else { return Ok(None) };
        Scanner::find(self.bridge(), options, self.build_platform(), &config.resolve_mode).await.map(Some)
    }

    /// Hands a graph to the engine.
    pub(crate) async fn solve(&self, definition: llb::Definition) -> Result<Ref> {
        let request = SolveRequest { definition: Some(definition), ..SolveRequest::default() };
        match self.bridge().solve(request).await?.refs {
            Refs::Single(reference) => Ok(reference),
            Refs::None => Ok(Ref::default()),
            Refs::Map(_) => Err(Error::internal("a graph gave a map of results")),
        }
    }
}
