//! What lists of targets hold: caches, outputs, attestations, secrets, ssh keys, policies; written as one line of
//! `key=value` fields or as an object.

use std::collections::BTreeMap;
use std::rc::Rc;

use dockerfile::csv;
use serde_json::{Map, Value as Json, json};

use crate::convert::{convert, text};
use crate::types::Type;
use crate::value::{Fields, Value};

pub type Attributes = BTreeMap<String, String>;
type Parsed<T> = Result<T, String>;

/// One entry of a list.
pub trait Entry: Sized + Clone + PartialEq {
    /// Reads one line of text, which may hold several.
    fn read(line: &str) -> Parsed<Vec<Self>>;
    /// Reads an object.
    fn from_object(value: &Value) -> Parsed<Self>;
    /// As an expression sees it that refers to the attribute.
    fn value(&self) -> Value;
    /// The type of [`Entry::value`].
    fn kind() -> Type;
    /// As `--print` shows it.
    fn json(&self) -> Json;
    /// As one line of text, which [`Entry::read`] reads.
    fn line(&self) -> String;
    /// Drops doubles.
    fn normalize(entries: Vec<Self>) -> Vec<Self>;
}

/// Reads a list of lines and objects. Empty text and null are passed over, so that `cond ? "..." : ""` works.
pub fn list<E: Entry>(value: &Value) -> Parsed<Option<Vec<E>>> {
    let values = match value {
        Value::Null(_) => return Ok(None),
        Value::List(_, values) | Value::Tuple(values) => values,
        other => return Err(format!("a list is required, but this is a {}", other.kind().name())),
    };
    let mut out = Vec::new();
    for value in values.iter() {
        match value {
            Value::Null(_) => {}
            Value::String(line) if line.is_empty() => {}
            Value::String(line) => out.extend(E::read(line)?),
            other => out.push(E::from_object(other)?),
        }
    }
    Ok(Some(out))
}

/// Reads lines of a flag or a Compose file.
pub fn lines<E: Entry>(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Parsed<Vec<E>> {
    let mut out = Vec::new();
    for line in lines {
        if !line.as_ref().is_empty() {
            out.extend(E::read(line.as_ref())?);
        }
    }
    Ok(out)
}

pub fn list_value<E: Entry>(entries: &[E]) -> Value {
    Value::list(E::kind(), entries.iter().map(E::value).collect())
}

/// Doubles of an entry go; what was last takes the place of the double, which is the order that buildx prints.
fn without_doubles<E: PartialEq>(mut entries: Vec<E>) -> Vec<E> {
    for i in (0..entries.len().saturating_sub(1)).rev() {
        if let Some(j) = (i + 1..entries.len()).find(|j| entries[i] == entries[*j]) {
            entries.swap_remove(j);
        }
    }
    entries
}

/// Of those with the same key the last stays, in the place of the first.
fn last_of_key<E>(entries: Vec<E>, key: impl Fn(&E) -> String) -> Vec<E> {
    let mut places = BTreeMap::new();
    let mut out: Vec<E> = Vec::new();
    for entry in entries {
        let place = *places.entry(key(&entry)).or_insert(out.len());
        match out.get_mut(place) {
            Some(old) => *old = entry,
            None => out.push(entry),
        }
    }
    out
}

fn fields(line: &str) -> Parsed<Vec<String>> {
    csv::fields(line).map_err(|e| e.to_string())
}

fn pair(field: &str) -> Parsed<(&str, &str)> {
    field.split_once('=').ok_or_else(|| format!("invalid value {field}"))
}

/// The fields of an object as text. Null is left out.
fn attributes(value: &Value) -> Parsed<Attributes> {
    let map = convert(value, &Type::map(Type::String))?;
    let fields = map.fields().into_iter().flatten();
    Ok(fields.filter_map(|(k, v)| Some((k.to_string(), v.as_str()?.to_owned()))).collect())
}

fn map_value(attributes: &Attributes, more: &[(&str, &str)]) -> Value {
    let all = attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain(more.iter().copied());
    Value::map(Type::String, all.map(|(k, v)| (Rc::from(k), Value::string(v))).collect::<Fields>())
}

fn map_json(attributes: &Attributes, more: Vec<(&str, Json)>) -> Json {
    let mut out: Map<String, Json> = attributes.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    out.extend(more.into_iter().map(|(k, v)| (k.to_owned(), v)));
    Json::Object(out)
}

/// `key=value` fields as one line: the known ones as far as they are given, then all others.
fn line<const N: usize>(known: [(&str, &str); N], others: &Attributes) -> String {
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    let others = others.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    csv::line(known.chain(others).map(|(key, value)| format!("{key}={value}")))
}

pub fn parse_bool(text: &str) -> Parsed<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("\"{other}\" is neither true nor false")),
    }
}

