//! A service as a target.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::interpolate::join;
use super::{Environment, Read, dotenv};
use crate::entries::{self, Attestation, Cache, Entry, Output, Secret, Ssh, parse_bool};
use crate::flags::attestation;
use crate::target::{Target, TextMap};

type Object = Map<String, Json>;

/// Keys that a `build` section may have; those without a use here are for Compose itself.
const KEYS: [&str; 25] = [
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

pub struct Reader<'r> {
    /// The path of the section, for faults.
    pub path: String,
    pub secrets: &'r Object,
    pub services: &'r BTreeMap<String, Object>,
    pub environment: &'r Environment,
    pub read: &'r Read,
}

impl Reader<'_> {
    pub fn target(&self, service: &Object, build: &Object) -> Result<Target, String> {
        let unknown = |k: &&String| !KEYS.contains(&k.as_str()) && !k.starts_with("x-");
        if let Some(key) = build.keys().find(unknown) {
            let hint = crate::diagnostic::did_you_mean(key, KEYS);
            let hint = hint.map(|near| format!(" (did you mean '{near}'?)")).unwrap_or_default();
            return Err(format!("{} additional properties '{key}' not allowed{hint}", self.path));
        }
        let mut target = Target {
            context: self.text(build, "context")?,
            contexts: self.contexts(build.get("additional_contexts"))?,
            dockerfile: self.text(build, "dockerfile")?,
            dockerfile_inline: self.text(build, "dockerfile_inline")?,
            tags: self.list(build, "tags")?,
            labels: self.labels(build)?,
            args: self.args(service, build)?,
            cache_from: self.list(build, "cache_from")?.map(entries::lines::<Cache>).transpose()?,
            cache_to: self.list(build, "cache_to")?.map(entries::lines::<Cache>).transpose()?,
            network: self.text(build, "network")?,
            platforms: self.list(build, "platforms")?,
            ssh: self.ssh(build.get("ssh"))?,
            secret: self.secret(build.get("secrets"))?,
            shm_size: self.shm_size(build.get("shm_size"))?,
            ulimits: self.ulimits(build.get("ulimits"))?,
            extra_hosts: self.extra_hosts(build)?,
            attest: self.attest(build)?,
            no_cache: self.flag(build, "no_cache")?.filter(|on| *on),
            pull: self.flag(build, "pull")?.filter(|on| *on),
            target: self.text(build, "target")?,
            ..Target::default()
        };
        if let Some(extension) = build.get("x-bake").filter(|x| !x.is_null()) {
            let path = join(&self.path, "x-bake");
            let extension = extension.as_object().ok_or_else(|| format!("{path} must be a mapping"))?;
            Reader { path, ..*self }.extend(&mut target, extension)?;
        }
        if target.tags.as_ref().is_none_or(Vec::is_empty) {
            target.tags = service.get("image").and_then(scalar).filter(|i| !i.is_empty()).map(|i| vec![i]);
        }
        Ok(target)
    }

    fn wrong(&self, key: &str, what: &str) -> String {
        format!("{} must be {what}", join(&self.path, key))
    }

    /// Text that is set and not empty.
    fn text(&self, build: &Object, key: &str) -> Result<Option<String>, String> {
        match build.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => match scalar(value) {
                Some(text) => Ok(Some(text).filter(|t| !t.is_empty())),
                None => Err(self.wrong(key, "a string")),
            },
        }
    }

    fn flag(&self, build: &Object, key: &str) -> Result<Option<bool>, String> {
        match build.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(b)) => Ok(Some(*b)),
            Some(Json::String(s)) if matches!(s.as_str(), "yes" | "on" | "y") => Ok(Some(true)),
            Some(Json::String(s)) if matches!(s.as_str(), "no" | "off" | "n") => Ok(Some(false)),
            Some(Json::String(s)) => parse_bool(s).map(Some).map_err(|_| self.wrong(key, "a boolean")),
            Some(_) => Err(self.wrong(key, "a boolean")),
        }
    }

    fn list(&self, build: &Object, key: &str) -> Result<Option<Vec<String>>, String> {
        match build.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Array(items)) => {
                let text = |item| scalar(item).ok_or_else(|| self.wrong(key, "a list of strings"));
                items.iter().map(text).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(self.wrong(key, "an array")),
        }
    }

    fn map(&self, build: &Object, key: &str) -> Result<Option<TextMap>, String> {
        let Some(map) = build.get(key).and_then(Json::as_object) else { return Ok(None) };
        let text = |(k, v): (&String, &Json)| match v {
            Json::Null => Ok((k.clone(), None)),
            v => scalar(v).map(|v| (k.clone(), Some(v))).ok_or_else(|| self.wrong(&join(key, k), "a string")),
        };
        map.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    fn labels(&self, build: &Object) -> Result<Option<TextMap>, String> {
        let labels = self.map(build, "labels")?;
        Ok(labels.map(|map| map.into_iter().map(|(k, v)| (k, Some(v.unwrap_or_default()))).collect()))
    }

    /// An argument without a value has that of the service's environment, or of ours; if there is none, it is not set.
    fn args(&self, service: &Object, build: &Object) -> Result<Option<TextMap>, String> {
        let Some(mut args) = self.map(build, "args")? else { return Ok(None) };
        let environment = self.service_environment(service)?;
        for (name, value) in &mut args {
            if value.is_none() {
                *value =
                    environment.get(name).cloned().flatten().or_else(|| self.environment.get(name).cloned());
            }
        }
        args.retain(|_, v| v.is_some());
        Ok(Some(args).filter(|a| !a.is_empty()))
    }

    fn service_environment(&self, service: &Object) -> Result<TextMap, String> {
        let mut out = TextMap::new();
        for file in service.get("env_file").and_then(Json::as_array).into_iter().flatten() {
            let (path, required) = match file {
                Json::Object(map) => {
                    (map.get("path").and_then(scalar), map.get("required") != Some(&Json::Bool(false)))
                }
                other => (scalar(other), true),
            };
            let path = path.ok_or_else(|| self.wrong("env_file", "a path"))?;
            match (self.read)(&path) {
                Ok(data) => {
                    let all = dotenv::parse(&String::from_utf8_lossy(&data), self.environment)
                        .map_err(|e| format!("failed to read {path}: {e}"))?;
                    out.extend(all.into_iter().map(|(k, v)| (k, Some(v))));
                }
                Err(_) if !required => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(format!("env file {path} not found"));
                }
                Err(e) => return Err(format!("failed to read {path}: {e}")),
            }
        }
        for (name, value) in service.get("environment").and_then(Json::as_object).into_iter().flatten() {
            let value = match value {
                Json::Null => self.environment.get(name).cloned(),
                other => scalar(other),
            };
            out.insert(name.clone(), value);
        }
        Ok(out)
    }

    fn contexts(&self, value: Option<&Json>) -> Result<Option<BTreeMap<String, String>>, String> {
        let Some(map) = value.and_then(Json::as_object) else { return Ok(None) };
        let mut out = BTreeMap::new();
        for (name, value) in map {
            let value = scalar(value).unwrap_or_default();
            if let Some(service) = value.strip_prefix("service:")
                && !self.services.contains_key(service)
            {
                return Err(format!(
                    "{} declares unknown service \"{service}\" as additional contexts {name}",
                    self.path
                ));
            }
            let target = value.strip_prefix("service:").or_else(|| value.strip_prefix("target:"));
            let value = match target {
                Some(target) => format!("target:{}", target.replace('.', "_")),
                None => clean(&value),
            };
            out.insert(name.clone(), value);
        }
        Ok(Some(out))
    }

    fn extra_hosts(&self, build: &Object) -> Result<Option<TextMap>, String> {
        let Some(map) = build.get("extra_hosts").and_then(Json::as_object) else { return Ok(None) };
        let mut out = TextMap::new();
        for (host, value) in map {
            let address = match value {
                Json::Array(all) => all.iter().filter_map(scalar).collect::<Vec<_>>().join(","),
                other => scalar(other).ok_or_else(|| self.wrong(&join("extra_hosts", host), "a string"))?,
            };
            out.insert(host.clone(), Some(address));
        }
        Ok(Some(out))
    }

    fn ssh(&self, value: Option<&Json>) -> Result<Option<Vec<Ssh>>, String> {
        let mut out: Vec<Ssh> = match value {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::Object(map)) => map
                .iter()
                .map(|(id, path)| Ssh { id: id.clone(), paths: scalar(path).into_iter().collect() })
                .collect(),
            Some(Json::Array(items)) => {
                let lines =
                    items.iter().map(|i| scalar(i).ok_or_else(|| self.wrong("ssh", "a list of strings")));
                entries::lines(lines.collect::<Result<Vec<_>, _>>()?)?
            }
            Some(other) => entries::lines(scalar(other))?,
        };
        for path in out.iter_mut().flat_map(|s| &mut s.paths) {
            *path = clean(path);
        }
        out.sort();
        Ok(Some(out))
    }

    fn secret(&self, value: Option<&Json>) -> Result<Option<Vec<Secret>>, String> {
        let Some(items) = value.and_then(Json::as_array) else { return Ok(None) };
        let mut out = Vec::new();
        for item in items {
            let source = match item {
                Json::Object(map) => map.get("source").and_then(scalar),
                other => scalar(other),
            };
            let id = source.ok_or_else(|| self.wrong("secrets", "a list of names"))?;
            let known = self
                .secrets
                .get(&id)
                .ok_or_else(|| format!("{} refers to undefined build secret {id}", self.path))?;
            if known.get("external").is_some_and(|e| *e != Json::Bool(false) && !e.is_null()) {
                return Err(format!("unsupported external secret {id}"));
            }
            let get = |key: &str| known.get(key).and_then(scalar).unwrap_or_default();
            let src = Some(get("file")).filter(|f| !f.is_empty()).map(|f| clean(&f)).unwrap_or_default();
            out.push(Secret { id, src, env: get("environment") });
        }
        Ok(Some(out))
    }

    fn shm_size(&self, value: Option<&Json>) -> Result<Option<String>, String> {
        let text = match value {
            None | Some(Json::Null) => return Ok(None),
            Some(value) => scalar(value).ok_or_else(|| self.wrong("shm_size", "a size"))?,
        };
        let bytes = bytes(&text).ok_or_else(|| format!("invalid size: '{text}'"))?;
        Ok((bytes > 0.0).then(|| binary_size(bytes)))
    }

    fn ulimits(&self, value: Option<&Json>) -> Result<Option<Vec<String>>, String> {
        let Some(map) = value.and_then(Json::as_object) else { return Ok(None) };
        let number = |v: &Json| scalar(v)?.parse::<i64>().ok();
        let mut out = Vec::new();
        for (name, limit) in map {
            let (soft, hard) = match limit {
                Json::Object(both) => (both.get("soft").and_then(number), both.get("hard").and_then(number)),
                one => (number(one), number(one)),
            };
            let (Some(soft), Some(hard)) = (soft, hard) else {
                return Err(self.wrong(&join("ulimits", name), "a number, or have a soft and a hard one"));
            };
            out.push(format!("{name}={soft}:{hard}"));
        }
        Ok(Some(out))
    }

    fn attest(&self, build: &Object) -> Result<Option<Vec<Attestation>>, String> {
        let mut lines = Vec::new();
        for kind in ["sbom", "provenance"] {
            lines.extend(self.text(build, kind)?.and_then(|value| attestation(kind, &value)));
        }
        if lines.is_empty() {
            return Ok(None);
        }
        entries::lines(lines).map(Some)
    }

    /// `x-bake`: what Compose has no words for. `self.path` is that of the extension.
    fn extend(&self, target: &mut Target, extension: &Object) -> Result<(), String> {
        let words = |key: &str| -> Result<Vec<String>, String> {
            match extension.get(key) {
                Some(Json::String(text)) => Ok(text.split_whitespace().map(str::to_owned).collect()),
                _ => Ok(self.list(extension, key)?.unwrap_or_default()),
            }
        };
        add(&mut target.tags, words("tags")?);
        add(&mut target.platforms, words("platforms")?);
        add(&mut target.no_cache_filter, words("no-cache-filter")?);
        join_entries(&mut target.cache_from, entries::lines(words("cache-from")?)?);
        join_entries(&mut target.cache_to, entries::lines(words("cache-to")?)?);
        join_entries(&mut target.secret, entries::lines(words("secret")?)?);
        join_entries(&mut target.ssh, entries::lines(words("ssh")?)?);
        join_entries(&mut target.output, entries::lines::<Output>(words("output")?)?);
        target.ssh.iter_mut().for_each(|s| s.sort());
        target.pull = self.flag(extension, "pull")?.or(target.pull);
        target.no_cache = self.flag(extension, "no-cache")?.or(target.no_cache);
        for (name, value) in extension.get("contexts").and_then(Json::as_object).into_iter().flatten() {
            let value = scalar(value).unwrap_or_default();
            let named = value.strip_prefix("service:").or_else(|| value.strip_prefix("target:"));
            let value = named.map_or(value.clone(), |t| format!("target:{}", t.replace('.', "_")));
            target.contexts.get_or_insert_default().entry(name.clone()).or_insert(value);
        }
        Ok(())
    }
}

