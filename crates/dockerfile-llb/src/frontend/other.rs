//! Other frontends, which are images.

use std::sync::Arc;

use errdefs::{Detail, Error, Result, SourceLocation};
use frontend::{Bridge, BuildResult, FrontendRequest, ResolveOptions, SolveRequest};
use llb::Definition;
use oci::{ImageConfig, Platform, Reference};

use super::Client;
use super::context::Entrypoint;
use crate::config::Config;
use crate::convert::image_source;
use crate::draft::{About, Draft};
use crate::image;

/// The frontend that runs frontend images.
const GATEWAY: &str = "gateway.v0";

/// A frontend that is an image.
#[derive(Debug)]
pub struct FrontendImage {
    /// Its files.
    pub definition: Definition,
    pub config: ImageConfig,
}

/// Finds the image of a frontend; a context that the client gave under its name takes its place.
pub async fn frontend_image(
    bridge: Arc<dyn Bridge>,
    request: &FrontendRequest,
    source: &str,
) -> Result<FrontendImage> {
    if request.opts.keys().any(|key| key.starts_with("context:"))
        && let Some(given) = given_image(Arc::clone(&bridge), request, source).await?
    {
        return Ok(given);
    }
    let reference: Reference =
        source.parse().map_err(|e| Error::user(format!("invalid frontend image {source}: {e}")))?;
    let log_name = format!("resolve image config for docker-image://{reference}");
    let options = ResolveOptions { log_name, ..ResolveOptions::default() };
    let named = reference.with_default_tag().to_string();
    let resolved = bridge.resolve_image_config(&named, options).await?;
    let name: Reference =
        resolved.reference.parse().map_err(|e| Error::internal(format!("{}: {e}", resolved.reference)))?;
    let name = name.with_digest(resolved.digest.clone());
    let (mut op, metadata) = image_source(&name.to_string(), "default");
    op.attrs.insert("image.recordtype".into(), "frontend".into());
    let mut draft = Draft::default();
    let port = draft.source(op, None, About { metadata, ..About::default() });
    let definition = draft.finish(Some(port), &own_platform(&*bridge), &Arc::default());
    Ok(FrontendImage { definition, config: image::read(&resolved.config)? })
}

/// What a frontend runs on: an image may be there for many.
fn own_platform(bridge: &dyn Bridge) -> Platform {
    bridge.platforms().into_iter().next().unwrap_or_else(Platform::host)
}

async fn given_image(
    bridge: Arc<dyn Bridge>,
    request: &FrontendRequest,
    source: &str,
) -> Result<Option<FrontendImage>> {
    let config = Config::read(request)?;
    let own = Arc::clone(&bridge);
    let client = Client::without_context(bridge, config, request.inputs.clone());
    let Some(context) = client.named_context(source, None)? else { return Ok(None) };
    let loaded = client.load(&context).await?;
    let (mut draft, mut locals) = (Draft::default(), Vec::new());
    let (state, config) = client.place(loaded, &mut draft, &mut locals, 0);
    for (_, port, local) in locals {
        let (op, about) = local.source(&[]);
        draft.settle(port, op, about);
    }
    let definition = draft.finish(state.tree, &own_platform(&*own), &Arc::default());
    Ok(Some(FrontendImage { definition, config: config.unwrap_or_default() }))
}

/// The image that a file, or the client in its place, asks for, where the built-in frontend cannot serve it.
pub(super) fn wanted(entrypoint: &Entrypoint, given: Option<&str>) -> Option<Wanted> {
    let (cmdline, location) = match given {
        Some(given) => (given.trim().to_owned(), None),
        None => {
            let directive = dockerfile::detect_syntax(&entrypoint.info.data)?;
            let info = entrypoint.info.clone();
            (directive.value.clone(), Some(SourceLocation { info, ranges: vec![directive.range] }))
        }
    };
    let image = cmdline.split(' ').next().unwrap_or_default().to_owned();
    (!image.is_empty() && !is_built_in(&image)).then_some(Wanted { image, cmdline, location })
}

/// Another frontend.
pub(super) struct Wanted {
    image: String,
    /// The image, and what is behind it.
    cmdline: String,
    /// Where it is asked for, unless the client does.
    location: Option<SourceLocation>,
}

impl Wanted {
    /// Has the other frontend do all that this one was asked.
    pub async fn solve(self, bridge: &dyn Bridge, request: FrontendRequest) -> Result<BuildResult> {
        let Wanted { image, cmdline, location } = self;
        let FrontendRequest { mut opts, inputs } = request;
        opts.insert("cmdline".into(), cmdline);
        opts.insert("source".into(), image);
        let request = SolveRequest { frontend: GATEWAY.into(), opts, inputs, ..SolveRequest::default() };
        bridge.solve(request).await.map_err(|e| match location {
            Some(location) if e.source_location().is_none() => e.with_detail(Detail::Source(location)),
            _ => e,
        })
    }
}

/// Whether the built-in frontend speaks the language of this image, which a `# syntax=` names.
pub fn is_built_in(image: &str) -> bool {
    let Ok(image) = image.parse::<Reference>() else { return false };
    let known = ["docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream"];
    let version = image.tag().unwrap_or("latest");
    let is_first = version == "1" || version.starts_with("1.") || version.starts_with("1-");
    known.contains(&image.repository().as_str())
        && (is_first || matches!(version, "latest" | "labs" | "master"))
}