/// An entry of `cache-from` or `cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    pub kind: String,
    pub attributes: Attributes,
}

impl Cache {
    fn registry(reference: String) -> Self {
        Cache { kind: "registry".into(), attributes: [("ref".to_owned(), reference)].into() }
    }
}

impl Entry for Cache {
    fn read(line: &str) -> Parsed<Vec<Self>> {
        let fields = fields(line)?;
        if !line.contains('=') {
            return Ok(fields.into_iter().map(Cache::registry).collect());
        }
        if let [one] = fields.as_slice()
            && !one.contains('=')
        {
            return Ok(vec![Cache::registry(one.clone())]);
        }
        let mut attributes = Attributes::new();
        for field in &fields {
            let (key, value) = pair(field)?;
            attributes.insert(key.to_lowercase(), value.to_owned());
        }
        let kind = attributes.remove("type").filter(|k| !k.is_empty());
        let kind = kind.ok_or_else(|| format!("type required for \"{line}\""))?;
        Ok(vec![Cache { kind, attributes }])
    }

    fn from_object(value: &Value) -> Parsed<Self> {
        let mut attributes = attributes(value)?;
        let kind = attributes.remove("type").filter(|k| !k.is_empty());
        let kind =
            kind.ok_or_else(|| format!("type required for {}", crate::functions::encode_json(value)))?;
        Ok(Cache { kind, attributes })
    }

    fn value(&self) -> Value {
        map_value(&self.attributes, &[("type", &self.kind)])
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }

    fn json(&self) -> Json {
        map_json(&self.attributes, vec![("type", json!(self.kind))])
    }

    fn line(&self) -> String {
        line([("type", &self.kind)], &self.attributes)
    }

    fn normalize(entries: Vec<Self>) -> Vec<Self> {
        without_doubles(entries)
    }
}

/// An entry of `output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub kind: String,
    /// Where files go; empty if nowhere.
    pub dest: String,
    pub attributes: Attributes,
}

impl Output {
    pub fn of(kind: &str) -> Self {
        Output { kind: kind.into(), dest: String::new(), attributes: Attributes::new() }
    }

    fn checked(mut attributes: Attributes) -> Parsed<Self> {
        let mut take = |key| attributes.remove(key).unwrap_or_default();
        let (kind, dest) = (take("type"), take("dest"));
        match kind.is_empty() {
            true => Err("type is required for output".into()),
            false => Ok(Output { kind, dest, attributes }),
        }
    }
}

impl Entry for Output {
    fn read(line: &str) -> Parsed<Vec<Self>> {
        let fields = fields(line)?;
        if fields.len() == 1 && fields[0] == line && !line.starts_with("type=") {
            let kind = if line == "-" { "tar" } else { "local" };
            return Ok(vec![Output { dest: line.to_owned(), ..Output::of(kind) }]);
        }
        let mut attributes = Attributes::new();
        for field in &fields {
            let (key, value) = pair(field)?;
            attributes.insert(key.trim().to_lowercase(), value.to_owned());
        }
        Self::checked(attributes).map(|one| vec![one])
    }

    fn from_object(value: &Value) -> Parsed<Self> {
        Self::checked(attributes(value)?)
    }

    fn value(&self) -> Value {
        map_value(&self.attributes, &[("type", &self.kind), ("dest", &self.dest)])
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }

    fn json(&self) -> Json {
        let mut more = vec![("type", json!(self.kind))];
        if !self.dest.is_empty() {
            more.push(("dest", json!(self.dest)));
        }
        map_json(&self.attributes, more)
    }

    fn line(&self) -> String {
        line([("type", &self.kind), ("dest", &self.dest)], &self.attributes)
    }

    fn normalize(entries: Vec<Self>) -> Vec<Self> {
        without_doubles(entries)
    }
}

/// An entry of `attest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    pub kind: String,
    pub disabled: bool,
    pub attributes: Attributes,
}

