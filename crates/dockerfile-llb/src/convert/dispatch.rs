//! Carrying out the instructions of a stage.

use std::borrow::Cow;
use std::collections::BTreeSet;

use dockerfile::instruction::{ArgDefinition, CommandLine};
use dockerfile::lint::{Linter, Rule, rules};
use dockerfile::{Environment as _, Instruction, Kind, Lexer, Result, go, suggest};
use errdefs::Range;

use super::ignored::Ignored;
use super::stage::{Command, Progress, StageState};
use super::{Conversion, Faults, Shared, meta, secrets};
use crate::draft::{Draft, Port};
use crate::environment::split_line;
use crate::image::{self, DEFAULT_PATH};
use crate::windows;

/// Not for steps: they say what goes into an attestation.
const NOT_IN_ENV: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// One stage while its instructions are carried out.
pub(super) struct Dispatch<'a> {
    pub stage: &'a mut StageState,
    /// All stages; the place of this one is empty.
    pub stages: &'a [StageState],
    pub paths: &'a mut [std::collections::BTreeSet<String>],
    pub draft: &'a mut Draft,
    pub shared: &'a Shared<'a>,
    pub context: Option<Port>,
    pub ignored: Option<&'a Ignored>,
    pub lint: &'a mut Linter,
    /// Those above the instruction.
    pub comments: Vec<String>,
}

impl Conversion<'_> {
    /// Carries out the stages that the target needs, in the order of the file.
    pub(super) async fn dispatch_stages(&mut self, target: usize) -> errdefs::Result<()> {
        let reachable = self.wanted(target);
        self.context = self.client.context_tree(&mut self.draft).await?;
        for (at, _) in reachable.iter().enumerate().filter(|(_, reachable)| **reachable) {
            if self.stages.list[at].progress != Progress::Dispatched {
                self.stages.take_over(at);
                self.dispatch_stage(at)?;
            }
        }
        Ok(())
    }

    fn dispatch_stage(&mut self, at: usize) -> errdefs::Result<()> {
        let mut stage = std::mem::take(&mut self.stages.list[at]);
        stage.progress = Progress::Dispatched;
        let mut dispatch = Dispatch {
            stage: &mut stage,
            stages: &self.stages.list,
            paths: &mut self.stages.paths,
            draft: &mut self.draft,
            shared: &self.shared,
            context: self.context,
            ignored: self.ignored.as_ref(),
            lint: self.lint,
            comments: Vec::new(),
        };
        dispatch.run(self.faults)?;
        self.stages.list[at] = stage;
        Ok(())
    }
}

