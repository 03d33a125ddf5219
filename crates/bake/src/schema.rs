//! Attributes of targets and groups: their types, and where they go.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::convert::convert;
use crate::entries::{self, Attestation, Cache, Output, Policy, Resources, Secret, Ssh};
use crate::target::{Group, Target, TextMap};
use crate::types::Type;
use crate::value::{Fields, Value};

/// All attributes of a target but those that say how many targets there are.
pub const TARGET: [&str; 29] = [
    "description",
    "inherits",
    "annotations",
    "attest",
    "context",
    "contexts",
    "dockerfile",
    "dockerfile-inline",
    "args",
    "labels",
    "tags",
    "cache-from",
    "cache-to",
    "target",
    "secret",
    "ssh",
    "platforms",
    "output",
    "pull",
    "no-cache",
    "network",
    "no-cache-filter",
    "shm-size",
    "ulimits",
    "resources",
    "call",
    "entitlements",
    "extra-hosts",
    "policy",
];

pub const GROUP: [&str; 2] = ["description", "targets"];

/// A value of the type that its attribute has.
#[derive(Debug, Clone)]
pub enum Decoded {
    Text(Option<String>),
    Flag(Option<bool>),
    Texts(Option<Vec<String>>),
    Map(Option<TextMap>),
    Contexts(Option<BTreeMap<String, String>>),
    Caches(Option<Vec<Cache>>),
    Attests(Option<Vec<Attestation>>),
    Outputs(Option<Vec<Output>>),
    Secrets(Option<Vec<Secret>>),
    Ssh(Option<Vec<Ssh>>),
    Policies(Option<Vec<Policy>>),
    Resources(Option<Resources>),
}

/// Reads the value of an attribute.
///
/// # Errors
/// Tells why the value has not the type of the attribute.
pub fn decode(attribute: &str, value: &Value) -> Result<Decoded, String> {
    Ok(match attribute {
        "description" if value.is_null() => return Err(entries::NULL.into()),
        "description" | "context" | "dockerfile" | "dockerfile-inline" | "target" | "network"
        | "shm-size" | "call" => Decoded::Text(convert(value, &Type::String)?.as_str().map(str::to_owned)),
        "pull" | "no-cache" => match convert(value, &Type::Bool)? {
            Value::Bool(b) => Decoded::Flag(Some(b)),
            _ => Decoded::Flag(None),
        },
        "args" | "labels" | "extra-hosts" => Decoded::Map(text_map(value)?),
        "contexts" => {
            let set = |(k, v): (String, Option<String>)| v.map(|v| (k, v)).ok_or(entries::NULL);
            let map = text_map(value)?.map(|map| map.into_iter().map(set).collect::<Result<_, _>>());
            Decoded::Contexts(map.transpose()?)
        }
        "cache-from" | "cache-to" => Decoded::Caches(entries::list(value)?),
        "attest" => Decoded::Attests(entries::list(value)?),
        "output" => Decoded::Outputs(entries::list(value)?),
        "secret" => Decoded::Secrets(entries::list(value)?),
        "ssh" => Decoded::Ssh(entries::list(value)?),
        "policy" => Decoded::Policies(entries::list(value)?),
        "resources" => Decoded::Resources(Resources::from_value(value)?),
        _ => Decoded::Texts(entries::strings(value)?),
    })
}

fn text_map(value: &Value) -> Result<Option<TextMap>, String> {
    let map = convert(value, &Type::map(Type::String))?;
    let texts = |fields: &Fields| {
        fields.iter().map(|(k, v)| (k.to_string(), v.as_str().map(str::to_owned))).collect()
    };
    Ok(map.fields().map(texts))
}

impl Decoded {
    /// As an expression sees it that refers to the attribute.
    pub fn value(&self) -> Value {
        let or_null = |value: Option<Value>, kind: Type| value.unwrap_or(Value::Null(kind));
        match self {
            Decoded::Text(text) => or_null(text.as_ref().map(Value::string), Type::String),
            Decoded::Flag(flag) => or_null(flag.map(Value::Bool), Type::Bool),
            Decoded::Texts(texts) => or_null(texts.as_ref().map(Value::strings), Type::list(Type::String)),
            Decoded::Map(map) => or_null(map.as_ref().map(map_value), Type::map(Type::String)),
            Decoded::Contexts(map) => {
                let map = map.as_ref().map(|m| m.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect());
                or_null(map.as_ref().map(map_value), Type::map(Type::String))
            }
            Decoded::Caches(all) => entries::list_value(all.as_deref().unwrap_or_default()),
            Decoded::Attests(all) => entries::list_value(all.as_deref().unwrap_or_default()),
            Decoded::Outputs(all) => entries::list_value(all.as_deref().unwrap_or_default()),
            Decoded::Secrets(all) => entries::list_value(all.as_deref().unwrap_or_default()),
            Decoded::Ssh(all) => entries::list_value(all.as_deref().unwrap_or_default()),
            Decoded::Policies(all) => entries::list_value(all.as_deref().unwrap_or_default()),
            Decoded::Resources(all) => {
                or_null(all.as_ref().map(Resources::value), Resources::default().value().kind())
            }
        }
    }