impl Entry for Attestation {
    fn read(line: &str) -> Parsed<Vec<Self>> {
        let mut out = Attestation { kind: String::new(), disabled: false, attributes: Attributes::new() };
        for field in &fields(line)? {
            let (key, value) = pair(field)?;
            match key.to_lowercase().trim() {
                "type" => out.kind = value.to_owned(),
                "disabled" => {
                    out.disabled = parse_bool(value).map_err(|e| format!("invalid value {field}: {e}"))?
                }
                _ => _ = out.attributes.insert(key.to_owned(), value.to_owned()),
            }
        }
        match out.kind.is_empty() {
            true => Err("attestation type not specified".into()),
            false => Ok(vec![out]),
        }
    }

    fn from_object(value: &Value) -> Parsed<Self> {
        let mut attributes = attributes(value)?;
        let kind = attributes.remove("type").unwrap_or_default();
        let disabled = attributes.remove("disabled").map_or(Ok(false), |text| parse_bool(&text))?;
        Ok(Attestation { kind, disabled, attributes })
    }

    fn value(&self) -> Value {
        let mut more = vec![("type", self.kind.as_str())];
        if self.disabled {
            more.push(("disabled", "true"));
        }
        map_value(&self.attributes, &more)
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }

    fn json(&self) -> Json {
        let mut more = vec![("type", json!(self.kind))];
        if self.disabled {
            more.push(("disabled", json!(true)));
        }
        map_json(&self.attributes, more)
    }

    fn line(&self) -> String {
        let disabled = if self.disabled { "true" } else { "" };
        line([("type", &self.kind), ("disabled", disabled)], &self.attributes)
    }

    fn normalize(entries: Vec<Self>) -> Vec<Self> {
        last_of_key(entries, |a| a.kind.clone())
    }
}

/// An entry of `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secret {
    pub id: String,
    /// A file; empty if it is a variable of the environment.
    pub src: String,
    pub env: String,
}

impl Entry for Secret {
    fn read(line: &str) -> Parsed<Vec<Self>> {
        let mut out = Secret::default();
        let mut kind = "";
        let fields = fields(line).map_err(|e| format!("failed to parse csv secret: {e}"))?;
        for field in &fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
            match key.to_lowercase().as_str() {
                "type" if value == "file" || value == "env" => kind = value,
                "type" => return Err(format!("unsupported secret type \"{value}\"")),
                "id" => out.id = value.to_owned(),
                "source" | "src" => out.src = value.to_owned(),
                "env" => out.env = value.to_owned(),
                key => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
        if kind == "env" && out.env.is_empty() {
            out.env = std::mem::take(&mut out.src);
        }
        Ok(vec![out])
    }

    fn from_object(value: &Value) -> Parsed<Self> {
        let fields = value
            .fields()
            .ok_or_else(|| format!("object required, but this is a {}", value.kind().name()))?;
        let get = |key: &str| match fields.get(key) {
            None | Some(Value::Null(_)) => Ok(String::new()),
            Some(v) => {
                text(v).map(|t| t.to_string()).ok_or_else(|| format!("attribute \"{key}\": string required"))
            }
        };
        Ok(Secret { id: get("id")?, src: get("src")?, env: get("env")? })
    }

    fn value(&self) -> Value {
        let fields = [("id", &self.id), ("src", &self.src), ("env", &self.env)];
        Value::object(fields.iter().map(|(k, v)| (Rc::from(*k), Value::string(v))).collect())
    }

    fn kind() -> Type {
        let fields = ["id", "src", "env"].map(|k| (Rc::from(k), Type::String));
        Type::Object(Rc::new(fields.into()))
    }

    fn json(&self) -> Json {
        let fields = [("id", &self.id), ("src", &self.src), ("env", &self.env)];
        let given = fields.iter().filter(|(_, v)| !v.is_empty());
        Json::Object(given.map(|(k, v)| ((*k).to_owned(), json!(v))).collect())
    }

    fn line(&self) -> String {
        line([("id", &self.id), ("src", &self.src), ("env", &self.env)], &Attributes::new())
    }

    fn normalize(entries: Vec<Self>) -> Vec<Self> {
        last_of_key(entries, |s| s.id.clone())
    }
}

/// An entry of `ssh`: an agent, or keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ssh {
    pub id: String,
    pub paths: Vec<String>,
}

