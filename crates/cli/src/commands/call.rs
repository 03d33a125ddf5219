//! `kiln build --call`: what a frontend answers.

use std::path::Path;
use std::process::ExitCode;

use client::Metadata;
use dockerfile::answer::{Findings, Outline, Questions, Targets, VERSION};
use errdefs::{Error, Result, ResultExt as _, SourceLocation};
use serde::de::DeserializeOwned;

use crate::console;
use crate::settings::{BuildSettings, CallSetting};

/// An answer as it is shown.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Shown {
    pub text: String,
    /// Why the file could not be built, were it asked for.
    pub error: Option<String>,
    pub status: u8,
}

/// Prints the answer and gives the exit code that goes with it.
pub(super) fn print(call: &CallSetting, settings: &BuildSettings, answer: &Metadata) -> Result<ExitCode> {
    let shown = show(call, answer, |name| place(settings, name))?;
    console::out(shown.text)?;
    match shown.error {
        Some(error) => Err(Error::user(error)),
        None => Ok(ExitCode::from(shown.status)),
    }
}

/// The Dockerfile as the user knows it; the engine knows its last name only.
pub(super) fn place(settings: &BuildSettings, name: &str) -> String {
    match (settings.dockerfile.as_deref(), settings.context.as_str()) {
        (Some("-"), _) => "stdin".to_owned(),
        (Some(file), _) => file.to_owned(),
        (None, ".") => name.to_owned(),
        (None, context) if Path::new(context).is_dir() => Path::new(context).join(name).display().to_string(),
        (None, _) => name.to_owned(),
    }
}

pub(super) fn show(call: &CallSetting, answer: &Metadata, place: impl Fn(&str) -> String) -> Result<Shown> {
    let text = |key: &str| answer.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
    let json = text("result.json");
    let status = text("result.statuscode").and_then(|s| s.parse().ok()).filter(|_| !call.ignore_status);
    let plain = |text: String| Ok(Shown { text, ..Shown::default() });
    let known = matches!(call.name.as_str(), "lint" | "outline" | "targets" | "subrequests.describe");
    // A form that is newer than this program is shown as the frontend shows it.
    let ready = text("result.txt").filter(|t| !known || (!t.is_empty() && is_newer(text("version"))));
    let printed = match (&json, ready) {
        (Some(json), _) if call.json => Some(format!("{json}\n")),
        (_, ready) => ready,
    };
    match (call.name.as_str(), printed) {
        ("lint", printed) => lint(&read(call, json)?, printed, status.unwrap_or_default(), place),
        (_, Some(printed)) if known => plain(printed),
        ("outline", None) => plain(read::<Outline>(call, json)?.text()),
        ("targets", None) => plain(read::<Targets>(call, json)?.text()),
        ("subrequests.describe", None) => plain(read::<Questions>(call, json)?.text()),
        (_, Some(text)) => Ok(Shown { text, status: status.unwrap_or_default(), error: None }),
        (name, None) => Err(Error::user(format!("the frontend has no answer to `{name}`"))),
    }
}

fn lint(
    findings: &Findings,
    printed: Option<String>,
    status: u8,
    place: impl Fn(&str) -> String,
) -> Result<Shown> {
    let frame = |location: &SourceLocation| {
        let mut location = location.clone();
        location.info.filename = place(&location.info.filename);
        progress::source_frame(&location)
    };
    let for_people = printed.is_none();
    let others = findings.others_text(frame);
    let error = findings.error_text(frame);
    let mut text = printed.unwrap_or_else(|| match findings.warnings.len() {
        0 if error.is_some() => String::new(),
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => format!("Check complete, 1 warning has been found!\n{}", findings.text(frame)),
        n => format!("Check complete, {n} warnings have been found!\n{}", findings.text(frame)),
    });
    if for_people && error.is_some() {
        if !findings.warnings.is_empty() {
            text.push('\n');
        }
        text.push_str(&others);
    }
    Ok(Shown { text, error: error.map(|e| e.trim_end().to_owned()), status })
}