fn add(own: &mut Option<Vec<String>>, more: Vec<String>) {
    if more.is_empty() {
        return;
    }
    let own = own.get_or_insert_default();
    own.extend(more);
    let mut seen = std::collections::BTreeSet::new();
    own.retain(|v| seen.insert(v.clone()));
}

fn join_entries<E: Entry>(own: &mut Option<Vec<E>>, more: Vec<E>) {
    if !more.is_empty() {
        let mut all = own.take().unwrap_or_default();
        all.extend(more);
        *own = Some(E::normalize(all));
    }
}

/// Paths as the files of a project have them; anything with a scheme stays.
fn clean(text: &str) -> String {
    let is_path = !text.contains("://") && !text.is_empty() && !crate::path::is_remote(text);
    if is_path { crate::path::clean(text) } else { text.to_owned() }
}

/// The text of a scalar, as Go prints it.
pub fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(b) => Some(b.to_string()),
        Json::Number(n) if n.is_f64() => n.as_f64().map(go_float),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// As few digits as tell it; with an exponent where it is less than -4 or more than 5.
fn go_float(value: f64) -> String {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..=5).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// A size in binary units.
fn bytes(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let number: f64 = digits.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    Some((number * 1024f64.powi(power)).trunc())
}

/// As Docker prints it: four digits, in the largest unit of which there is at least one.
fn binary_size(mut bytes: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].iter();
    let mut unit = units.next();
    while bytes >= 1024.0 {
        match units.next() {
            Some(next) => (bytes, unit) = (bytes / 1024.0, Some(next)),
            None => break,
        }
    }
    let whole = format!("{}", bytes.trunc()).len();
    let decimals = 4usize.saturating_sub(whole);
    let mut number = format!("{bytes:.decimals$}");
    if number.contains('.') {
        number = number.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{number}{}", unit.unwrap_or(&"B"))
}