impl Entry for Ssh {
    fn read(line: &str) -> Parsed<Vec<Self>> {
        let (id, paths) = match line.split_once('=') {
            Some((id, paths)) => (id, paths.split(',').map(str::to_owned).collect()),
            None => (line, Vec::new()),
        };
        Ok(vec![Ssh { id: id.to_owned(), paths }])
    }

    fn from_object(value: &Value) -> Parsed<Self> {
        let fields = value
            .fields()
            .ok_or_else(|| format!("object required, but this is a {}", value.kind().name()))?;
        let id = match fields.get("id") {
            None | Some(Value::Null(_)) => String::new(),
            Some(v) => text(v).ok_or("attribute \"id\": string required")?.to_string(),
        };
        let paths = match fields.get("paths") {
            None | Some(Value::Null(_)) => Vec::new(),
            Some(v) => strings(v).map_err(|e| format!("attribute \"paths\": {e}"))?.unwrap_or_default(),
        };
        Ok(Ssh { id, paths })
    }

    fn value(&self) -> Value {
        Value::object(
            [("id".into(), Value::string(&self.id)), ("paths".into(), Value::strings(&self.paths))].into(),
        )
    }

    fn kind() -> Type {
        Type::Object(Rc::new(
            [("id".into(), Type::String), ("paths".into(), Type::list(Type::String))].into(),
        ))
    }

    fn json(&self) -> Json {
        let mut out = Map::new();
        if !self.id.is_empty() {
            out.insert("id".into(), json!(self.id));
        }
        if !self.paths.is_empty() {
            out.insert("paths".into(), json!(self.paths));
        }
        Json::Object(out)
    }

    fn line(&self) -> String {
        match self.paths.as_slice() {
            [] => self.id.clone(),
            paths => format!("{}={}", self.id, paths.join(",")),
        }
    }

    fn normalize(entries: Vec<Self>) -> Vec<Self> {
        last_of_key(entries, |s| s.id.clone())
    }
}

/// An entry of `policy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub files: Vec<String>,
    /// Forget the policies before this one.
    pub reset: bool,
    pub disabled: bool,
    pub strict: Option<bool>,
    pub log_level: Option<String>,
}

