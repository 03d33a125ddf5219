//! What the rule `decision` says.

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use regorus::Value;
use serde::Serialize;

/// Switches that a policy sets for the build, by name.
pub type Caps = BTreeMap<String, bool>;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Decision {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<bool>,
    #[serde(rename = "deny_msg", skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub caps: Caps,
}

/// Names of [`Caps`] that have a meaning.
const KNOWN: [&str; 1] = [crate::check::CAP_PROXY];

impl Decision {
    /// Reads the value of the rule.
    ///
    /// # Errors
    /// User errors where it has not the form of a decision.
    pub(crate) fn of(value: &Value) -> Result<Self> {
        if *value == Value::Undefined {
            return Err(Error::user("policy returned zero result")
                .hint("a policy says what it decides in the rule `decision` of `package docker`"));
        }
        if value.as_object().is_err() {
            return Err(Error::user(format!("unexpected policy return type: {}", kind(value)))
                .hint("`decision` is an object: {\"allow\": true}"));
        }
        let allow = match &value["allow"] {
            Value::Undefined => None,
            Value::Bool(allow) => Some(*allow),
            other => {
                return Err(Error::user(format!(
                    "invalid allowed property type {}, expecting bool",
                    kind(other)
                )));
            }
        };
        Ok(Decision { allow, messages: texts(&value["deny_msg"]), caps: caps(&value["caps"])? })
    }

    /// The same, where what has another form does not count; `deny_msg` may be one text.
    pub(crate) fn loosely(value: &Value) -> Option<Self> {
        value.as_object().ok()?;
        let messages = match &value["deny_msg"] {
            Value::String(one) => vec![one.to_string()],
            more => texts(more),
        };
        let caps =
            fields(&value["caps"]).filter_map(|(name, on)| Some((name, *on.as_bool().ok()?))).collect();
        Some(Decision { allow: value["allow"].as_bool().ok().copied(), messages, caps })
    }
}

/// The texts among the elements of a list or a set.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_string().ok().map(|text| text.to_string());
    match value {
        Value::Array(all) => all.iter().filter_map(text).collect(),
        Value::Set(all) => all.iter().filter_map(text).collect(),
        _ => Vec::new(),
    }
}

fn caps(value: &Value) -> Result<Caps> {
    if *value == Value::Undefined {
        return Ok(Caps::new());
    }
    if value.as_object().is_err() {
        return Err(Error::user(format!("invalid caps property type {}, expecting object", kind(value))));
    }
    let mut caps = Caps::new();
    for (name, on) in fields(value) {
        if !KNOWN.contains(&name.as_str()) {
            return Err(Error::user(format!("unknown policy cap {name:?}")));
        }
        let Ok(on) = on.as_bool() else {
            let text = format!("invalid caps.{name} property type {}, expecting bool", kind(on));
            return Err(Error::user(text));
        };
        caps.insert(name, *on);
    }
    Ok(caps)
}

fn fields(value: &Value) -> impl Iterator<Item = (String, &Value)> {
    let fields = value.as_object().into_iter().flat_map(|fields| fields.iter());
    fields.filter_map(|(name, value)| Some((name.as_string().ok()?.to_string(), value)))
}

/// What Rego calls the type.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Set(_) => "set",
        Value::Object(_) => "object",
        Value::Undefined => "undefined",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_has_its_form() {
        let read = |json: &str| Decision::of(&Value::from_json_str(json).unwrap());
        let full = read(r#"{"allow":true,"deny_msg":["a",1,"b"],"caps":{"exec.proxy":true}}"#).unwrap();
        assert_eq!((full.allow, full.messages), (Some(true), vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(full.caps, Caps::from([("exec.proxy".to_owned(), true)]));
        assert_eq!(read("{}").unwrap(), Decision::default());
        assert_eq!(read(r#"{"deny_msg":{"a":true}}"#).unwrap().messages, [""; 0]);
        for (json, told) in [
            (r#"{"allow":"yes"}"#, "invalid allowed property type string"),
            (r#"{"caps":{"other":true}}"#, "unknown policy cap \"other\""),
            (r#"{"caps":{"exec.proxy":1}}"#, "invalid caps.exec.proxy property type number"),
            (r#"{"caps":[]}"#, "invalid caps property type array"),
            ("true", "unexpected policy return type: boolean"),
        ] {
            assert!(read(json).unwrap_err().to_string().contains(told), "{json}");
        }
        assert!(Decision::of(&Value::Undefined).unwrap_err().to_string().contains("zero result"));
        let loose = Decision::loosely(&Value::from_json_str(r#"{"allow":1,"deny_msg":"one"}"#).unwrap());
        assert_eq!(loose.unwrap(), Decision { messages: vec!["one".into()], ..Decision::default() });
    }
}
