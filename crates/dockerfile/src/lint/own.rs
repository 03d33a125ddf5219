//! Kiln's own rules. They are looked at where Kiln is asked for its opinion, never in a build: what a build says is what
//! BuildKit says.
//!
//! Each rule prefers silence to a wrong word: what cannot be known from the file alone is taken for well done.

use super::{Linter, Rule};
use crate::instruction::{Dockerfile, Instruction, Stage};

mod cache;
mod images;
mod packages;
mod pipe;
mod secrets;
mod shell;
mod sources;

const fn rule(name: &'static str, description: &'static str) -> Rule {
    Rule { name, description, page: "", experimental: false }
}

pub const CACHE_BUST: Rule =
    rule("kiln.CacheBust", "Dependencies should be installed before all files of the context are copied");
pub const EARLY_ARG: Rule = rule(
    "kiln.EarlyArg",
    "ARG should be declared right before it is used, so that a new value runs few steps",
);
pub const SECRET_FILE: Rule =
    rule("kiln.SecretFile", "Files with credentials should not be copied into an image");
pub const SECRET_VALUE: Rule =
    rule("kiln.SecretValue", "Credentials should not be written into a Dockerfile");
pub const PACKAGE_CACHE: Rule =
    rule("kiln.PackageCache", "Lists and caches of package managers should not stay in the image");
pub const STALE_LISTS: Rule =
    rule("kiln.StaleLists", "Package lists should be updated in the step that installs from them");
pub const UNPINNED_BASE: Rule =
    rule("kiln.UnpinnedBase", "Where some images are pinned by digest, all of them should be");
pub const STAGE_TYPO: Rule =
    rule("kiln.StageTypo", "A name that is nearly that of a stage should be that of the stage");
pub const ADD_FOR_COPY: Rule = rule("kiln.AddForCopy", "COPY should be used where ADD does nothing more");
pub const PIPE_FAIL: Rule = rule("kiln.PipeFail", "A step should fail when any command of a pipe fails");

/// All of them.
pub const RULES: [Rule; 10] = [
    CACHE_BUST,
    EARLY_ARG,
    SECRET_FILE,
    SECRET_VALUE,
    PACKAGE_CACHE,
    STALE_LISTS,
    UNPINNED_BASE,
    STAGE_TYPO,
    ADD_FOR_COPY,
    PIPE_FAIL,
];

/// Looks at a whole file.
pub fn check(file: &Dockerfile, lint: &mut Linter) {
    let mut checker = Checker { file, lint };
    checker.images();
    checker.secret_defaults(&file.global_args);
    for at in 0..file.stages.len() {
        checker.cache(at);
        checker.packages(at);
        checker.pipes(at);
        checker.secrets(at);
        checker.sources(at);
    }
}

struct Checker<'a> {
    file: &'a Dockerfile,
    lint: &'a mut Linter,
}

impl<'a> Checker<'a> {
    fn find(&mut self, rule: Rule, instruction: &Instruction, word: &str, message: String) {
        self.lint.find(rule, message, instruction.place.ranges_of(word), &instruction.comments);
    }

    /// The stage that a name means in the stage at `before`: an earlier one.
    fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let earlier = self.file.stages.get(..before)?;
        earlier.iter().rposition(|s| !s.name.is_empty() && s.name.eq_ignore_ascii_case(name))
    }

    /// A stage and those that it goes on from, the lowest first.
    fn lineage(&self, at: usize) -> Vec<&'a Stage> {
        let mut way = vec![at];
        while let Some(base) = self.stage(&self.file.stages[way[way.len() - 1]].base, way[way.len() - 1]) {
            way.push(base);
        }
        way.iter().rev().map(|&at| &self.file.stages[at]).collect()
    }
}

#[cfg(test)]
mod tests;
