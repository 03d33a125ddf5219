//! From instructions to a graph and an image config.
//!
//! Stages are laid out first, then the target and what it needs is found, base images of these are resolved side by
//! side, and at last the instructions of each stage are carried out in the order of the file. What the target does not
//! need is never asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dockerfile::answer::Outline;
use dockerfile::lint::Linter;
use dockerfile::{Dockerfile, Lexer};
use errdefs::{Result, SourceInfo};
use frontend::sbom::Scan;
use llb::{Definition, ProxyEnv};
use oci::{ImageConfig, Platform};

use crate::config::Config;
use crate::draft::{Draft, Port};
use crate::environment::Variables;
use crate::frontend::Client;
use crate::image;

mod args;
mod copy;
mod dispatch;
mod epoch;
mod expose;
mod faults;
mod from;
mod ignored;
mod layout;
mod meta;
mod mode;
mod mounts;
mod names;
mod outline;
mod resolve;
mod run;
mod scan;
mod secrets;
mod stage;

pub(crate) use faults::Faults;
use ignored::Ignored;
pub(crate) use names::called;
use outline::Wants;
pub(crate) use resolve::image_source;
use stage::{Progress, Stages};

/// What is to be converted.
pub(crate) struct Request<'a> {
    pub client: &'a Client,
    pub dockerfile: &'a Dockerfile,
    /// The text of the file, for errors.
    pub info: &'a SourceInfo,
    /// The text of the file, for the graph.
    pub source: Arc<llb::SourceInfo>,
    /// The platform asked for; nothing is the engine's own.
    pub platform: Option<Platform>,
    /// Stages that the target does not need are read too.
    pub all_stages: bool,
}

pub(crate) struct Converted {
    pub definition: Definition,
    pub image: ImageConfig,
    pub base_image: Option<ImageConfig>,
    /// Seconds since 1970.
    pub epoch: Option<i64>,
    /// What is to be scanned, where a scan is asked for.
    pub scan: Scan,
}

/// What holds for every stage.
struct Shared<'a> {
    config: &'a Config,
    build_args: BTreeMap<String, String>,
    globals: Variables,
    /// What is declared in front of the first stage.
    wants: Wants,
    build_platform: Platform,
    target_platform: Platform,
    /// Nobody asked for a platform.
    implicit_platform: bool,
    /// SOURCE_DATE_EPOCH in seconds, and as an RFC 3339 time.
    epoch: Option<(i64, String)>,
    lexer: Lexer,
    proxy: Option<ProxyEnv>,
    info: &'a SourceInfo,
}

/// # Errors
/// For instructions that cannot be carried out and images that cannot be resolved, with their place, and for findings
/// where these are to fail the build.
pub(crate) async fn convert(request: Request<'_>, lint: &mut Linter) -> Result<Converted> {
    let mut faults = Faults::Fatal;
    let (conversion, target) = read(&request, lint, &mut faults).await?;
    conversion.finish(target, &request.source).await
}

/// What the target takes from the client.
///
/// # Errors
/// As [`convert`].
pub(crate) async fn outline(request: Request<'_>, lint: &mut Linter) -> Result<Outline> {
    let mut faults = Faults::Fatal;
    let (conversion, target) = read(&request, lint, &mut faults).await?;
    Ok(outline::outline(&conversion.stages, target, &request.info.data))
}

/// Goes through the file for its findings and faults alone.
///
/// # Errors
/// As [`convert`], for those that `faults` does not collect.
pub(crate) async fn check(request: Request<'_>, lint: &mut Linter, faults: &mut Faults) -> Result<()> {
    read(&request, lint, faults).await.map(|_| ())
}

/// Carries out all instructions that the target needs.
async fn read<'a>(
    request: &Request<'a>,
    lint: &'a mut Linter,
    faults: &'a mut Faults,
) -> Result<(Conversion<'a>, usize)> {
    let shared = shared(request, lint, faults).await?;
    let mut conversion = Conversion {
        stages: layout::lay_out(request, &shared, lint, faults)?,
        faults,
        draft: Draft::default(),
        context: None,
        ignored: None,
        lint,
        shared,
        client: request.client,
        all_stages: request.all_stages,
    };
    let last = conversion.stages.list.len() - 1;
    let target = conversion.target();
    let target = conversion.faults.take(target)?.unwrap_or(last);
    conversion.connect()?;
    conversion.resolve(target).await?;
    conversion.ignored = Ignored::new(conversion.client.dockerignore().await?);
    conversion.dispatch_stages(target).await?;
    conversion.lint.verdict()?;
    Ok((conversion, target))
}

