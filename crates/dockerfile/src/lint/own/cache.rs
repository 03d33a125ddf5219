//! What throws away more of the cache than it has to.

use super::packages::{Install, installs};
use super::{CACHE_BUST, Checker, EARLY_ARG, shell};
use crate::instruction::{Add, Copy, Instruction, Kind, Run, Sources};

impl Checker<'_> {
    pub(super) fn cache(&mut self, at: usize) {
        self.whole_context(at);
        self.early_args(at);
    }

    /// All files are copied, and then dependencies are installed that are named by a few of them.
    fn whole_context(&mut self, at: usize) {
        let mut before: Vec<&'static str> = Vec::new();
        let mut all_copied: Option<&Instruction> = None;
        for stage in self.lineage(at) {
            let is_own = stage.place == self.file.stages[at].place;
            for instruction in &stage.instructions {
                match &instruction.kind {
                    Kind::Copy(Copy { from, sources, .. }) if from.is_empty() && is_whole(sources) => {
                        all_copied.get_or_insert(instruction);
                    }
                    Kind::Add(Add { sources, .. }) if is_whole(sources) => {
                        all_copied.get_or_insert(instruction);
                    }
                    Kind::Run(run) => {
                        let found = dependencies(run).find(|install| !before.contains(&install.tool));
                        if let (Some(copy), Some(install), true) = (all_copied, &found, is_own)
                            && !has_cache_mount(run)
                        {
                            self.report_bust(copy, instruction, install);
                            return;
                        }
                        before.extend(dependencies(run).map(|install| install.tool));
                    }
                    _ => {}
                }
            }
        }
    }

    fn report_bust(&mut self, copy: &Instruction, run: &Instruction, install: &Install) {
        let what = match install.manifests {
            "" => String::new(),
            files => format!(", or copy {files} alone before it"),
        };
        let message = format!(
            "`{}` in line {} runs again after every change of any file; do it before all files are copied{what}",
            install.command,
            run.place.first_line(),
        );
        self.find(CACHE_BUST, copy, "", message);
    }

    /// Every step below an ARG depends on its value, whether it uses it or not.
    fn early_args(&mut self, at: usize) {
        let stage = &self.file.stages[at];
        for (index, instruction) in stage.instructions.iter().enumerate() {
            let Kind::Arg(definitions) = &instruction.kind else { continue };
            let below = &stage.instructions[index + 1..];
            for name in definitions.iter().map(|d| d.key.as_str()).filter(|name| !is_predefined(name)) {
                let Some(used) = below.iter().position(|i| mentions(i, name)) else { continue };
                let install = below[..used].iter().find_map(|i| match &i.kind {
                    Kind::Run(run) => Some((i, any_install(run)?)),
                    _ => None,
                });
                let Some((run, install)) = install else { continue };
                let message = format!(
                    "ARG {name} is first used in line {}, but a new value also runs `{}` in line {} again; \
                     declare it below that",
                    below[used].place.first_line(),
                    install.command,
                    run.place.first_line(),
                );
                self.find(EARLY_ARG, instruction, name, message);
            }
        }
    }
}

fn is_whole(sources: &Sources) -> bool {
    sources.paths.iter().any(|path| matches!(path.as_str(), "." | "./" | "/" | "*" | "./*"))
}

fn dependencies(run: &Run) -> impl Iterator<Item = Install> {
    let commands = if run.command.shell { shell::commands(&shell::script(run)) } else { Vec::new() };
    commands.into_iter().filter_map(|command| installs(&command)).filter(|install| !install.needs_files)
}

fn any_install(run: &Run) -> Option<Install> {
    dependencies(run).next()
}

/// Running it again costs little then.
fn has_cache_mount(run: &Run) -> bool {
    run.mounts.iter().any(|mount| mount.text.contains("type=cache"))
}

/// Arguments that are there without a declaration, or that say how to build rather than what.
fn is_predefined(name: &str) -> bool {
    let upper = name.to_uppercase();
    ["TARGET", "BUILDKIT_"].iter().any(|prefix| upper.starts_with(prefix))
        || ["BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT", "SOURCE_DATE_EPOCH"].contains(&name)
        || upper.ends_with("_PROXY")
        || upper == "DEBIAN_FRONTEND"
}

/// Whether the name stands anywhere in the instruction, as a variable or for a program that reads the environment.
fn mentions(instruction: &Instruction, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let has = |text: &str| {
        text.match_indices(name)
            .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part))
    };
    let heredocs = match &instruction.kind {
        Kind::Run(run) => run.command.heredocs.iter().any(|h| has(&h.content)),
        Kind::Copy(Copy { sources, .. }) | Kind::Add(Add { sources, .. }) => {
            sources.inline.iter().any(|file| has(&file.content))
        }
        _ => false,
    };
    heredocs || has(&instruction.code)
}