    /// Keys, for attributes that have some.
    pub fn keys(&self) -> Option<Vec<String>> {
        match self {
            Decoded::Map(Some(map)) => {
                Some(map.iter().filter(|(_, v)| v.is_some()).map(|(k, _)| k.clone()).collect())
            }
            Decoded::Contexts(Some(map)) => Some(map.keys().cloned().collect()),
            _ => None,
        }
    }

    /// Whether it says anything.
    pub fn is_set(&self) -> bool {
        match self {
            Decoded::Text(v) => v.is_some(),
            Decoded::Flag(v) => v.is_some(),
            Decoded::Texts(v) => v.is_some(),
            Decoded::Map(v) => v.is_some(),
            Decoded::Contexts(v) => v.is_some(),
            Decoded::Caches(v) => v.is_some(),
            Decoded::Attests(v) => v.is_some(),
            Decoded::Outputs(v) => v.is_some(),
            Decoded::Secrets(v) => v.is_some(),
            Decoded::Ssh(v) => v.is_some(),
            Decoded::Policies(v) => v.is_some(),
            Decoded::Resources(v) => v.is_some(),
        }
    }
}

fn map_value(map: &TextMap) -> Value {
    let fields = map
        .iter()
        .map(|(k, v)| (Rc::from(k.as_str()), v.as_ref().map_or(Value::Null(Type::String), Value::string)));
    Value::map(Type::String, fields.collect())
}

/// The value of an attribute that a block does not set.
pub fn unset(attribute: &str) -> Value {
    match attribute {
        "description" => Value::string(""),
        "resources" => Decoded::Resources(None).value(),
        other => decode(other, &Value::NULL).map_or(Value::NULL, |d| d.value()),
    }
}

impl Target {
    /// Sets an attribute that was decoded as this one.
    pub fn set(&mut self, attribute: &str, decoded: Decoded) {
        use Decoded as D;
        match (attribute, decoded) {
            ("description", D::Text(v)) => self.description = v.unwrap_or_default(),
            ("inherits", D::Texts(v)) => self.inherits = v.unwrap_or_default(),
            ("annotations", D::Texts(v)) => self.annotations = v,
            ("attest", D::Attests(v)) => self.attest = v,
            ("context", D::Text(v)) => self.context = v,
            ("contexts", D::Contexts(v)) => self.contexts = v,
            ("dockerfile", D::Text(v)) => self.dockerfile = v,
            ("dockerfile-inline", D::Text(v)) => self.dockerfile_inline = v,
            ("args", D::Map(v)) => self.args = v,
            ("labels", D::Map(v)) => self.labels = v,
            ("tags", D::Texts(v)) => self.tags = v,
            ("cache-from", D::Caches(v)) => self.cache_from = v,
            ("cache-to", D::Caches(v)) => self.cache_to = v,
            ("target", D::Text(v)) => self.target = v,
            ("secret", D::Secrets(v)) => self.secret = v,
            ("ssh", D::Ssh(v)) => self.ssh = v,
            ("platforms", D::Texts(v)) => self.platforms = v,
            ("output", D::Outputs(v)) => self.output = v,
            ("pull", D::Flag(v)) => self.pull = v,
            ("no-cache", D::Flag(v)) => self.no_cache = v,
            ("network", D::Text(v)) => self.network = v,
            ("no-cache-filter", D::Texts(v)) => self.no_cache_filter = v,
            ("shm-size", D::Text(v)) => self.shm_size = v,
            ("ulimits", D::Texts(v)) => self.ulimits = v,
            ("resources", D::Resources(v)) => self.resources = v,
            ("call", D::Text(v)) => self.call = v,
            ("entitlements", D::Texts(v)) => self.entitlements = v,
            ("extra-hosts", D::Map(v)) => self.extra_hosts = v,
            ("policy", D::Policies(v)) => self.policy = v,
            _ => {}
        }
    }
}

impl Group {
    /// As [`Target::set`].
    pub fn set(&mut self, attribute: &str, decoded: Decoded) {
        match (attribute, decoded) {
            ("description", Decoded::Text(v)) => self.description = v.unwrap_or_default(),
            ("targets", Decoded::Texts(v)) => self.targets = v.unwrap_or_default(),
            _ => {}
        }
    }
}
