//! Which stages there are, and which needs which.

use std::collections::BTreeSet;

use dockerfile::go::quote;
use dockerfile::instruction::Kind;
use dockerfile::lint::Linter;
use dockerfile::{Expansion, Instruction, Lexer, NoEnvironment, Place, Stage, suggest};
use errdefs::Result;
use oci::Platform;

use super::stage::{Command, StageState, Stages};
use super::{Conversion, Faults, Request, Shared, from};
use crate::image::SCRATCH;

type Located<T> = dockerfile::Result<T>;

/// The stages of the file, with the variables in FROM expanded.
pub(super) fn lay_out(
    request: &Request<'_>,
    shared: &Shared<'_>,
    lint: &mut Linter,
    faults: &mut Faults,
) -> Result<Stages> {
    let mut stages = Stages::default();
    for (number, stage) in request.dockerfile.stages.iter().enumerate() {
        let words =
            from_words(stage, shared, lint).map_err(|e| e.at(&stage.place).with_source(shared.info.clone()));
        let From { base, platform, used } = faults.take(words)?.unwrap_or_default();
        let replaced_by = match stage.name.as_str() {
            "" => None,
            name => request.client.named_context(name, platform.as_ref().or(request.platform.as_ref()))?,
        };
        let label = if stage.name.is_empty() { format!("stage-{number}") } else { stage.name.clone() };
        let commands = stage.instructions.iter().map(|instruction| Command {
            instruction: instruction.clone(),
            sources: Vec::new(),
            is_trigger: false,
        });
        let replaced = replaced_by.is_some();
        let at = stages.add(StageState {
            stage: Stage { base, ..stage.without_instructions() },
            replaced_by,
            platform,
            label,
            commands: commands.collect(),
            wants: shared.wants.clone(),
            ignore_cache: !replaced && shared.config.no_cache.holds_for(&stage.name),
            ..StageState::default()
        });
        if !replaced {
            stages.list[at].wants.uses(used);
            stages.list[at].steps = steps(&stages.list[at]);
        }
    }
    Ok(stages)
}

/// Pulling the base is a step, and so is each instruction that makes a layer.
fn steps(stage: &StageState) -> usize {
    let makes_layer = |c: &&Command| {
        matches!(c.instruction.kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_))
    };
    usize::from(stage.stage.base != SCRATCH && stage.base.is_none())
        + stage.commands.iter().filter(makes_layer).count()
}

/// The words of FROM.
struct From {
    base: String,
    platform: Option<Platform>,
    /// Variables in them.
    used: BTreeSet<String>,
}

impl Default for From {
    fn default() -> Self {
        From { base: SCRATCH.to_owned(), platform: None, used: BTreeSet::new() }
    }
}

/// Base and platform of FROM, which see global variables only.
fn from_words(stage: &Stage, shared: &Shared<'_>, lint: &mut Linter) -> Located<From> {
    let Expansion { text: base, matched: mut used, unmatched, .. } =
        shared.lexer.expand(&stage.base, &shared.globals).map_err(|e| e.about(&stage.base))?;
    from::check_names(&unmatched, stage, shared, lint);
    if base.is_empty() {
        let message = format!("base name ({}) should not be blank", stage.base);
        return Err(dockerfile::Error::new(message).about(&stage.base));
    }
    if stage.platform.is_empty() {
        return Ok(From { base, platform: None, used });
    }
    let written = &stage.platform;
    let expanded = shared.lexer.expand(written, &shared.globals).map_err(|e| {
        e.context(format_args!("failed to process arguments for platform {written}")).about(written)
    })?;
    from::check_names(&expanded.unmatched, stage, shared, lint);
    from::check_platform(&expanded, stage, shared, lint);
    let suggested = |message: String| {
        use dockerfile::Environment as _;
        let near = |name: &String| suggest::nearest(name, shared.globals.names());
        match expanded.unmatched.iter().find_map(near) {
            Some(name) => format!("{message} (did you mean {name}?)"),
            None => message,
        }
    };
    if expanded.text.is_empty() {
        let message = suggested(format!("empty platform value from expression {written}"));
        return Err(dockerfile::Error::new(message).about(written));
    }
    match expanded.text.parse::<Platform>() {
        Ok(platform) => {
            used.extend(expanded.matched);
            Ok(From { base, platform: Some(platform), used })
        }
        Err(e) => {
            let message = format!("failed to parse platform {written}: {}", suggested(e.to_string()));
            Err(dockerfile::Error::new(message).about(written))
        }
    }
}