fn read<T: DeserializeOwned>(call: &CallSetting, json: Option<String>) -> Result<T> {
    let json = json.ok_or_else(|| Error::user(format!("the frontend has no answer to `{}`", call.name)))?;
    serde_json::from_str(&json)
        .map_err(|e| Error::user(e.to_string()))
        .with_context(|| format!("failed to read the answer to `{}`", call.name))
}

/// Whether an answer is of a later version than those that are known here.
fn is_newer(version: Option<String>) -> bool {
    let numbers = |v: &str| v.split('.').map(|n| n.parse::<u64>().unwrap_or_default()).collect::<Vec<_>>();
    version.is_some_and(|version| numbers(&version) > numbers(VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNED: &str = r#"{"warnings":[{"ruleName":"R","url":"u","detail":"d","location":{"ranges":[{"start":{"line":1},"end":{"line":1}}]}}],"sources":[{"filename":"Dockerfile","data":"RlJPTSBhIGFzIGIK"}]"#;

    fn answer(json: &str, more: &[(&str, &str)]) -> Metadata {
        let more = more.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec()));
        more.chain([("result.json".to_owned(), json.as_bytes().to_vec())]).collect()
    }

    fn told(call: &str, answer: &Metadata) -> String {
        let (name, json) = call.split_once(',').map_or((call, false), |(name, _)| (name, true));
        let call = CallSetting { name: name.into(), json, ignore_status: false };
        match show(&call, answer, |name| format!("dir/{name}")) {
            Ok(Shown { text, error, status }) => {
                let error = error.map(|e| format!("ERROR: {e}\n")).unwrap_or_default();
                format!("{text}{error}exit {status}")
            }
            Err(e) => format!("refused: {e}"),
        }
    }

    #[test]
    fn findings() {
        let one = answer(&format!("{WARNED}}}"), &[("result.statuscode", "1"), ("version", "1.0.0")]);
        insta::assert_snapshot!(told("lint", &one));
        let clean = answer(r#"{"warnings":null,"sources":[]}"#, &[("result.statuscode", "0")]);
        assert_eq!(told("lint", &clean), "Check complete, no warnings found.\nexit 0");
    }

    #[test]
    fn findings_of_a_file_that_cannot_be_built() {
        let error = r#","buildError":{"message":"m","location":{"ranges":[{"start":{"line":1}}]}}}"#;
        insta::assert_snapshot!(told("lint", &answer(&format!("{WARNED}{error}"), &[])));
        let alone = format!(r#"{{"sources":[]{error}"#);
        assert_eq!(told("lint", &answer(&alone, &[])), "ERROR: m\nexit 0");
        assert_eq!(told("lint,json", &answer(&alone, &[])), format!("{alone}\nERROR: m\nexit 0"));
    }

    #[test]
    fn tables() {
        let targets = answer(r#"{"targets":[{"name":"a","description":"x"},{"default":true}]}"#, &[]);
        assert_eq!(told("targets", &targets), "TARGET    DESCRIPTION\na         x\n(default) \nexit 0");
        let outline = answer(r#"{"args":[{"name":"A","value":"1"}]}"#, &[("result.statuscode", "3")]);
        assert_eq!(
            told("outline", &outline),
            "BUILD ARG   VALUE   DESCRIPTION\nA           1       \n\nexit 0"
        );
    }

    #[test]
    fn other_answers_are_shown_as_they_are() {
        let odd = answer("{}", &[("result.txt", "text\n"), ("result.statuscode", "3"), ("version", "2.0.0")]);
        assert_eq!(told("odd", &odd), "text\nexit 3");
        assert_eq!(told("odd,json", &odd), "{}\nexit 3");
        // A form of the future.
        assert_eq!(told("targets", &odd), "text\nexit 0");
        assert_eq!(told("lint", &odd), "text\nexit 3");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(told("odd", &Metadata::new()), "refused: the frontend has no answer to `odd`");
        assert_eq!(told("lint", &Metadata::new()), "refused: the frontend has no answer to `lint`");
        let told = told("outline", &answer("[", &[]));
        assert!(told.starts_with("refused: failed to read the answer to `outline`: "), "{told}");
    }
}
