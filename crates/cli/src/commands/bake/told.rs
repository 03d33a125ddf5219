//! What a bake leaves to tell.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use bake::Resolved;
use errdefs::{Error, Result};
use serde_json::{Map, Value, json};

use crate::args::BakeArgs;
use crate::commands::bake::run::Outcome;
use crate::commands::build::{kept, tell_summary};
use crate::commands::call::{self, Shown};
use crate::display::Drawn;
use crate::engine::Builder;
use crate::job::Built;
use crate::result_files::{answer_map, metadata_map, pretty, write_atomic};
use crate::settings::{BuildSettings, Notice, ProgressMode};
use crate::{console, report};

/// What was asked for.
pub(super) struct Telling<'t> {
    pub resolved: &'t Resolved,
    pub settings: &'t BTreeMap<String, BuildSettings>,
    pub builder: &'t Builder,
    pub progress: ProgressMode,
    pub args: &'t BakeArgs,
}

impl Telling<'_> {
    /// Prints and writes what was asked for; errors last.
    pub(super) fn tell(&self, outcome: Outcome, drawn: &Drawn) -> Result<ExitCode> {
        let Outcome { built, failed } = outcome;
        if !failed.is_empty() && !self.args.keep_going {
            return Err(self.first(failed));
        }
        if let Some(path) = &self.args.metadata_file {
            self.write_metadata(path, &built, drawn)?;
        }
        let answers = self.answers(&built)?;
        if answers.is_none() && self.progress.is_for_people() {
            tell_summary(drawn);
            self.tell_kept(&built);
            let mut notes: Vec<_> = built.values().flat_map(|b| &b.notes).collect();
            notes.dedup();
            notes.iter().for_each(|n| console::note(format_args!("NOTE: {n}\n")));
        }
        for (name, built) in &built {
            if let Some(message) = built.response.exporter_response.get("frontend.result.inlinemessage") {
                console::out(format!("\n# {name}\n{message}\n"))?;
            }
        }
        match failed.is_empty() {
            true => Ok(answers.unwrap_or(ExitCode::SUCCESS)),
            false => Err(self.all(failed)),
        }
    }

    /// The failure that the others followed from.
    fn first(&self, failed: Vec<(String, Error)>) -> Error {
        let place = failed.iter().position(|(_, e)| !e.is_canceled()).unwrap_or_default();
        let (name, error) = failed.into_iter().nth(place).expect("one has failed");
        if !self.progress.is_for_people() && self.progress != ProgressMode::RawJson {
            console::note(report::last_words(&error));
        }
        self.named(&name, error)
    }

    /// Tells each failure, and sums them up.
    fn all(&self, failed: Vec<(String, Error)>) -> Error {
        let names: Vec<_> = failed.iter().map(|(name, _)| name.clone()).collect();
        let count = self.settings.len();
        if count == 1 {
            return self.first(failed);
        }
        for (name, error) in failed {
            _ = report::error(&self.named(&name, error));
        }
        Error::user(format!("{} of {count} targets failed: {}", names.len(), names.join(", ")))
    }

    fn named(&self, name: &str, error: Error) -> Error {
        if self.settings.len() > 1 { error.context(format!("target {name}")) } else { error }
    }

    fn write_metadata(&self, path: &Path, built: &BTreeMap<String, Built>, drawn: &Drawn) -> Result<()> {
        let mut out = Map::new();
        for (name, built) in built {
            let fields = match self.settings[name].call {
                Some(_) => answer_map(&built.response.metadata),
                None => {
                    let id = format!("{}/{}", self.builder.name, built.id);
                    metadata_map(&built.response.exporter_response, &id, built.provenance.clone())
                }
            };
            out.insert(name.clone(), Value::Object(fields));
        }
        let asks = self.settings.values().any(|build| build.call.is_some());
        if !asks && self.settings.values().any(|b| b.metadata_warnings) && !drawn.warnings.is_empty() {
            let warnings = drawn.warnings.iter().map(progress::warning_json).collect();
            out.insert("buildx.build.warnings".into(), Value::Array(warnings));
        }
        write_atomic(path, &pretty(out))
    }

    /// Answers to questions, target by target. The first exit code that is none of success counts.
    fn answers(&self, built: &BTreeMap<String, Built>) -> Result<Option<ExitCode>> {
        let mut text = String::new();
        let mut json: BTreeMap<String, (String, Value)> = BTreeMap::new();
        let (mut code, mut as_json, mut asked) = (0, false, false);
        for (name, build) in self.settings {
            let (Some(call), Some(built)) = (&build.call, built.get(name)) else { continue };
            let shown = call::show(call, &built.response.metadata, |file| call::place(build, file));
            let shown = shown.unwrap_or_else(|e| Shown { error: Some(e.to_string()), ..Shown::default() });
            if code == 0 {
                code = if shown.error.is_some() { 1 } else { shown.status };
            }
            as_json |= call.json;
            if call.json {
                let question = if call.name == "lint" { "check" } else { &call.name };
                json.insert(name.clone(), (question.to_owned(), answer(&shown)));
            }
            let description = &self.resolved.targets[name].description;
            text.push_str(if asked { "\n" } else { "" });
            text.push_str(&format!("{name}\n"));
            if !description.is_empty() {
                text.push_str(&format!("{description}\n"));
            }
            text.push_str(&format!("\n{}", shown.text));
            if let Some(error) = &shown.error {
                text.push_str(&format!("error: {error}\n"));
            }
            asked = true;
        }
        if !asked {
            return Ok(None);
        }
        console::out(if as_json { format!("{}\n", self.resolved.print_answers(&json)) } else { text })?;
        Ok(Some(ExitCode::from(code)))
    }

    fn tell_kept(&self, built: &BTreeMap<String, Built>) {
        let is_kept = |name: &&String| self.settings[*name].notice == Notice::KeptByDefault;
        let names: Vec<&String> = built.keys().filter(is_kept).collect();
        let tags: Vec<String> = names.iter().flat_map(|name| self.settings[*name].tags.clone()).collect();
        let mut stores: Vec<String> = names.iter().flat_map(|name| built[*name].kept.clone()).collect();
        stores.sort();
        stores.dedup();
        if !tags.is_empty() {
            console::note(kept(&tags, &stores, self.builder));
        }
    }
}

/// An answer as JSON: what the frontend said, or that text.
fn answer(shown: &Shown) -> Value {
    let mut fields = match serde_json::from_str(&shown.text) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    if let Some(error) = &shown.error {
        fields.insert("error".into(), json!(error));
    }
    Value::Object(fields)
}