async fn shared<'a>(request: &Request<'a>, lint: &mut Linter, faults: &mut Faults) -> Result<Shared<'a>> {
    let config = request.client.config();
    let build_platform = request.client.build_platform();
    let target_platform = request.platform.clone().unwrap_or_else(|| build_platform.clone());
    let lexer = Lexer::new(request.dockerfile.escape);
    let stages = &request.dockerfile.stages;
    let last = stages.last().map_or("", |s| s.name.as_str());
    let target = if config.target.is_empty() { last } else { &config.target };
    let globals = args::predefined(&build_platform, &target_platform, target, &config.build_args);
    let located = |e: dockerfile::Error| e.with_source(request.info.clone());
    let declared = &request.dockerfile.global_args;
    from::check_defaults(&globals, &lexer, request.dockerfile, lint);
    let declared_globals = args::global(globals.clone(), &lexer, declared, &config.build_args);
    let (mut globals, wants) =
        faults.take(declared_globals.map_err(located))?.unwrap_or_else(|| (globals, Wants::default()));
    let mut build_args = config.build_args.clone();
    let epoch = epoch::read(&mut build_args, &mut globals, request).await;
    let epoch = faults.take(epoch)?.flatten();
    Ok(Shared {
        proxy: args::proxy(&build_args),
        config,
        build_args,
        globals,
        wants,
        build_platform,
        target_platform,
        implicit_platform: request.platform.is_none(),
        epoch,
        lexer,
        info: request.info,
    })
}

/// A conversion on its way.
struct Conversion<'a> {
    shared: Shared<'a>,
    client: &'a Client,
    stages: Stages,
    draft: Draft,
    /// The build context, once a stage was dispatched.
    context: Option<Port>,
    /// Set when it is known.
    ignored: Option<Ignored>,
    lint: &'a mut Linter,
    faults: &'a mut Faults,
    all_stages: bool,
}

impl Conversion<'_> {
    /// The stages that are to be read.
    fn wanted(&self, target: usize) -> Vec<bool> {
        match self.all_stages {
            true => vec![true; self.stages.list.len()],
            false => self.stages.reachable(target),
        }
    }

    fn target(&self) -> Result<usize> {
        let name = &self.shared.config.target;
        if name.is_empty() {
            return Ok(self.stages.list.len() - 1);
        }
        self.stages.find(name).ok_or_else(|| {
            let message = format!("target stage {} could not be found", dockerfile::go::quote(name));
            errdefs::Error::user(dockerfile::suggest::append(message, name, self.stages.names()))
        })
    }

    async fn finish(mut self, target: usize, source: &Arc<llb::SourceInfo>) -> Result<Converted> {
        self.settle_local_sources(target).await?;
        let scan = self.scan_plan(target);
        let stage = std::mem::take(&mut self.stages.list[target]);
        let mut image = stage.image;
        let shared = &self.shared;
        if !shared.config.labels.is_empty() {
            image.config.labels.get_or_insert_default().extend(shared.config.labels.clone());
        }
        if !shared.implicit_platform {
            let wanted = &shared.target_platform;
            let same = wanted.os == image.os && wanted.architecture == image.architecture;
            let mut platform = image.platform();
            platform.os.clone_from(&wanted.os);
            platform.architecture.clone_from(&wanted.architecture);
            if !wanted.variant.is_empty() || !same {
                platform.variant.clone_from(&wanted.variant);
            }
            if !wanted.os_version.is_empty() || !same {
                platform.os_version.clone_from(&wanted.os_version);
            }
            if !wanted.os_features.is_empty() {
                platform.os_features.clone_from(&wanted.os_features);
            }
            image::set_platform(&mut image, &platform);
        }
        // A folder of the client in place of a stage does not say what it is for.
        let platform = match image.architecture.as_str() {
            "" => shared.target_platform.clone(),
            _ => image.platform(),
        };
        image::set_platform(&mut image, &platform.normalize());
        let tree = stage.state.tree;
        let epoch = shared.epoch.as_ref().map(|(seconds, _)| *seconds);
        let (definition, trees) = self.draft.finish_all(tree, &scan.ports(), &shared.target_platform, source);
        Ok(Converted {
            definition,
            scan: scan.with(trees, epoch),
            image,
            base_image: stage.base_image,
            epoch,
        })
    }

    /// Local sources, now that it is known which of their paths are needed.
    async fn settle_local_sources(&mut self, target: usize) -> Result<()> {
        // The result holds all of the target, so all of a folder that the target stands on.
        let owner = self.stages.list[target].paths;
        self.stages.paths[owner].insert("/".into());
        for (stage, port, local) in std::mem::take(&mut self.stages.locals) {
            let owner = self.stages.list[stage].paths;
            let (op, about) = local.source(&follow_paths(&self.stages.paths[owner]));
            self.draft.settle(port, op, about);
        }
        if let Some(port) = self.context
            && self.client.has_local_context()
        {
            let mut paths = BTreeSet::new();
            for stage in self.stages.list.iter().filter(|s| s.progress == Progress::Dispatched) {
                paths.extend(stage.context_paths.iter().cloned());
            }
            let (op, about) = self.client.main_context(&follow_paths(&paths)).await?;
            self.draft.settle(port, op, about);
        }
        Ok(())
    }
}

/// Paths as a local source takes them; none for everything.
fn follow_paths(paths: &BTreeSet<String>) -> Vec<String> {
    if paths.contains("/") {
        return Vec::new();
    }
    let mut relative: Vec<String> = paths.iter().map(|p| crate::path::join(".", p)).collect();
    relative.sort();
    relative
}
