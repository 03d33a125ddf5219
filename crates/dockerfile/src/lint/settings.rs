use std::collections::BTreeSet;

use super::Rule;
use crate::directive::Reader;
use crate::{Error, Result, go};

/// What is to become of findings: `# check=skip=RuleA,RuleB;error=true;experimental=RuleC`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    skip: Names,
    experimental: Names,
    /// A finding fails the build.
    pub fail: bool,
}

/// Rules by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Names {
    all: bool,
    list: BTreeSet<String>,
}

impl Names {
    fn parse(text: &str) -> Names {
        match text.trim() {
            "all" => Names { all: true, ..Names::default() },
            list => Names { all: false, list: list.split(',').map(|n| n.trim().to_owned()).collect() },
        }
    }

    fn has(&self, rule: &Rule) -> bool {
        self.all || self.list.contains(rule.name)
    }

    fn merged(&self, other: &Names) -> Names {
        Names { all: self.all || other.all, list: self.list.union(&other.list).cloned().collect() }
    }
}

impl Settings {
    /// No rule is looked at.
    pub fn silent() -> Settings {
        Settings { skip: Names { all: true, ..Names::default() }, ..Settings::default() }
    }

    /// # Errors
    /// For options that are not known.
    pub fn parse(text: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(settings);
        }
        for part in text.splitn(3, ';') {
            let invalid = |what: &str| Error::new(format!("invalid check option {}", go::quote(what)));
            let (key, value) = part.split_once('=').ok_or_else(|| invalid(part))?;
            match key.trim() {
                "skip" => settings.skip = Names::parse(value),
                "experimental" => settings.experimental = Names::parse(value),
                "error" => settings.fail = switch(value.trim(), part)?,
                other => return Err(invalid(other)),
            }
        }
        Ok(settings)
    }

    /// What the comment above an instruction says. One that cannot be read says nothing.
    pub(super) fn of_comments(comments: &[String]) -> Settings {
        let check =
            |comment: &String| Reader::new("").read(comment, 0).ok().flatten().filter(|d| d.name == "check");
        let directive = comments.iter().find_map(check);
        directive.and_then(|d| Settings::parse(d.first_word()).ok()).unwrap_or_default()
    }

    /// Those of the file with those of an instruction, which cannot fail the build.
    pub(super) fn merged(&self, of_instruction: &Settings) -> Settings {
        Settings {
            skip: self.skip.merged(&of_instruction.skip),
            experimental: self.experimental.merged(&of_instruction.experimental),
            fail: self.fail,
        }
    }

    pub(super) fn wants(&self, rule: &Rule) -> bool {
        if rule.experimental { self.experimental.has(rule) } else { !self.skip.has(rule) }
    }
}

fn switch(value: &str, part: &str) -> Result<bool> {
    oci::parse_bool(value).ok_or_else(|| {
        let fault = format!("strconv.ParseBool: parsing {}: invalid syntax", go::quote(value));
        Error::new(fault).context(format_args!("failed to parse check option {}", go::quote(part)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::rules::*;
    use super::*;

    const SOME: [Rule; 3] = [STAGE_NAME_CASING, FROM_AS_CASING, INVALID_DEFINITION_DESCRIPTION];

    fn wanted(settings: &Settings) -> Vec<&'static str> {
        SOME.iter().filter(|r| settings.wants(r)).map(|r| r.name).collect()
    }

    #[test]
    fn settings() {
        let check = |text, expected: &[&str], fail| {
            let settings = Settings::parse(text).expect(text);
            assert_eq!((wanted(&settings).as_slice(), settings.fail), (expected, fail), "{text}");
        };
        check("", &["StageNameCasing", "FromAsCasing"], false);
        check("skip=StageNameCasing, FromAsCasing;error=true", &[], true);
        check("error=false;skip=all;experimental=all", &["InvalidDefinitionDescription"], false);
        check(
            "experimental=InvalidDefinitionDescription;skip=FromAsCasing",
            &["StageNameCasing", "InvalidDefinitionDescription"],
            false,
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |text, expected| {
            assert_eq!(Settings::parse(text).expect_err(text).to_string(), expected);
        };
        check("x", "invalid check option \"x\"");
        check("x=y", "invalid check option \"x\"");
        check("skip=A;", "invalid check option \"\"");
        check(
            "error=maybe",
            "failed to parse check option \"error=maybe\": strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
    }

    #[test]
    fn comments_silence_rules() {
        let of = |comments: &[&str]| {
            let comments: Vec<String> = comments.iter().map(|c| (*c).to_owned()).collect();
            Settings::default().merged(&Settings::of_comments(&comments))
        };
        assert_eq!(wanted(&of(&["about", "check=skip=FromAsCasing for now"])), ["StageNameCasing"]);
        assert_eq!(wanted(&of(&["check=experimental=all"])), SOME.map(|r| r.name));
        assert_eq!(wanted(&of(&["about"])), ["StageNameCasing", "FromAsCasing"]);
        assert!(!of(&["check=error=true"]).fail);
    }
}
