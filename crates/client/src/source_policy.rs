//! Source policies in files.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use prost::Message as _;
use proto::sourcepolicy as wire;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// What the sources of a build are judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePolicy(pub(crate) wire::Policy);

impl SourcePolicy {
    /// Reads a policy: JSON as BuildKit writes it, or the bytes of its message.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        match serde_json::from_slice::<Policy>(bytes) {
            Ok(policy) => Ok(SourcePolicy(policy.into())),
            Err(json) => wire::Policy::decode(bytes).map(SourcePolicy).map_err(|_| {
                Error::user(format!("failed to parse source policy: {json}"))
                    .hint("a policy is JSON: {\"rules\": [{\"action\": \"DENY\", \"selector\": {\"identifier\": \"docker-image://*\"}}]}")
            }),
        }
    }
}

#[derive(Deserialize)]
struct Policy {
    #[serde(default)]
    version: i64,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default, deserialize_with = "number::<wire::PolicyAction, _>")]
    action: i32,
    selector: Option<Selector>,
    updates: Option<Updates>,
}

#[derive(Deserialize)]
struct Selector {
    #[serde(default)]
    identifier: String,
    #[serde(default, deserialize_with = "number::<wire::MatchType, _>")]
    match_type: i32,
    #[serde(default)]
    constraints: Vec<Constraint>,
}

#[derive(Deserialize)]
struct Constraint {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default, deserialize_with = "number::<wire::AttrMatch, _>")]
    condition: i32,
}

#[derive(Deserialize)]
struct Updates {
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// An enumeration of the wire, which JSON names or numbers.
trait Named: Sized + Into<i32> + TryFrom<i32> {
    fn named(name: &str) -> Option<Self>;
}

macro_rules! named {
    ($($kind:ty),+) => { $(impl Named for $kind {
        fn named(name: &str) -> Option<Self> { Self::from_str_name(name) }
    })+ };
}

named!(wire::PolicyAction, wire::MatchType, wire::AttrMatch);

fn number<'de, T: Named, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Name(String),
        Number(i32),
    }
    let (value, told) = match Value::deserialize(from)? {
        Value::Name(name) => (T::named(&name), name),
        Value::Number(number) => (T::try_from(number).ok(), number.to_string()),
    };
    value.map(Into::into).ok_or_else(|| D::Error::custom(format!("`{told}` has no meaning here")))
}

impl From<Policy> for wire::Policy {
    fn from(policy: Policy) -> Self {
        wire::Policy { version: policy.version, rules: policy.rules.into_iter().map(Into::into).collect() }
    }
}

impl From<Rule> for wire::Rule {
    fn from(rule: Rule) -> Self {
        let constraint =
            |Constraint { key, value, condition }| wire::AttrConstraint { key, value, condition };
        let selector = rule.selector.map(|Selector { identifier, match_type, constraints }| wire::Selector {
            identifier,
            match_type,
            constraints: constraints.into_iter().map(constraint).collect(),
        });
        let updates = rule.updates.map(|Updates { identifier, attrs }| wire::Update { identifier, attrs });
        wire::Rule { action: rule.action, selector, updates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        let text = r#"{"version":1,"rules":[
            {"action":"CONVERT","selector":{"identifier":"docker-image://a","match_type":"EXACT"},"updates":{"identifier":"b"}},
            {"action":1,"selector":{"identifier":"*","constraints":[{"key":"k","value":"v","condition":"NOTEQUAL"}]}}]}"#;
        let policy = SourcePolicy::parse(text.as_bytes()).unwrap();
        let rules = &policy.0.rules;
        assert_eq!((rules[0].action, rules[1].action), (2, 1));
        assert_eq!(rules[0].selector.as_ref().unwrap().match_type, 1);
        assert_eq!(rules[1].selector.as_ref().unwrap().constraints[0].condition, 1);
        assert_eq!(SourcePolicy::parse(&policy.0.encode_to_vec()).unwrap(), policy);
        let error = SourcePolicy::parse(br#"{"rules":[{"action":"REFUSE"}]}"#).unwrap_err();
        assert!(error.to_string().contains("`REFUSE` has no meaning here"), "{error}");
    }
}
