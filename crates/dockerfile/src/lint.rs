//! Findings that do not fail a build.

use std::collections::BTreeSet;

use errdefs::Range;

use crate::directive::Reader;
use crate::{Error, Result, go};

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

/// What is to become of findings: `# check=skip=RuleA,RuleB;error=true`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    skip_all: bool,
    skipped: BTreeSet<String>,
    /// A finding fails the build.
    pub fail: bool,
}

impl Settings {
    /// # Errors
    /// For options that are not known.
    pub fn parse(text: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        for part in text.trim().splitn(3, ';').filter(|part| !part.is_empty()) {
            let invalid = |what: &str| Error::new(format!("invalid check option {}", go::quote(what)));
            let (key, value) = part.split_once('=').ok_or_else(|| invalid(part))?;
            match (key.trim(), value.trim()) {
                ("skip", "all") => settings.skip_all = true,
                ("skip", names) => settings.skipped = names.split(',').map(|n| n.trim().to_owned()).collect(),
                // No experimental rule is there yet.
                ("experimental", _) => {}
                ("error", value) => settings.fail = go::parse_bool(value).ok_or_else(|| invalid(part))?,
                (other, _) => return Err(invalid(other)),
            }
        }
        Ok(settings)
    }

    /// What the comment above an instruction says. One that cannot be read says nothing.
    pub fn of_comments(comments: &[String]) -> Settings {
        let check =
            |comment: &String| Reader::new("").read(comment, 0).ok().flatten().filter(|d| d.name == "check");
        let directive = comments.iter().find_map(check);
        directive.and_then(|d| Settings::parse(d.first_word()).ok()).unwrap_or_default()
    }

    pub fn skips(&self, rule: &Rule) -> bool {
        self.skip_all || self.skipped.contains(rule.name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let check = |text, skipped: &[&Rule], fail| {
            let settings = Settings::parse(text).expect(text);
            let all = [STAGE_NAME_CASING, FROM_AS_CASING, MAINTAINER_DEPRECATED];
            let got: Vec<_> = all.iter().filter(|r| settings.skips(r)).collect();
            assert_eq!((got.as_slice(), settings.fail), (skipped, fail), "{text}");
        };
        check("", &[], false);
        check("skip=StageNameCasing, FromAsCasing;error=true", &[&STAGE_NAME_CASING, &FROM_AS_CASING], true);
        check("error=false;skip=all", &[&STAGE_NAME_CASING, &FROM_AS_CASING, &MAINTAINER_DEPRECATED], false);
        for bad in ["x", "x=y", "error=maybe"] {
            assert!(Settings::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn comments_silence_rules() {
        let comments = ["about".to_owned(), "check=skip=FromAsCasing for now".to_owned()];
        assert!(Settings::of_comments(&comments).skips(&FROM_AS_CASING));
        assert!(!Settings::of_comments(&comments[..1]).skips(&FROM_AS_CASING));
    }
}
