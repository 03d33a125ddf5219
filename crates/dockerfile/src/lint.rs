//! Findings that do not fail a build.

use errdefs::Range;

/// A rule, as BuildKit names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    pub description: &'static str,
    /// The last part of the address of its page.
    pub page: &'static str,
}

impl Rule {
    pub fn url(&self) -> String {
        format!("https://docs.docker.com/go/dockerfile/rule/{}/", self.page)
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
        let line = self.ranges.first().map_or(0, |r| r.start.line);
        format!("{}: {} (line {line})", self.rule.name, self.message)
    }
}

macro_rules! rules {
    ($($name:ident = $text:literal, $page:literal, $description:literal;)+) => {
        $(pub const $name: Rule = Rule { name: $text, description: $description, page: $page };)+
    };
}

rules! {
    STAGE_NAME_CASING = "StageNameCasing", "stage-name-casing", "Stage names should be lowercase";
    FROM_AS_CASING = "FromAsCasing", "from-as-casing",
        "The 'as' keyword should match the case of the 'from' keyword";
    NO_EMPTY_CONTINUATION = "NoEmptyContinuation", "no-empty-continuation",
        "Empty continuation lines will become errors in a future release";
    MAINTAINER_DEPRECATED = "MaintainerDeprecated", "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author";
    LEGACY_KEY_VALUE_FORMAT = "LegacyKeyValueFormat", "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used";
    JSON_ARGS_RECOMMENDED = "JSONArgsRecommended", "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals";
    MULTIPLE_INSTRUCTIONS_DISALLOWED = "MultipleInstructionsDisallowed", "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage";
    WORKDIR_RELATIVE_PATH = "WorkdirRelativePath", "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes";
}
