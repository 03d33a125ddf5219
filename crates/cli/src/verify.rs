//! `--verify`: asks an engine to build twice, and tells what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::Exporter;
use errdefs::{Class, Code, Detail, Error, Range, Result, SourceInfo, SourceLocation};
use serde::Deserialize;

use crate::console;
use crate::nodes::Chosen;
use crate::settings::ProgressMode;

/// The key of the answer.
const ANSWER: &str = "kiln.verify";
/// Files that are told; the metadata file has more.
const SHOWN: usize = 10;

/// What asks for it.
pub(crate) fn exporter() -> Exporter {
    Exporter { kind: "verify".into(), attrs: BTreeMap::new() }
}

/// Whether those who build can do it.
///
/// # Errors
/// For BuildKit, and for several nodes.
pub(crate) async fn check(nodes: &[Chosen]) -> Result<()> {
    let [node] = nodes else {
        return Err(Error::unimplemented("`--verify` is not supported for builds over several nodes")
            .hint("build one platform at a time with --platform"));
    };
    match node.client.version().await? {
        Some(version) if version.package == "kiln" => Ok(()),
        _ => Err(Error::unimplemented(format!("the engine at `{}` cannot verify builds", node.address))
            .hint("only Kiln's own engine can: leave out --builder, or choose one of driver `kiln`")),
    }
}

#[derive(Debug, Deserialize)]
struct Report {
    reproducible: bool,
    first: Run,
    second: Run,
    dated: bool,
    step: Option<Step>,
    #[serde(default)]
    files: Vec<File>,
    total: usize,
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Debug, Deserialize)]
struct Run {
    digest: String,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Step {
    name: String,
    source: Option<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    filename: String,
    language: String,
    data: String,
    ranges: Vec<Range>,
}

#[derive(Debug, Deserialize)]
struct File {
    path: String,
    differs: Vec<String>,
    cause: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    cause: String,
    #[serde(rename = "try")]
    remedy: String,
    files: usize,
}

/// Tells that both builds are the same.
///
/// # Errors
/// When they are not.
pub(crate) fn tell(response: &BTreeMap<String, String>, progress: ProgressMode) -> Result<()> {
    let missing =
        || Error::internal("the engine has built, and does not tell whether it gives the same again");
    let answer = STANDARD.decode(response.get(ANSWER).ok_or_else(missing)?).map_err(|_| missing())?;
    let report: Report = serde_json::from_slice(&answer).map_err(|_| missing())?;
    let is_for_people = progress.is_for_people();
    if report.reproducible {
        if is_for_people {
            console::note(report.success());
        }
        return Ok(());
    }
    if is_for_people {
        console::note(report.differences());
    }
    Err(report.error())
}

impl Report {
    fn success(&self) -> String {
        let Report { first, second, dated, .. } = self;
        let mut text = format!(
            "Reproducible: {} (first in {:.1}s, again in {:.1}s)\n",
            first.digest, first.seconds, second.seconds
        );
        if !dated {
            text.push_str("NOTE: the time of the build is in its result; with SOURCE_DATE_EPOCH it would be the same any day\n");
        }
        text
    }

    fn differences(&self) -> String {
        let mut text = format!(
            "Not reproducible: {} (in {:.1}s), again {} (in {:.1}s)\n",
            self.first.digest, self.first.seconds, self.second.digest, self.second.seconds
        );
        let shown = &self.files[..self.files.len().min(SHOWN)];
        let width = shown.iter().map(|file| file.path.len()).max().unwrap_or_default();
        for file in shown {
            let what = match &file.differs[..] {
                [only] if only == "first" || only == "second" => format!("only in the {only} build"),
                all => all.join(", "),
            };
            let cause = file.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
            // A text takes what is written to it.
            let _ = writeln!(text, "  {:width$}  {what}{cause}", file.path);
        }
        if self.total > shown.len() {
            let _ = writeln!(text, "  and {} more", self.total - shown.len());
        }
        text
    }

    fn error(&self) -> Error {
        let message = match &self.step {
            Some(step) => format!(
                "the build is not reproducible: `{}` made something else when it ran again",
                step.name
            ),
            None => {
                "the build is not reproducible: its files are the same, the layers that hold them are not"
                    .into()
            }
        };
        let mut error = Error::new(Class::User, Code::FailedPrecondition, message);
        if let Some(source) = self.step.as_ref().and_then(|step| step.source.as_ref()) {
            let info = SourceInfo {
                filename: source.filename.clone(),
                language: source.language.clone(),
                data: source.data.clone().into_bytes(),
                ..SourceInfo::default()
            };
            error = error.with_detail(Detail::Source(SourceLocation { info, ranges: source.ranges.clone() }));
        }
        for Cause { cause, remedy, files } in &self.causes {
            let count = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
            error = error.hint(format!("{cause} ({count}): {remedy}"));
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(more: &str) -> Report {
        let text = format!(
            r#"{{"reproducible":false,"first":{{"digest":"sha256:aa","seconds":1.0}},"second":{{"digest":"sha256:bb","seconds":0.5}},
                "dated":false,{more}}}"#
        );
        serde_json::from_str(&text).expect("a report")
    }

    #[test]
    fn what_differs_is_told() {
        let report = report(
            r#""step":{"name":"[2/2] RUN date > /d","digest":"sha256:cc","source":{"filename":"Dockerfile","language":"Dockerfile",
                "data":"FROM a\nRUN date > /d\n","ranges":[{"start":{"line":2,"character":0},"end":{"line":2,"character":0}}]}},
                "files":[{"path":"/d","differs":["content","mtime"],"cause":"a date"},{"path":"/tmp/longer","differs":["second"]}],
                "total":12,"causes":[{"cause":"a date","try":"no date","files":1}]"#,
        );
        insta::assert_snapshot!(report.differences());
        let error = report.error();
        assert_eq!(error.hints(), ["a date (1 file): no date"]);
        assert_eq!(error.source_location().map(|place| place.ranges[0].start.line), Some(2));
    }

    #[test]
    fn what_is_the_same_is_told() {
        let text = report(r#""total":0"#).success();
        assert_eq!(text.lines().next(), Some("Reproducible: sha256:aa (first in 1.0s, again in 0.5s)"));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn an_engine_that_does_not_answer_is_told() {
        assert_eq!(
            tell(&BTreeMap::new(), ProgressMode::Quiet).expect_err("nothing").class(),
            Class::Internal
        );
    }
}
