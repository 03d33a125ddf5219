//! Faults and findings, as an editor shows them.

use dockerfile::lint::{Finding, Rule, rules};
use dockerfile_llb::{Diagnosis, is_built_in};
use errdefs::Range as Place;
use lsp_types::{Code, CodeDescription, Diagnostic, DiagnosticSeverity, DiagnosticTag, Range};

use crate::document::Document;
use crate::text::Text;

/// The name under which editors show where a diagnostic comes from.
const SOURCE: &str = "kiln";

impl Document {
    /// All that is wrong with it; `ignore` is the text of its ignore file. A file for another frontend is left alone.
    pub fn diagnostics(&self, ignore: &[u8]) -> Vec<Diagnostic> {
        let text = self.text().as_bytes();
        if is_foreign(text) {
            return Vec::new();
        }
        let diagnosis = Diagnosis::of(text, ignore);
        let faults = diagnosis.faults.iter().map(|fault| Diagnostic {
            range: range(&self.text, &fault.ranges),
            severity: Some(DiagnosticSeverity::Error),
            source: Some(SOURCE.to_owned()),
            message: fault.message.clone().into(),
            ..Diagnostic::default()
        });
        self.findings.get_or_init(|| {
            let place = |finding: &Finding| (range(&self.text, &finding.ranges), finding.rule.name);
            diagnosis.findings.iter().map(place).collect()
        });
        let findings = diagnosis.findings.iter().map(|finding| of_finding(finding, &self.text));
        faults.chain(findings).collect()
    }
}

/// Whether another frontend than the one built in reads the file.
fn is_foreign(text: &[u8]) -> bool {
    let syntax = dockerfile::detect_syntax(text);
    let image = syntax.as_ref().map_or("", |syntax| syntax.first_word());
    !image.is_empty() && !is_built_in(image)
}

fn of_finding(finding: &Finding, text: &Text) -> Diagnostic {
    let Rule { name, .. } = finding.rule;
    let url = finding.rule.url();
    Diagnostic {
        range: range(text, &finding.ranges),
        severity: Some(DiagnosticSeverity::Warning),
        code: Some(Code::String(name.to_owned())),
        code_description: (!url.is_empty()).then(|| CodeDescription { href: url.into() }),
        source: Some(SOURCE.to_owned()),
        message: finding.message.clone().into(),
        tags: tag(finding.rule).map(|tag| vec![tag]),
        ..Diagnostic::default()
    }
}

fn tag(rule: Rule) -> Option<DiagnosticTag> {
    let deprecated = [rules::MAINTAINER_DEPRECATED, rules::LEGACY_KEY_VALUE_FORMAT];
    match rule {
        rule if deprecated.contains(&rule) => Some(DiagnosticTag::Deprecated),
        rules::REDUNDANT_TARGET_PLATFORM => Some(DiagnosticTag::Unnecessary),
        _ => None,
    }
}

/// The word at fault, or else the first line.
fn range(text: &Text, ranges: &[Place]) -> Range {
    let word = ranges.iter().find(|range| range.start != range.end);
    text.range(word.or(ranges.first()).copied().unwrap_or(Place::lines(1, 1)))
}
