//! Rules about a file as a whole. Comments above instructions do not silence them.

use std::collections::BTreeSet;

use super::{Linter, rules};
use crate::go;
use crate::instruction::Dockerfile;
use crate::place::Place;

/// Looks at a file that was read without a fault.
pub(crate) fn check(file: &Dockerfile, lint: &mut Linter) {
    stage_names(file, lint);
    casing(file, lint);
}

fn stage_names(file: &Dockerfile, lint: &mut Linter) {
    let mut seen = BTreeSet::new();
    for stage in file.stages.iter().filter(|s| !s.name.is_empty()) {
        let name = go::quote(&stage.name);
        if matches!(stage.name.as_str(), "context" | "scratch") {
            let message = format!("Stage name should not use the same name as reserved stage {name}");
            lint.find(rules::RESERVED_STAGE_NAME, message, stage.place.ranges(), &[]);
        }
        if !seen.insert(&stage.name) {
            let message = format!("Duplicate stage name {name}, stage names should be unique");
            lint.find(rules::DUPLICATE_STAGE_NAME, message, stage.place.ranges(), &[]);
        }
    }
}

/// Keywords are written as most of them are. One that mixes cases does not count.
fn casing(file: &Dockerfile, lint: &mut Linter) {
    let keywords: Vec<(&str, &Place)> = file
        .stages
        .iter()
        .flat_map(|stage| {
            let own = stage.instructions.iter().map(|i| (i.keyword.as_str(), &i.place));
            std::iter::once((stage.keyword.as_str(), &stage.place)).chain(own)
        })
        .collect();
    let is_lower = |keyword: &str| keyword == keyword.to_lowercase();
    let is_upper = |keyword: &str| keyword == keyword.to_uppercase();
    let lower = keywords.iter().filter(|(keyword, _)| is_lower(keyword)).count();
    let upper = keywords.iter().filter(|(keyword, _)| is_upper(keyword)).count();
    let majority = if lower > upper { "lowercase" } else { "uppercase" };
    for (keyword, place) in keywords {
        if !if lower > upper { is_lower(keyword) } else { is_upper(keyword) } {
            let message =
                format!("Command '{keyword}' should match the case of the command majority ({majority})");
            lint.find(rules::CONSISTENT_INSTRUCTION_CASING, message, place.ranges(), &[]);
        }
    }
}
