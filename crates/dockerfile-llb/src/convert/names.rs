//! What steps are called.

use dockerfile::{Environment, Lexer};
use llb::OpMetadata;
use oci::Platform;

use super::Shared;
use super::stage::StageState;

/// The step that a stage is at, of those that are counted: `[build 2/3] RUN make`.
pub(super) fn step(
    stage: &StageState,
    text: &str,
    shared: &Shared<'_>,
    platform: Option<&Platform>,
    env: &dyn Environment,
) -> String {
    if stage.steps == 0 {
        return text.to_owned();
    }
    let platform = match platform {
        Some(platform) if shared.config.multi_platform => {
            format!("{}{} ", platform.format_all(), cross_target(platform, env))
        }
        _ => String::new(),
    };
    let label = if stage.label.is_empty() { String::new() } else { format!("{} ", stage.label) };
    let width = stage.steps.ilog10() as usize + 1;
    let trigger = if stage.in_trigger { "ONBUILD " } else { "" };
    format!("[{platform}{label}{:width$}/{}] {trigger}{text}", stage.step, stage.steps)
}

/// The name of a vertex and the instruction that it comes from.
pub(super) fn describe(metadata: &mut OpMetadata, code: &str, name: String) {
    metadata.description.insert("com.docker.dockerfile.v1.command".into(), code.to_owned());
    called(metadata, name);
}

pub(crate) fn called(metadata: &mut OpMetadata, name: impl Into<String>) {
    metadata.description.insert("llb.customname".into(), name.into());
}

/// The text of an instruction with its variables expanded, where that works, and the keyword in capitals.
pub(super) fn shown(lexer: &Lexer, code: &str, env: &dyn Environment) -> String {
    let text = lexer.word(code, env).unwrap_or_else(|_| code.to_owned());
    match text.split_once(' ') {
        Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
        None => text.to_uppercase(),
    }
}

/// `->arm64` when a stage that runs on one platform builds for another.
fn cross_target(base: &Platform, env: &dyn Environment) -> String {
    let Some(mut target) = target_of(env) else { return String::new() };
    if target.os.is_empty() {
        target.os.clone_from(&base.os);
    }
    if target.architecture.is_empty() {
        target.architecture.clone_from(&base.architecture);
    }
    let target = target.normalize();
    if target.os != base.os {
        return format!("->{}", target.format_all());
    }
    if target.architecture == base.architecture {
        return String::new();
    }
    match target.variant.as_str() {
        "" => format!("->{}", target.architecture),
        variant => format!("->{}/{variant}", target.architecture),
    }
}

/// The platform that the TARGET variables of a stage name.
fn target_of(env: &dyn Environment) -> Option<Platform> {
    let mut target = Platform::default();
    let mut found = false;
    for name in env.names() {
        let value = || env.get(name).unwrap_or_default();
        let slot = match name {
            "TARGETPLATFORM" => match value().parse() {
                Ok(platform) => return Some(platform),
                Err(_) => continue,
            },
            "TARGETOS" => &mut target.os,
            "TARGETARCH" => &mut target.architecture,
            "TARGETVARIANT" => &mut target.variant,
            _ => continue,
        };
        *slot = value().to_owned();
        found = true;
    }
    found.then_some(target)
}
