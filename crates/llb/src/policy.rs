//! Source policies: what a build may fetch, and what it fetches instead (BuildKit's `sourcepolicy`, version 1).

use std::sync::Arc;

use errdefs::{Error, Result};
use proto::sourcepolicy::{self as wire, AttrMatch, MatchType, PolicyAction};
use regex::Regex;

use crate::op::SourceOp;

/// How often a source may be replaced, until it is taken for a circle.
const MOST_CHANGES: usize = 20;

/// Policies that hold together, asked one after the other.
#[derive(Debug, Clone, Default)]
pub struct Policies(Vec<Arc<Policy>>);

/// Rules for sources. Of those that allow or deny, the last that matches counts.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    action: PolicyAction,
    selector: Selector,
    updates: Option<wire::Update>,
}

#[derive(Debug)]
struct Selector {
    identifier: String,
    pattern: Pattern,
    constraints: Vec<Constraint>,
}

#[derive(Debug)]
enum Pattern {
    Exact,
    /// Stands for `*`, each of which is a group.
    Wildcard(Regex),
    Regex(Regex),
}

#[derive(Debug)]
struct Constraint {
    key: String,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

impl Policies {
    /// These, then others.
    pub fn and(&self, others: &Policies) -> Policies {
        Policies(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// Whether every source may be fetched as it is.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|policy| policy.rules.is_empty())
    }

    /// What is to be fetched where `source` is asked for.
    ///
    /// # Errors
    /// User errors where a policy denies the source, or replaces it again and again.
    pub fn apply(&self, source: SourceOp) -> Result<SourceOp> {
        let mut source = source;
        for _ in 0..=MOST_CHANGES {
            match self.once(&source)? {
                Some(other) => source = other,
                None => return Ok(source),
            }
        }
        Err(Error::user("too many mutations on a single source: too many operations")
            .hint("look for rules of the source policy that replace each other's results"))
    }

    fn once(&self, source: &SourceOp) -> Result<Option<SourceOp>> {
        for policy in &self.0 {
            if let Some(other) = policy.apply(source)? {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }
}

impl Policy {
    /// What the source is replaced by, if it is.
    fn apply(&self, source: &SourceOp) -> Result<Option<SourceOp>> {
        let mut denied = false;
        for rule in self.rules.iter().filter(|rule| rule.selector.matches(source)) {
            match rule.action {
                PolicyAction::Allow => denied = false,
                PolicyAction::Deny => denied = true,
                PolicyAction::Convert => {
                    let other = rule.convert(source)?;
                    if other != *source {
                        return Ok(Some(other));
                    }
                }
            }
        }
        match denied {
            true => {
                let text =
                    format!("source {:?} denied by policy: source denied by policy", source.identifier);
                Err(Error::user(text))
            }
            false => Ok(None),
        }
    }
}

impl Rule {
    fn convert(&self, source: &SourceOp) -> Result<SourceOp> {
        let updates = self.updates.as_ref().ok_or_else(|| {
            Error::user("error mutating source policy: missing destination for convert rule")
        })?;
        let to = match updates.identifier.as_str() {
            "" => &self.selector.identifier,
            to => to,
        };
        let identifier = self.selector.pattern.expand(&source.identifier, to);
        let mut other = source.clone();
        if !identifier.is_empty() {
            other.identifier = identifier;
        }
        other.attrs.extend(updates.attrs.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(other)
    }
}

impl Selector {
    fn matches(&self, source: &SourceOp) -> bool {
        let holds = |constraint: &Constraint| {
            let value = source.attrs.get(&constraint.key).map_or("", String::as_str);
            match &constraint.condition {
                Condition::Equal(want) => value == want,
                Condition::NotEqual(want) => value != want,
                Condition::Matches(regex) => regex.is_match(value),
            }
        };
        let named = || match &self.pattern {
            Pattern::Exact => false,
            Pattern::Wildcard(regex) | Pattern::Regex(regex) => regex.is_match(&source.identifier),
        };
        self.constraints.iter().all(holds) && (self.identifier == source.identifier || named())
    }
}

impl Pattern {
    /// `to` with the groups of what matched put in.
    fn expand(&self, matched: &str, to: &str) -> String {
        match self {
            Pattern::Exact => to.to_owned(),
            Pattern::Regex(regex) => regex.replace_all(matched, to).into_owned(),
            Pattern::Wildcard(regex) => match regex.captures(matched) {
                None => matched.to_owned(),
                Some(groups) => {
                    let mut text = String::new();
                    groups.expand(to, &mut text);
                    text
                }
            },
        }
    }
}

impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(all: I) -> Self {
        Policies(all.into_iter().map(Arc::new).collect())
    }
}

impl TryFrom<wire::Policy> for Policy {
    type Error = Error;

    fn try_from(policy: wire::Policy) -> Result<Self> {
        Ok(Policy { rules: policy.rules.into_iter().map(Rule::try_from).collect::<Result<_>>()? })
    }
}

impl TryFrom<wire::Rule> for Rule {
    type Error = Error;

    fn try_from(rule: wire::Rule) -> Result<Self> {
        let selector = rule.selector.ok_or_else(|| Error::user("invalid nil selector in policy"))?;
        let unknown = |_| {
            let (action, name) = (rule.action, &selector.identifier);
            Error::user(format!("source policy: rule {action} {name}: unknown type"))
        };
        let action = PolicyAction::try_from(rule.action).map_err(unknown)?;
        Ok(Rule { action, selector: selector.try_into()?, updates: rule.updates })
    }
}

impl TryFrom<wire::Selector> for Selector {
    type Error = Error;

    fn try_from(selector: wire::Selector) -> Result<Self> {
        let identifier = selector.identifier;
        let kind = MatchType::try_from(selector.match_type);
        let pattern = match kind.map_err(|_| unknown("match type", selector.match_type))? {
            MatchType::Exact => Pattern::Exact,
            MatchType::Regex => Pattern::Regex(regex(&identifier)?),
            MatchType::Wildcard => Pattern::Wildcard(wildcard(&identifier)?),
        };
        let constraints =
            selector.constraints.into_iter().map(Constraint::try_from).collect::<Result<_>>()?;
        Ok(Selector { identifier, pattern, constraints })
    }
}

impl TryFrom<wire::AttrConstraint> for Constraint {
    type Error = Error;

    fn try_from(constraint: wire::AttrConstraint) -> Result<Self> {
        let wire::AttrConstraint { key, value, condition } = constraint;
        let kind = AttrMatch::try_from(condition).map_err(|_| unknown("attr condition", condition))?;
        let condition = match kind {
            AttrMatch::Equal => Condition::Equal(value),
            AttrMatch::Notequal => Condition::NotEqual(value),
            AttrMatch::Matches => Condition::Matches(regex(&value)?),
        };
        Ok(Constraint { key, condition })
    }
}

fn regex(text: &str) -> Result<Regex> {
    Regex::new(text)
        .map_err(|e| Error::user(format!("error matching source policy: invalid regex {text:?}: {e}")))
}

fn wildcard(text: &str) -> Result<Regex> {
    if text.contains("**") {
        let text = format!("failed to translate wildcard {text:?} to regexp: invalid wildcard: \"**\"");
        return Err(Error::user(text));
    }
    regex(&format!("^{}$", regex::escape(text).replace(r"\*", "(.*)")))
}

fn unknown(what: &str, number: i32) -> Error {
    Error::user(format!("source policy: unknown {what} {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules by lines: `deny wildcard FROM`, `convert regex FROM TO [key=value]`, `allow exact FROM [key=value]`, where
    /// attributes of a rule that converts are set and those of others asked for.
    fn policies(text: &str) -> Policies {
        let rule = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let pairs = |words: &[&str]| -> Vec<(String, String)> {
                let pairs = words.iter().filter_map(|word| word.split_once('='));
                pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
            };
            let mut selector = wire::Selector { identifier: words[2].into(), ..Default::default() };
            selector.match_type = match words[1] {
                "wildcard" => MatchType::Wildcard.into(),
                "exact" => MatchType::Exact.into(),
                _ => MatchType::Regex.into(),
            };
            let (mut action, mut updates) = (PolicyAction::Convert, None);
            match words[0] {
                "convert" => {
                    let attrs = pairs(&words[4..]).into_iter().collect();
                    updates = Some(wire::Update { identifier: words[3].trim_matches('-').into(), attrs });
                }
                other => {
                    action = if other == "deny" { PolicyAction::Deny } else { PolicyAction::Allow };
                    let constraint = |(key, value)| wire::AttrConstraint { key, value, condition: 0 };
                    selector.constraints = pairs(&words[3..]).into_iter().map(constraint).collect();
                }
            }
            wire::Rule { action: action.into(), selector: Some(selector), updates }
        };
        let rules = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(rule).collect();
        [Policy::try_from(wire::Policy { version: 1, rules }).unwrap()].into_iter().collect()
    }

    #[test]
    fn rules_decide_what_is_fetched() {
        let denied = "source \"img:1\" denied by policy: source denied by policy";
        for (text, source, want) in [
            ("", "img:1", "img:1"),
            ("deny exact img:1", "img:1", denied),
            ("deny exact img:1", "img:12", "img:12"),
            ("deny wildcard img:*\nallow exact img:1", "img:1", "img:1"),
            ("allow exact img:1\ndeny wildcard *", "img:1", denied),
            ("convert wildcard img:* img:${1}-slim\ndeny wildcard *", "img:1-slim", "too many"),
            ("convert exact img:1 img:2", "img:1", "img:2"),
            ("convert exact img:1 img:2\ndeny exact img:1", "img:1", "img:2"),
            ("convert exact img:1 img:2\ndeny exact img:2", "img:1", "source \"img:2\" denied"),
            ("convert wildcard *:1 $1:2", "img:1", "img:2"),
            ("convert regex ^i(.+):1$ o${1}:2", "img:1", "omg:2"),
            ("convert exact a b\nconvert exact b a", "a", "too many mutations on a single source"),
            ("convert exact img:1 -- http.checksum=sha256:1", "img:1", "img:1 http.checksum=sha256:1"),
            ("deny exact img:1 k=v", "img:1", "img:1"),
            ("convert exact img:1 -- k=v\ndeny exact img:1 k=v", "img:1", denied),
        ] {
            let op = SourceOp { identifier: source.into(), attrs: Default::default() };
            let got = match policies(text).apply(op) {
                Ok(op) => {
                    op.attrs.iter().fold(op.identifier, |all, (key, value)| format!("{all} {key}={value}"))
                }
                Err(e) => e.to_string(),
            };
            assert!(got == want || (want.len() < got.len() && got.starts_with(want)), "{text}: {got}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rule = |selector| wire::Policy {
            version: 1,
            rules: vec![wire::Rule { selector, ..Default::default() }],
        };
        let selector = |identifier: &str, match_type| {
            Some(wire::Selector { identifier: identifier.into(), match_type, ..Default::default() })
        };
        for (policy, want) in [
            (rule(None), "invalid nil selector in policy"),
            (rule(selector("a**", 0)), "failed to translate wildcard"),
            (rule(selector("(", 2)), "error matching source policy: invalid regex"),
            (rule(selector("a", 9)), "source policy: unknown match type 9"),
        ] {
            let error = Policy::try_from(policy).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
