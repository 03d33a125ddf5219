//! Findings that do not fail a build.

use errdefs::Range;

use crate::{Error, Result};

mod file;
pub mod own;
pub mod rules;
mod settings;

pub(crate) use file::check as check_file;
pub use settings::Settings;

/// A rule, as BuildKit names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    pub description: &'static str,
    /// The last part of the address of its page; empty when it has none.
    pub page: &'static str,
    /// Looked at only when asked for.
    pub experimental: bool,
}

impl Rule {
    pub fn url(&self) -> String {
        match self.page {
            "" => String::new(),
            page => format!("https://docs.docker.com/go/dockerfile/rule/{page}/"),
        }
    }
}

/// One violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: Rule,
    pub message: String,
    pub ranges: Vec<Range>,
}

impl Finding {
    /// `<Rule>: <message> (line N)`, the form in which clients show it.
    pub fn short(&self) -> String {
        let line = match self.ranges.first() {
            Some(range) if range.start.line > 0 => format!(" (line {})", range.start.line),
            _ => String::new(),
        };
        format!("{}: {}{line}", self.rule.name, self.message)
    }
}

/// Collects findings, as far as anybody wants to know of them.
#[derive(Debug, Clone, Default)]
pub struct Linter {
    settings: Settings,
    findings: Vec<Finding>,
}

impl Linter {
    pub fn new(settings: Settings) -> Self {
        Linter { settings, findings: Vec::new() }
    }

    /// `comments` are those above the instruction: they may silence a rule, or ask for one.
    pub fn find(&mut self, rule: Rule, message: String, ranges: Vec<Range>, comments: &[String]) {
        if self.settings.merged(&Settings::of_comments(comments)).wants(&rule) {
            self.findings.push(Finding { rule, message, ranges });
        }
    }

    /// In the order in which they were found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    pub(crate) fn keep(&mut self, count: usize) {
        self.findings.truncate(count);
    }

    /// # Errors
    /// For findings, where these are to fail the build.
    pub fn verdict(&self) -> Result<()> {
        if !self.settings.fail || self.findings.is_empty() {
            return Ok(());
        }
        let mut rules: Vec<_> = self.findings.iter().map(|f| f.rule.name).collect();
        rules.sort_unstable();
        rules.dedup();
        Err(Error::new(format!("lint violation found for rules: {}", rules.join(", "))))
    }
}
