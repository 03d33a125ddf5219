//! `kiln build`.

use std::process::ExitCode;
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use progress::VertexWarning;
use serde_json::Value;

use crate::args::{BuildArgs, GlobalArgs};
use crate::commands::call;
use crate::display::{Display, Drawn};
use crate::engine::{Builder, Place};
use crate::environment::Environment;
use crate::inputs::TARGET;
use crate::job::{Built, Common, Job, until};
use crate::nodes::Nodes;
use crate::result_files::{answer_metadata, image_id, metadata, write_atomic};
use crate::settings::{BuildSettings, Notice, ProgressMode};
use crate::{console, interrupt, report, verify};

/// Builds, and tells how it went.
pub(crate) async fn build(args: &BuildArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let docker = Arc::new(env.docker_config()?);
    let settings = BuildSettings::new(args, env, &docker.build_proxies("default"))?;
    if let Some((name, target)) = settings.contexts.iter().find(|(_, source)| source.starts_with(TARGET)) {
        return Err(Error::user(format!("build context {name}: `{target}` is a target of a bake file"))
            .hint("`kiln bake` builds targets that are contexts of others"));
    }
    let builder = Builder::find(global, env)?;
    if let Some(path) = &settings.iidfile {
        remove_stale(path)?;
    }
    for warning in &settings.warnings {
        console::note(format_args!("WARNING: {warning}\n"));
    }
    let (display, sender) = Display::new(settings.progress, &builder, env)?;
    let cancel = interrupt::watch()?;
    builder.touch(env);
    let common = Common { nodes: Nodes::new(&builder), docker, env };
    let job = until(&cancel, Job::prepare(&settings, &common, sender)).await?;
    if settings.notice == Notice::Nowhere && settings.progress.is_for_people() {
        console::note(format_args!(
            "WARNING: No output specified with {} driver. Build result will only remain in the build cache. To keep \
             the image name it with -t, to push it into a registry use --push, to load it into Docker use --load\n",
            builder.driver
        ));
    }
    if settings.call.is_none() {
        job.local.save(&job.id, env);
    }
    let drawing = display.start();
    let built = job.run(env, &cancel).await;
    let drawn = drawing.finish().await?;
    print_warnings(&drawn.warnings, settings.progress, global.debug);
    match built {
        Ok(built) => finish(&settings, &builder, &built, &drawn),
        Err(e) => {
            if !settings.progress.is_for_people() && settings.progress != ProgressMode::RawJson {
                console::note(report::last_words(&e));
            }
            Err(e)
        }
    }
}

/// Writes and prints what was asked for.
fn finish(settings: &BuildSettings, builder: &Builder, built: &Built, drawn: &Drawn) -> Result<ExitCode> {
    let response = &built.response.exporter_response;
    if let Some(call) = &settings.call {
        if let Some(path) = &settings.metadata_file {
            write_atomic(path, &answer_metadata(&built.response.metadata))?;
        }
        return call::print(call, settings, &built.response.metadata);
    }
    if let Some(path) = &settings.iidfile {
        write_atomic(path, image_id(response)).context("writing image ID file")?;
    }
    if let Some(path) = &settings.metadata_file {
        let mut more = built.provenance.clone();
        if settings.metadata_warnings && !drawn.warnings.is_empty() {
            let warnings = drawn.warnings.iter().map(progress::warning_json).collect();
            more.insert("buildx.build.warnings".into(), Value::Array(warnings));
        }
        write_atomic(path, &metadata(response, &format!("{}/{}", builder.name, built.id), more))?;
    }
    if settings.progress.is_for_people() {
        tell_summary(drawn);
        if settings.notice == Notice::KeptByDefault {
            console::note(kept(&settings.tags, &built.kept, builder));
        }
        built.notes.iter().for_each(|n| console::note(format_args!("NOTE: {n}\n")));
    } else if settings.progress == ProgressMode::Quiet && !image_id(response).is_empty() {
        console::out(format!("{}\n", image_id(response)))?;
    }
    if let Some(message) = response.get("frontend.result.inlinemessage") {
        console::out(format!("\n{message}\n"))?;
    }
    if settings.verify {
        verify::tell(response, settings.progress)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How long it took, and what it was.
pub(super) fn tell_summary(drawn: &Drawn) {
    console::note(format_args!("{}\n", drawn.summary));
    if let Some(emulated) = &drawn.summary.emulated {
        console::note(format_args!(
            "{emulated}. To compile without: FROM --platform=$BUILDPLATFORM, and a compiler that is told $TARGETARCH\n"
        ));
    }
}

/// Where images of these names are now.
pub(super) fn kept(tags: &[String], stores: &[String], builder: &Builder) -> String {
    let (names, at) = (tags.join(", "), stores.join(", "));
    match (builder.place(), stores) {
        (Ok(Place::Own(_)), _) if !builder.is_kept => {
            let first = tags.first().map_or("", String::as_str);
            format!("Kept as {names} in Kiln's store; try it: kiln run --rm {first}\n")
        }
        (_, [_, _, ..]) => format!("Kept as {names} in the stores of {at}, each with its own platforms\n"),
        _ => format!("Kept as {names} in the store of {at}\n"),
    }
}

/// A build that fails must not leave the ID of the one before.
fn remove_stale(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from(e).context("removing image ID file"))
        }
        _ => Ok(()),
    }
}

/// Findings of the frontend, each once.
pub(super) fn print_warnings(warnings: &[VertexWarning], mode: ProgressMode, all: bool) {
    if mode.is_for_people() {
        console::note(warnings_text(warnings, all));
    }
}

fn warnings_text(warnings: &[VertexWarning], all: bool) -> String {
    let mut seen: Vec<&VertexWarning> = Vec::new();
    for warning in warnings {
        if !seen
            .iter()
            .any(|s| (&s.short, &s.source, &s.url) == (&warning.short, &warning.source, &warning.url))
        {
            seen.push(warning);
        }
    }
    let count = match seen.len() {
        0 => return String::new(),
        1 => "1 warning found".to_owned(),
        n => format!("{n} warnings found"),
    };
    let expand = if all { "" } else { " (use --debug to expand)" };
    let mut out = format!("\n {count}{expand}:\n");
    for warning in seen {
        out.push_str(&format!(" - {}\n", warning.short));
        if all {
            warning.detail.iter().for_each(|d| out.push_str(&format!("{d}\n")));
            if !warning.url.is_empty() {
                out.push_str(&format!("More info: {}\n", warning.url));
            }
            if let Some(source) = &warning.source {
                out.push_str(&progress::source_frame(source));
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use errdefs::{Range, SourceInfo, SourceLocation};

    use super::*;

    fn warning(line: u32) -> VertexWarning {
        VertexWarning {
            vertex: oci::Digest::of("v"),
            level: 1,
            short: format!("FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line {line})"),
            detail: vec!["The 'as' keyword should match the case of the 'from' keyword".into()],
            url: "https://docs.docker.com/go/dockerfile/rule/from-as-casing/".into(),
            source: Some(SourceLocation {
                info: SourceInfo {
                    filename: "Dockerfile".into(),
                    data: b"FROM a as b\nFROM b as c\n".to_vec(),
                    ..SourceInfo::default()
                },
                ranges: vec![Range::lines(line, line)],
            }),
        }
    }

    #[test]
    fn one_warning_twice_is_told_once() {
        insta::assert_snapshot!(warnings_text(&[warning(1), warning(1)], false));
    }

    #[test]
    fn debug_shows_all() {
        insta::assert_snapshot!(warnings_text(&[warning(1), warning(2)], true));
    }
}
