//! Requests that build nothing: findings, an outline, targets, and which requests there are.

use dockerfile::answer::{self, Base64, BuildError, Findings, Graph, Op, Source, Targets, Warning};
use dockerfile::lint::{Linter, own};
use errdefs::{Detail, Error, Result};
use frontend::BuildResult;
use serde::Serialize;

use super::context::Entrypoint;
use super::{Client, check_settings, parse, request, tell, with_others};
use crate::{convert, diagnose};

/// # Errors
/// For a request that is not known, and for files that cannot be built. An answer with findings holds that error.
pub(super) async fn answer(client: &Client, entrypoint: &Entrypoint, name: &str) -> Result<BuildResult> {
    match name {
        "frontend.lint" => {
            let findings = findings(client, entrypoint).await;
            let mut result = result(&findings, findings.text(progress::source_frame));
            result.metadata.insert("result.statuscode".into(), findings.status().to_string().into());
            Ok(result)
        }
        "frontend.outline" => {
            let outline = outline(client, entrypoint).await?;
            Ok(result(&outline, outline.text()))
        }
        "frontend.targets" => {
            let dockerfile =
                parse(entrypoint, &mut Linter::default()).map_err(|e| with_others(e, client, entrypoint))?;
            let targets = Targets::of(&dockerfile, &entrypoint.info.data);
            Ok(result(&targets, targets.text()))
        }
        "frontend.subrequests.describe" => Ok(result(&answer::questions(), answer::questions().text())),
        _ => Err(Error::unimplemented(format!("unsupported request {name}"))
            .with_detail(Detail::Subrequest { name: name.to_owned() })),
    }
}

fn result<T: Serialize>(answer: &T, text: String) -> BuildResult {
    let metadata = [
        ("result.json", oci::json::to_vec_indent(answer).into()),
        ("result.txt", text.into()),
        ("version", answer::VERSION.into()),
    ];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    BuildResult { metadata, ..BuildResult::default() }
}

async fn outline(client: &Client, entrypoint: &Entrypoint) -> Result<answer::Outline> {
    let mut lint = Linter::new(check_settings(client, entrypoint)?);
    let outline = async {
        let dockerfile = parse(entrypoint, &mut lint)?;
        convert::outline(request(client, entrypoint, &dockerfile, None), &mut lint).await
    };
    let outline: Result<_> = outline.await;
    tell(client, entrypoint, &lint).await?;
    outline.map_err(|e| with_others(e, client, entrypoint))
}

async fn findings(client: &Client, entrypoint: &Entrypoint) -> Findings {
    let mut findings = Findings { sources: vec![source(entrypoint)], ..Findings::default() };
    let checked = match check_settings(client, entrypoint) {
        Ok(settings) => {
            let mut lint = Linter::new(settings);
            let checked = check(client, entrypoint, &mut lint).await;
            findings.warnings = lint.findings().iter().map(Warning::from).collect();
            checked
        }
        Err(e) => Err(e),
    };
    if let Err(error) = checked {
        let ranges = error.source_location().map_or(&[][..], |location| &location.ranges);
        if client.config().in_full {
            let others = diagnose::others(&error, &entrypoint.info.data, client.config());
            findings.also = others.iter().map(|f| BuildError::new(f.message.clone(), &f.ranges)).collect();
        }
        findings.error = Some(BuildError::new(error.message().to_owned(), ranges));
    }
    findings
}

/// Without a target all stages are looked at.
async fn check(client: &Client, entrypoint: &Entrypoint, lint: &mut Linter) -> Result<()> {
    let dockerfile = parse(entrypoint, lint)?;
    let all_stages = client.config().target.is_empty();
    let request = convert::Request { all_stages, ..request(client, entrypoint, &dockerfile, None) };
    let checked = convert::check(request, lint, &mut convert::Faults::Fatal).await;
    if client.config().in_full {
        own::check(&dockerfile, lint);
    }
    checked
}

fn source(entrypoint: &Entrypoint) -> Source {
    let info = &entrypoint.info;
    Source {
        filename: info.filename.clone(),
        data: Base64(info.data.clone()),
        definition: entrypoint.source.definition.as_deref().map(graph),
        language: info.language.clone(),
    }
}

fn graph(definition: &llb::Definition) -> Graph {
    let op = |metadata: &llb::OpMetadata| Op {
        description: metadata.description.clone(),
        caps: metadata.caps.iter().map(|(cap, needed)| (cap.to_string(), *needed)).collect(),
    };
    Graph {
        def: definition.ops.iter().map(|op| Base64(op.to_vec())).collect(),
        metadata: definition.metadata.iter().map(|(digest, m)| (digest.to_string(), op(m))).collect(),
    }
}