impl Dispatch<'_> {
    fn run(&mut self, faults: &mut Faults) -> errdefs::Result<()> {
        let located = |e: dockerfile::Error| e.with_source(self.shared.info.clone());
        let prepared = self.prepare().map_err(located);
        faults.take(prepared)?;
        for command in std::mem::take(&mut self.stage.commands) {
            let place = command.instruction.place.clone();
            let done = self.command(command).map_err(|e| e.at(&place).with_source(self.shared.info.clone()));
            faults.take(done)?;
        }
        Ok(())
    }

    /// Starts from what the config of the base says.
    fn prepare(&mut self) -> Result<()> {
        let shared = self.shared;
        let stage = &mut *self.stage;
        let platform = stage.platform.get_or_insert_with(|| shared.target_platform.clone());
        let env = &mut stage.image.config.env;
        if platform.os != windows::OS && !env.iter().any(|line| split_line(line).0 == "PATH") {
            env.push(format!("PATH={DEFAULT_PATH}"));
        }
        for line in env.iter() {
            let (name, value) = split_line(line);
            stage.state.env.set(name, value);
        }
        if !shared.config.hostname.is_empty() {
            stage.state.hostname.clone_from(&shared.config.hostname);
        }
        let dir = stage.image.config.working_dir.clone();
        if !dir.is_empty() {
            self.change_dir(&dir).map_err(|e| e.at(&self.stage.stage.place))?;
        }
        if !self.stage.image.config.user.is_empty() {
            self.stage.state.user.clone_from(&self.stage.image.config.user);
        }
        self.stage.state.network = shared.config.network;
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<()> {
        let Command { mut instruction, sources, is_trigger } = command;
        self.stage.in_trigger = is_trigger;
        self.comments = std::mem::take(&mut instruction.comments);
        let code = instruction.code.clone();
        self.expand(&mut instruction)?;
        let Instruction { kind, keyword, place, .. } = instruction;
        let ranges = place.ranges();
        match kind {
            Kind::Add(add) => self.add(add, &code, ranges),
            Kind::Copy(copy) => self.copy(copy, sources.first().copied(), &code, ranges),
            Kind::Run(run) => self.run_step(&run, &sources, &code, ranges),
            Kind::Arg(definitions) => self.arg(definitions, &ranges),
            Kind::Workdir(dir) => self.workdir(&dir, &code, ranges),
            Kind::Expose(ports) => self.expose(&ports, &ranges),
            other => meta::apply(self, other, &keyword, &ranges),
        }
    }

    /// All words of an instruction see the environment as it was before.
    fn expand(&mut self, instruction: &mut Instruction) -> Result<()> {
        let env = &self.stage.state.env;
        let mut unset = Vec::new();
        let mut expand = |lexer: &Lexer, word: &str| {
            let expanded = lexer.expand(word, env)?;
            unset.extend(expanded.unmatched);
            Ok(expanded.text)
        };
        let inline = Lexer { ignore_quotes: true, ..Lexer::new('\\') };
        let result = instruction
            .expand(&mut |word| expand(&self.shared.lexer, word))
            .and_then(|()| instruction.expand_inline(&mut |text| expand(&inline, text)));
        self.find_unset(unset, &instruction.place.ranges());
        result
    }

    pub(super) fn find(&mut self, rule: Rule, message: String, ranges: &[Range]) {
        self.lint.find(rule, message, ranges.to_vec(), &self.comments);
    }

    /// Variables that an instruction uses and nobody set. An ARG without a value is no mistake.
    pub(super) fn find_unset(&mut self, names: impl IntoIterator<Item = String>, ranges: &[Range]) {
        for name in names {
            if NOT_IN_ENV.contains(&name.as_str()) || self.stage.args.iter().any(|arg| arg.key == name) {
                continue;
            }
            let near = match suggest::nearest(&name, self.stage.state.env.names()) {
                Some(near) => format!(" (did you mean ${near}?)"),
                None => String::new(),
            };
            let message = format!("Usage of undefined variable '${name}'{near}");
            self.find(rules::UNDEFINED_VAR, message, ranges);
        }
    }

    /// Arguments and variables stay in the image for all to see.
    pub(super) fn find_secret(&mut self, keyword: &str, name: &str, ranges: &[Range]) {
        if secrets::looks_secret(name) {
            let name = go::quote(name);
            let message = format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name})");
            self.find(rules::SECRETS_USED_IN_ARG_OR_ENV, message, ranges);
        }
    }

    pub(super) fn note(&mut self, created_by: String, layer: image::Layer) {
        let created = self.shared.epoch.as_ref().map(|(_, text)| text.as_str());
        image::note(&mut self.stage.image, created_by, layer, created);
    }

    /// The shell of the stage in front of a command line.
    pub(super) fn with_shell(&self, words: &[String]) -> Vec<String> {
        let shell = &self.stage.image.config.shell;
        let default: &[&str] = match self.stage.image.os.as_str() {
            windows::OS => &["cmd", "/S", "/C"],
            _ => &["/bin/sh", "-c"],
        };
        let mut out = match shell.is_empty() {
            true => default.iter().map(|word| (*word).to_owned()).collect(),
            false => shell.clone(),
        };
        out.push(words.join(" "));
        out
    }

    /// A path as the system of the stage writes it, with slashes.
    pub(super) fn slashed<'p>(&self, path: &'p str) -> Result<Cow<'p, str>> {
        match &self.stage.platform {
            Some(platform) if platform.os == windows::OS => windows::to_slashes(path).map(Cow::Owned),
            _ => Ok(Cow::Borrowed(path)),
        }
    }

    pub(super) fn arguments(&self, command: &CommandLine) -> Vec<String> {
        if command.shell { self.with_shell(&command.words) } else { command.words.clone() }
    }

    /// Makes variables visible: the client's value, else the default, else that of the global scope.
    fn arg(&mut self, definitions: Vec<ArgDefinition>, ranges: &[Range]) -> Result<()> {
        let mut texts = Vec::with_capacity(definitions.len());
        for mut arg in definitions {
            self.find_secret("ARG", &arg.key, ranges);
            let global = self.shared.globals.get(&arg.key);
            let given = self.shared.build_args.get(&arg.key);
            let inherits = given.is_none() && arg.value.is_none() && global.is_some();
            match (given, &arg.value) {
                (Some(given), _) => arg.value = Some(given.clone()),
                (None, Some(default)) => {
                    let expanded = self.shared.lexer.expand(default, &self.stage.state.env);
                    let expanded = expanded.map_err(|e| e.about(default))?;
                    self.find_unset(expanded.unmatched, ranges);
                    arg.value = Some(expanded.text);
                }
                (None, None) => arg.value = global.map(str::to_owned),
            }
            // What comes from the global scope was declared there.
            if !inherits {
                self.stage.wants.declare(&arg, BTreeSet::new(), ranges.to_vec());
            }
            self.stage.wants.uses([arg.key.clone()]);
            let text = match &arg.value {
                Some(value) => {
                    if !NOT_IN_ENV.contains(&arg.key.as_str()) {
                        self.stage.state.env.set(&arg.key, value);
                    }
                    format!("{}={value}", arg.key)
                }
                None => arg.key.clone(),
            };
            texts.push(text);
            self.stage.args.push(arg);
        }
        self.note(format!("ARG {}", texts.join(" ")), image::Layer::None);
        Ok(())
    }
}
