//! What a client is told of a check.

use std::time::Duration;

use oci::Digest;
use serde::Serialize;

/// The answer; `docs/reproducible.md` describes it for those who read it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub reproducible: bool,
    pub first: Run,
    pub second: Run,
    /// SOURCE_DATE_EPOCH was given. Without it, both are compared as if they had been made when the first one began.
    pub dated: bool,
    /// Where they part ways.
    #[serde(flatten)]
    pub found: Found,
}

#[derive(Debug, Clone, Serialize)]
pub struct Run {
    digest: String,
    seconds: f64,
}

impl Run {
    pub fn new(digest: &Digest, took: Duration) -> Self {
        Run { digest: digest.to_string(), seconds: (took.as_secs_f64() * 10.0).round() / 10.0 }
    }
}

impl Report {
    pub fn new(first: Run, second: Run, dated: bool) -> Self {
        Report { reproducible: first.digest == second.digest, first, second, dated, found: Found::default() }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// How many files differ, also beyond those that are listed.
    pub total: usize,
    /// The likeliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
}

/// The first step that made something else of the same.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub name: String,
    pub digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Source {
    pub filename: String,
    pub language: String,
    pub data: String,
    pub ranges: Vec<errdefs::Range>,
}

#[derive(Debug, Clone, Serialize)]
pub struct File {
    pub path: String,
    /// `first` or `second` where only one has it; else words as `content`, `mtime`.
    pub differs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Cause {
    pub cause: &'static str,
    /// What may help.
    #[serde(rename = "try")]
    pub remedy: &'static str,
    /// How many files it explains.
    pub files: usize,
}