impl Conversion<'_> {
    /// Finds the stages that instructions take files from.
    pub(super) fn connect(&mut self) -> Result<()> {
        let mut at = 0;
        // Stages that stand for images are added on the way and have no instructions.
        while at < self.stages.list.len() {
            let mut commands = std::mem::take(&mut self.stages.list[at].commands);
            for command in &mut commands {
                let connected = self.connect_command(at, command);
                self.faults.take(connected)?;
            }
            self.stages.list[at].commands = commands;
            at += 1;
        }
        let circles = self.refuse_circles();
        self.faults.take(circles)?;
        if let [only] = self.stages.list.as_mut_slice() {
            only.label.clear();
        }
        Ok(())
    }

    pub(super) fn connect_command(&mut self, at: usize, command: &mut Command) -> Result<()> {
        let place = command.instruction.place.clone();
        command.sources = sources(&mut self.stages, &command.instruction, &self.shared.lexer)
            .map_err(|e| e.at(&place).with_source(self.shared.info.clone()))?;
        for &source in &command.sources {
            let needs = &mut self.stages.list[at].needs;
            if needs.iter().all(|(known, _)| *known != source) {
                needs.push((source, place.clone()));
            }
        }
        Ok(())
    }

    /// Refuses stages that take files from each other in a circle.
    fn refuse_circles(&self) -> Result<()> {
        let Some((stage, places)) = circle(&self.stages) else { return Ok(()) };
        let label = &self.stages.list[stage].label;
        let mut ranges: Vec<_> = places.iter().flat_map(Place::ranges).collect();
        ranges.sort();
        ranges.dedup();
        let error = errdefs::Error::user(format!("circular dependency detected on stage: {label}"));
        let info = self.shared.info.clone();
        Err(error.with_detail(errdefs::Detail::Source(errdefs::SourceLocation { info, ranges })))
    }
}

/// The stages that one instruction names.
fn sources(stages: &mut Stages, instruction: &Instruction, lexer: &Lexer) -> Located<Vec<usize>> {
    match &instruction.kind {
        Kind::Copy(copy) if !copy.from.is_empty() => {
            if lexer.word(&copy.from, &NoEnvironment)? != copy.from {
                let message = "variable expansion is not supported for --from, define a new stage with FROM \
                    using ARG from global scope as a workaround";
                return Err(dockerfile::Error::new(message).about(&copy.from));
            }
            let Ok(index) = copy.from.parse::<i64>() else {
                return Ok(vec![stages.find_or_add(&copy.from, &instruction.place)]);
            };
            match usize::try_from(index).ok().filter(|&i| i < stages.list.len()) {
                Some(index) => Ok(vec![index]),
                None => {
                    let message = format!("invalid stage index {index}");
                    Err(dockerfile::Error::new(message).about(&copy.from))
                }
            }
        }
        Kind::Run(run) => {
            let from = |m: &dockerfile::instruction::MountFlag| match m.from.as_str() {
                "" => stages.find_or_add(SCRATCH, &instruction.place),
                from => stages.find_or_add(from, &instruction.place),
            };
            Ok(run.mounts.iter().map(from).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// A stage that needs itself, if there is one, with the instructions on the way.
fn circle(stages: &Stages) -> Option<(usize, Vec<Place>)> {
    let mut done = vec![false; stages.list.len()];
    for start in 0..stages.list.len() {
        // Each entry is a stage on the current way and how many of its needs were followed.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((stage, followed)) = way.last_mut() {
            let at = *stage;
            let next = stages.list[at].needs.get(*followed).filter(|_| !done[at]);
            let Some((need, place)) = next else {
                done[at] = true;
                way.pop();
                continue;
            };
            *followed += 1;
            if way.iter().any(|(on_way, _)| on_way == need) {
                let mut places: Vec<Place> =
                    way.iter().map(|&(s, followed)| stages.list[s].needs[followed - 1].1.clone()).collect();
                places.push(place.clone());
                return Some((start, places));
            }
            if !done[*need] {
                way.push((*need, 0));
            }
        }
    }
    None
}

/// A name in quotes, for messages.
pub(super) fn quoted(name: &str) -> String {
    quote(name)
}
