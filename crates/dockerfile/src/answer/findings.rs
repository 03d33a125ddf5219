use std::collections::BTreeMap;

use errdefs::{Range, SourceInfo, SourceLocation};
use serde::{Deserialize, Serialize};

use super::Location;
use super::form::{self, Base64};
use crate::lint::Finding;

/// The answer to `frontend.lint`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    #[serde(with = "form::null_list")]
    pub warnings: Vec<Warning>,
    #[serde(with = "form::null_list")]
    pub sources: Vec<Source>,
    /// Why the file cannot be built.
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    pub error: Option<BuildError>,
    /// What else is wrong with the file. Kiln alone tells, and only where it is asked for.
    #[serde(rename = "otherErrors", skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<BuildError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Warning {
    #[serde(rename = "ruleName")]
    pub rule: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    pub location: Location,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildError {
    pub message: String,
    pub location: Location,
}

/// A file that locations point into.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filename: String,
    #[serde(skip_serializing_if = "form::is_default")]
    pub data: Base64,
    /// What delivered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Graph>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
}

/// The ops of a graph, encoded, and what is said of each by its digest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Graph {
    pub def: Vec<Base64>,
    pub metadata: BTreeMap<String, Op>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Op {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub description: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub caps: BTreeMap<String, bool>,
}

impl From<&Finding> for Warning {
    fn from(finding: &Finding) -> Self {
        Warning {
            rule: finding.rule.name.to_owned(),
            description: finding.rule.description.to_owned(),
            url: finding.rule.url(),
            detail: finding.message.clone(),
            location: Location::new(&finding.ranges),
        }
    }
}

impl BuildError {
    pub fn new(message: String, ranges: &[Range]) -> Self {
        BuildError { message, location: Location::new(ranges) }
    }
}

impl Findings {
    /// 1 where there is something to find fault with.
    pub fn status(&self) -> u8 {
        u8::from(!self.warnings.is_empty() || self.error.is_some())
    }

    /// The warnings from top to bottom. `frame` draws lines of a source.
    pub fn text(&self, frame: impl Fn(&SourceLocation) -> String) -> String {
        let mut sorted: Vec<&Warning> = self.warnings.iter().collect();
        let place = |w: &Warning| self.source(&w.location).map(|s| s.filename.as_str());
        sorted.sort_by(|a, b| {
            let line = |w: &Warning| w.location.first_line();
            place(a).cmp(&place(b)).then_with(|| match (line(a), line(b)) {
                (0, 0) => a.rule.cmp(&b.rule),
                (a, b) => a.cmp(&b),
            })
        });
        let mut out = String::new();
        for warning in sorted {
            let url = if warning.url.is_empty() { String::new() } else { format!(" - {}", warning.url) };
            out.push_str(&format!("\nWARNING: {}{url}\n{}\n", warning.rule, warning.detail));
            out.push_str(&self.frame(&warning.location, &frame));
        }
        out
    }

    /// Why the file cannot be built, and where the fault is.
    pub fn error_text(&self, frame: impl Fn(&SourceLocation) -> String) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!("{}\n{}", error.message, self.frame(&error.location, &frame)))
    }

    /// The other faults, each with its place.
    pub fn others_text(&self, frame: impl Fn(&SourceLocation) -> String) -> String {
        let told = |e: &BuildError| format!("ALSO: {}\n{}", e.message, self.frame(&e.location, &frame));
        self.also.iter().map(told).collect()
    }

    fn source(&self, location: &Location) -> Option<&Source> {
        usize::try_from(location.source).ok().and_then(|at| self.sources.get(at))
    }

    fn frame(&self, location: &Location, frame: &impl Fn(&SourceLocation) -> String) -> String {
        let Some(source) = self.source(location) else { return String::new() };
        frame(&SourceLocation {
            info: SourceInfo {
                filename: source.filename.clone(),
                data: source.data.0.clone(),
                language: source.language.clone(),
                definition: Vec::new(),
            },
            ranges: location.ranges(),
        })
    }
}
