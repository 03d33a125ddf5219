//! Base images.

use dockerfile::lint::{Linter, rules};
use dockerfile::suggest;
use errdefs::{Error, Result};
use frontend::ResolveOptions;
use futures_util::future::try_join_all;
use oci::{ImageConfig, Platform, Reference};

use super::stage::{Command, Progress, StageState};
use super::{Conversion, Shared, names};
use crate::draft::About;
use crate::frontend::{Client, Loaded};
use crate::image;
use crate::state::State;

/// What the base of a stage turned out to be.
enum Found {
    Scratch,
    Image {
        name: Reference,
        config: ImageConfig,
        platform: Platform,
    },
    /// A named context in place of the image.
    Context(Loaded, Platform),
    /// A named context in place of the whole stage.
    Replacement(Loaded),
}

impl Conversion<'_> {
    /// Resolves the bases of all stages that the target needs, side by side. Triggers of a base may need more stages, so
    /// this goes in rounds.
    pub(super) async fn resolve(&mut self, target: usize) -> Result<()> {
        for stage in &mut self.stages.list {
            if self.faults.take(check_name(stage, &self.shared))?.is_none() {
                stage.stage.base = image::SCRATCH.to_owned();
            }
        }
        loop {
            let reachable = self.wanted(target);
            let wanted: Vec<usize> = (0..self.stages.list.len())
                .filter(|&at| reachable[at])
                .filter(|&at| {
                    let stage = &self.stages.list[at];
                    stage.base.is_none() && stage.progress == Progress::Waiting
                })
                .collect();
            let stages = &self.stages.list;
            let (client, shared) = (self.client, &self.shared);
            let found =
                try_join_all(wanted.iter().map(|&at| find(&stages[at], stages, client, shared))).await?;
            for (at, found) in wanted.into_iter().zip(found) {
                self.base_on(at, found);
            }
            if !self.take_triggers(&reachable)? {
                return Ok(());
            }
        }
    }

    fn base_on(&mut self, at: usize, found: Found) {
        let shared = &self.shared;
        let stage = &mut self.stages.list[at];
        stage.progress = if stage.implicit { Progress::Dispatched } else { Progress::Based };
        match found {
            Found::Scratch => {
                stage.image = image::empty(&shared.target_platform);
                stage.platform = Some(shared.target_platform.clone());
            }
            Found::Image { name, mut config, platform } => {
                check_platform(stage, &config, &platform, self.lint);
                stage.stage.base = name.to_string();
                stage.base_image = Some(config.clone());
                config.created = None;
                if !image::has_no_layers(&config) {
                    let (op, metadata) = image_source(&stage.stage.base, &shared.config.resolve_mode);
                    let about = about_image(stage, shared, metadata, &platform);
                    let tree = self.draft.source(op, Some(platform.clone()), about);
                    stage.state = State::new(Some(tree)).on(&platform);
                }
                stage.image = config;
                stage.platform = Some(platform);
            }
            Found::Context(loaded, platform) => {
                let (state, config) = self.client.place(loaded, &mut self.draft, &mut self.stages.locals, at);
                let mut config = config.unwrap_or_else(|| image::empty(&platform));
                stage.base_image = Some(config.clone());
                config.created = None;
                stage.image = config;
                stage.state = state.on(&platform);
                stage.platform = Some(platform);
            }
            Found::Replacement(loaded) => {
                let (state, config) = self.client.place(loaded, &mut self.draft, &mut self.stages.locals, at);
                stage.state = state;
                stage.progress = Progress::Dispatched;
                if let Some(mut config) = config {
                    config.created = None;
                    if !config.architecture.is_empty() && !config.os.is_empty() {
                        stage.platform = Some(config.platform());
                    }
                    stage.image = config;
                }
            }
        }
    }

    /// Puts the triggers of base images and base stages in front of the instructions of their users. Tells whether
    /// that made new needs.
    fn take_triggers(&mut self, reachable: &[bool]) -> Result<bool> {
        let mut new_needs = false;
        for at in (0..reachable.len()).filter(|&at| reachable[at]) {
            self.stages.take_over(at);
            let mut triggers = std::mem::take(&mut self.stages.list[at].image.config.on_build);
            if let Some(base) = self.stages.list[at].base
                && !std::mem::replace(&mut self.stages.list[at].triggers_taken, true)
            {
                triggers.extend(self.stages.list[base].commands.iter().filter_map(|c| {
                    match &c.instruction.kind {
                        dockerfile::Kind::Onbuild(text) => Some(text.clone()),
                        _ => None,
                    }
                }));
            }
            let mut commands = Vec::with_capacity(triggers.len());
            for trigger in &triggers {
                let command = self.trigger(at, trigger);
                if let Some(command) = self.faults.take(command)? {
                    new_needs |= !command.sources.is_empty();
                    commands.push(command);
                }
            }
            let stage = &mut self.stages.list[at];
            stage.steps += commands.len();
            stage.commands.splice(0..0, commands);
        }
        Ok(new_needs)
    }

    fn trigger(&mut self, at: usize, text: &str) -> Result<Command> {
        let place = self.stages.list[at].stage.place.clone();
        let instruction =
            dockerfile::parse_trigger(text, &place).map_err(|e| e.with_source(self.shared.info.clone()))?;
        let mut command = Command { instruction, sources: Vec::new(), is_trigger: true };
        self.connect_command(at, &mut command)?;
        Ok(command)
    }
}