impl Policy {
    fn set(&mut self, key: &str, value: &str) -> Parsed<()> {
        let invalid = || format!("invalid value {key}={value}");
        let flag = || parse_bool(value).map_err(|e| format!("{}: {e}", invalid()));
        match key.to_lowercase().trim() {
            "filename" if !value.is_empty() => self.files.push(value.to_owned()),
            "reset" => self.reset = flag()?,
            "disabled" => self.disabled = flag()?,
            "strict" => self.strict = Some(flag()?),
            "log-level" => self.log_level = Some(log_level(value).ok_or_else(invalid)?.to_owned()),
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

fn log_level(text: &str) -> Option<&'static str> {
    let levels = ["panic", "fatal", "error", "warning", "info", "debug", "trace"];
    let text = text.to_lowercase();
    let text = if text == "warn" { "warning" } else { &text };
    levels.into_iter().find(|l| *l == text)
}

impl Entry for Policy {
    fn read(line: &str) -> Parsed<Vec<Self>> {
        let mut out = Policy::default();
        for field in &fields(line)? {
            let (key, value) = pair(field)?;
            out.set(key, value)?;
        }
        Ok(vec![out])
    }

    fn from_object(value: &Value) -> Parsed<Self> {
        let fields = value
            .fields()
            .ok_or_else(|| format!("map of string required, but this is a {}", value.kind().name()))?;
        let mut out = Policy::default();
        for (key, value) in fields {
            if value.is_null() {
                continue;
            }
            let value = text(value).ok_or_else(|| format!("attribute \"{key}\": string required"))?;
            if !value.is_empty() {
                out.set(key, &value)?;
            }
        }
        Ok(out)
    }

    fn value(&self) -> Value {
        let flag = |b: bool| b.then(|| "true".to_owned());
        let fields = [
            ("filename", self.files.first().cloned()),
            ("reset", flag(self.reset)),
            ("disabled", flag(self.disabled)),
            ("strict", self.strict.map(|b| b.to_string())),
            ("log-level", self.log_level.clone()),
        ];
        let given = fields.into_iter().filter_map(|(k, v)| Some((Rc::from(k), Value::string(v?))));
        Value::map(Type::String, given.collect())
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }

    fn json(&self) -> Json {
        let mut out = Map::new();
        if let Some(file) = self.files.first() {
            out.insert("filename".into(), json!(file));
        }
        for (key, flag) in [("reset", Some(self.reset)), ("disabled", Some(self.disabled))] {
            if flag == Some(true) {
                out.insert(key.into(), json!(true));
            }
        }
        if let Some(strict) = self.strict {
            out.insert("strict".into(), json!(strict));
        }
        if let Some(level) = &self.log_level {
            out.insert("log-level".into(), json!(level));
        }
        Json::Object(out)
    }

    fn line(&self) -> String {
        let flag = |key: &str, on: Option<bool>| on.map(|on| format!("{key}={on}"));
        let files = self.files.iter().map(|file| format!("filename={file}"));
        let rest = [
            flag("reset", self.reset.then_some(true)),
            flag("disabled", self.disabled.then_some(true)),
            flag("strict", self.strict),
            self.log_level.as_ref().map(|level| format!("log-level={level}")),
        ];
        csv::line(files.chain(rest.into_iter().flatten()))
    }

    fn normalize(entries: Vec<Self>) -> Vec<Self> {
        entries
    }
}

/// Limits of the processes of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources(pub BTreeMap<&'static str, Limit>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    Text(String),
    Number(i64),
}

/// Names of limits, and whether they are numbers.
const LIMITS: [(&str, bool); 7] = [
    ("cpu-period", true),
    ("cpu-quota", true),
    ("cpu-shares", true),
    ("cpuset-cpus", false),
    ("cpuset-mems", false),
    ("memory", false),
    ("memory-swap", false),
];

impl Resources {
    pub fn from_value(value: &Value) -> Parsed<Option<Self>> {
        if value.is_null() {
            return Err(NULL.into());
        }
        let fields = value
            .fields()
            .ok_or_else(|| format!("object required, but this is a {}", value.kind().name()))?;
        let mut out = Resources::default();
        for (name, is_number) in LIMITS {
            let Some(value) = fields.get(name).filter(|v| !v.is_null()) else { continue };
            let why = |e: String| format!("attribute \"{name}\": {e}");
            let limit =
                match convert(value, &if is_number { Type::Number } else { Type::String }).map_err(why)? {
                    Value::Number(n) => {
                        Limit::Number(n.to_i64().ok_or_else(|| why("value must be a whole number".into()))?)
                    }
                    other => Limit::Text(other.as_str().unwrap_or_default().to_owned()),
                };
            out.0.insert(name, limit);
        }
        Ok(Some(out))
    }

    /// Sets one by its name.
    pub fn set(&mut self, name: &str, value: &str) -> Parsed<()> {
        let (name, is_number) = LIMITS
            .into_iter()
            .find(|(n, _)| *n == name)
            .ok_or_else(|| format!("unknown resources key {name}"))?;
        let limit = match is_number {
            true => Limit::Number(value.parse().map_err(|_| format!("invalid value {value} for {name}"))?),
            false => Limit::Text(value.to_owned()),
        };
        self.0.insert(name, limit);
        Ok(())
    }

    pub fn value(&self) -> Value {
        let fields = LIMITS.iter().map(|(name, is_number)| {
            let value = match self.0.get(name) {
                Some(Limit::Text(text)) => Value::string(text),
                Some(Limit::Number(n)) => Value::int(*n),
                None => Value::Null(if *is_number { Type::Number } else { Type::String }),
            };
            (Rc::from(*name), value)
        });
        Value::object(fields.collect())
    }

    /// Each as `name=value`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, limit)| match limit {
            Limit::Text(text) => format!("{name}={text}"),
            Limit::Number(n) => format!("{name}={n}"),
        })
    }

    pub fn json(&self) -> Json {
        let fields = self.0.iter().map(|(name, limit)| {
            let value = match limit {
                Limit::Text(text) => json!(text),
                Limit::Number(n) => json!(n),
            };
            ((*name).to_owned(), value)
        });
        Json::Object(fields.collect())
    }
}

/// Why null is refused where something must stand.
pub const NULL: &str = "null value is not allowed";

/// A list of text.
pub fn strings(value: &Value) -> Parsed<Option<Vec<String>>> {
    let list = convert(value, &Type::list(Type::String))?;
    let text = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| NULL.to_owned());
    list.sequence().map(|values| values.iter().map(text).collect()).transpose()
}
