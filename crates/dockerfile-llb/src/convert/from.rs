//! Findings in FROM.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::lint::{Linter, rules};
use dockerfile::{Dockerfile, Environment as _, Expansion, Lexer, Stage, go, suggest};
use oci::{Platform, Reference};

use super::{Shared, args};
use crate::environment::Variables;

/// Bases are to be good without a word from the client. What cannot be expanded fails the build later.
pub(super) fn check_defaults(predefined: &Variables, lexer: &Lexer, file: &Dockerfile, lint: &mut Linter) {
    let defaults = args::global(predefined.clone(), lexer, &file.global_args, &BTreeMap::new());
    let Ok((defaults, _)) = defaults else { return };
    for stage in &file.stages {
        let Ok(base) = lexer.word(&stage.base, &defaults) else { return };
        if base.parse::<Reference>().is_err() {
            let message =
                format!("Default value for ARG {} results in empty or invalid base image name", stage.base);
            lint.find(rules::INVALID_DEFAULT_ARG_IN_FROM, message, stage.place.ranges(), &[]);
        }
    }
}

/// Variables without a declaration.
pub(super) fn check_names(
    unmatched: &BTreeSet<String>,
    stage: &Stage,
    shared: &Shared<'_>,
    lint: &mut Linter,
) {
    let declared: Vec<&str> = shared.globals.names().into_iter().chain(shared.wants.declared()).collect();
    for name in unmatched.iter().filter(|name| !declared.contains(&name.as_str())) {
        let message = format!("FROM argument '{name}' is not declared");
        let message = suggest::append(message, name, declared.iter().copied());
        lint.find(rules::UNDEFINED_ARG_IN_FROM, message, stage.place.ranges(), &stage.comments);
    }
}

/// `--platform` is neither to repeat the default nor to be a constant, unless the stage is named after it.
pub(super) fn check_platform(expanded: &Expansion, stage: &Stage, shared: &Shared<'_>, lint: &mut Linter) {
    const TARGET: &str = "TARGETPLATFORM";
    let mut find = |rule, message| lint.find(rule, message, stage.place.ranges(), &stage.comments);
    let is_target = shared.globals.get(TARGET) == Some(expanded.text.as_str());
    if expanded.unmatched.is_empty() && expanded.matched.iter().eq([TARGET]) && is_target {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            stage.platform
        );
        find(rules::REDUNDANT_TARGET_PLATFORM, message);
    }
    if expanded.unmatched.is_empty()
        && expanded.matched.is_empty()
        && let Ok(platform) = expanded.text.parse::<Platform>()
        && !stage.name.contains(&platform.os)
        && !stage.name.contains(&platform.architecture)
    {
        let constant = go::quote(&expanded.text);
        let message = format!("FROM --platform flag should not use constant value {constant}");
        find(rules::FROM_PLATFORM_FLAG_CONST_DISALLOWED, message);
    }
}