/// Names are checked in all stages, also in those that nobody needs.
fn check_name(stage: &StageState, shared: &Shared<'_>) -> Result<()> {
    if stage.base.is_some() || stage.is_scratch() {
        return Ok(());
    }
    parse_name(&stage.stage.base).map(|_| ()).map_err(|e| located(e, stage, shared))
}

fn parse_name(name: &str) -> Result<Reference> {
    name.parse()
        .map_err(|e| Error::user(format!("failed to parse stage name {}: {e}", super::layout::quoted(name))))
}

fn located(error: Error, stage: &StageState, shared: &Shared<'_>) -> Error {
    if error.source_location().is_some() {
        return error;
    }
    let ranges = stage.stage.place.ranges_of(&stage.stage.base);
    let location = errdefs::SourceLocation { info: shared.info.clone(), ranges };
    error.with_detail(errdefs::Detail::Source(location))
}

async fn find(
    stage: &StageState,
    stages: &[StageState],
    client: &Client,
    shared: &Shared<'_>,
) -> Result<Found> {
    if stage.is_scratch() {
        return Ok(Found::Scratch);
    }
    find_base(stage, stages, client, shared).await.map_err(|e| located(e, stage, shared))
}

async fn find_base(
    stage: &StageState,
    stages: &[StageState],
    client: &Client,
    shared: &Shared<'_>,
) -> Result<Found> {
    let written = &stage.stage.base;
    let name = parse_name(written)?.with_default_tag();
    let platform = stage.platform.clone().unwrap_or_else(|| shared.target_platform.clone());
    if let Some(context) = &stage.replaced_by {
        return Ok(Found::Replacement(client.load(context).await?));
    }
    if let Some(context) = client.named_context(&name.to_string(), Some(&platform))? {
        return Ok(Found::Context(client.load(&context).await?, platform));
    }
    let prefix = match shared.config.multi_platform {
        true => format!("[{} internal]", platform.format_all()),
        false => "[internal]".to_owned(),
    };
    let options = ResolveOptions {
        platform: Some(platform.clone()),
        resolve_mode: shared.config.resolve_mode.clone(),
        log_name: format!("{prefix} load metadata for {name}"),
        ..ResolveOptions::default()
    };
    let resolved = client.resolve(&name.to_string(), options).await.map_err(|e| {
        let e = e.context(written);
        match nearest_name(written, stages) {
            Some(near) => e.hint(format!("did you mean `{near}`?")),
            None => e,
        }
    })?;
    let config = image::read(&resolved.config)?;
    let platform = match stage.platform {
        None if shared.implicit_platform => detected(&config, platform, &shared.build_platform),
        _ => platform,
    };
    Ok(Found::Image { name: parse_name(&resolved.reference)?.with_digest(resolved.digest), config, platform })
}

/// A stage or a well-known image whose name is nearly this.
fn nearest_name(written: &str, stages: &[StageState]) -> Option<String> {
    const COMMON: [&str; 7] = ["alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora"];
    let labels = stages.iter().map(|s| s.label.as_str()).filter(|label| !label.is_empty());
    let tagged: Vec<String> = COMMON.iter().map(|name| format!("{name}:latest")).collect();
    let options = labels.chain(COMMON).chain(tagged.iter().map(String::as_str));
    suggest::nearest(written, options).map(str::to_owned)
}

/// An image of the wrong platform is taken for what it says it is, where the engine can run that.
fn detected(config: &ImageConfig, target: Platform, build: &Platform) -> Platform {
    let is = |p: &Platform| p.os == config.os && p.architecture == config.architecture;
    if !is(&target) && is(build) { build.clone() } else { target }
}

/// The image is to be one of the platform that the stage is for.
fn check_platform(stage: &StageState, config: &ImageConfig, expected: &Platform, lint: &mut Linter) {
    let same = expected.os == config.os && expected.architecture == config.architecture;
    if same || image::has_no_layers(config) {
        return;
    }
    let shown = |platform: Platform| dockerfile::go::quote(&platform.normalize().format_all());
    let message = format!(
        "Base image {} was pulled with platform {}, expected {} for current build",
        stage.stage.base,
        shown(config.platform()),
        shown(expected.clone())
    );
    lint.find(rules::INVALID_BASE_IMAGE_PLATFORM, message, stage.stage.place.ranges(), &[]);
}

/// The source of an image, and what it needs of the engine.
pub(crate) fn image_source(name: &str, resolve_mode: &str) -> (llb::SourceOp, llb::OpMetadata) {
    let mut op = llb::SourceOp { identifier: format!("docker-image://{name}"), attrs: Default::default() };
    let mut metadata = llb::OpMetadata::default();
    metadata.need(llb::caps::SOURCE_IMAGE);
    if resolve_mode != "default" {
        op.attrs.insert("image.resolvemode".into(), resolve_mode.into());
    }
    if resolve_mode == "pull" {
        metadata.need(llb::caps::SOURCE_IMAGE_RESOLVE_MODE);
    }
    (op, metadata)
}

fn about_image(
    stage: &mut StageState,
    shared: &Shared<'_>,
    metadata: llb::OpMetadata,
    platform: &Platform,
) -> About {
    let text = format!("FROM {}", stage.stage.base);
    stage.count_step();
    let name = names::step(stage, &text, shared, Some(platform), &dockerfile::NoEnvironment);
    let mut about = About { metadata, ranges: stage.stage.place.ranges() };
    names::describe(&mut about.metadata, &stage.stage.code, name);
    about
}
