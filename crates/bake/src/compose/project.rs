//! All Compose files of a bake as one project: interpolated, included, extended, merged.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::interpolate::{self, join};
use super::tags::{self, Tag};
use super::{Document, Environment, Read, service, yaml};
use crate::module::check_name;
use crate::origin::Origin;
use crate::path;
use crate::target::{Group, Target};

type Object = Map<String, Json>;

/// Files that include and extend each other deeper than this go in a circle.
const MAX_DEPTH: usize = 16;

/// Lists of `name=value` that may as well be mappings.
const MAPPINGS: [&str; 4] = ["args", "labels", "additional_contexts", "extra_hosts"];

pub struct Project<'p> {
    environment: &'p Environment,
    read: &'p Read,
    services: BTreeMap<String, Object>,
    secrets: Object,
    /// The last file that says something of a service.
    files: BTreeMap<String, u16>,
    depth: usize,
}

impl<'p> Project<'p> {
    pub fn new(environment: &'p Environment, read: &'p Read) -> Self {
        let (services, files) = Default::default();
        Project { environment, read, services, secrets: Object::new(), files, depth: 0 }
    }

    /// Lays a file over those before. `dir`: the folder that its paths count from, empty for the working directory.
    pub fn add(&mut self, mut root: Object, tags: &[Tag], file: u16, dir: &str) -> Result<(), String> {
        if self.depth >= MAX_DEPTH {
            return Err("files include each other in a circle".into());
        }
        if !root.contains_key("services") && !root.contains_key("secrets") && !root.contains_key("include") {
            return Err("empty compose file".into());
        }
        for (key, value) in &mut root {
            interpolate::value(value, key, &|name| self.environment.get(name).cloned())?;
        }
        self.include(root.get("include"), file, dir)?;
        for tag in tags {
            match tag.path.as_slice() {
                [part, name] if part == "services" => _ = self.services.remove(name),
                [part, name] if part == "secrets" => _ = self.secrets.remove(name),
                [part, name, rest @ ..] if part == "services" => {
                    if let Some(service) = self.services.get_mut(name) {
                        tags::remove(service, rest);
                    }
                }
                _ => {}
            }
        }
        let services = mapping(root.remove("services"), "services")?;
        for name in services.keys() {
            let service = self.extended(name, &services, tags, dir, 0)?;
            let old = self.services.remove(name).unwrap_or_default();
            self.services.insert(name.clone(), merged(old, service, &format!("services.{name}"))?);
            self.files.insert(name.clone(), file);
        }
        for (name, secret) in mapping(root.remove("secrets"), "secrets")? {
            let mut secret = mapping(Some(secret), &format!("secrets.{name}"))?;
            rebase(secret.get_mut("file"), dir);
            self.secrets.insert(name, Json::Object(secret));
        }
        Ok(())
    }

    fn include(&mut self, include: Option<&Json>, file: u16, dir: &str) -> Result<(), String> {
        let entries = include.and_then(Json::as_array).cloned().unwrap_or_default();
        for entry in entries {
            let paths = match &entry {
                Json::String(path) => vec![path.clone()],
                other => match other.get("path") {
                    Some(Json::String(path)) => vec![path.clone()],
                    Some(Json::Array(paths)) => {
                        paths.iter().filter_map(|p| Some(p.as_str()?.to_owned())).collect()
                    }
                    _ => return Err("include: a path is required".into()),
                },
            };
            for path in paths {
                let path = from(dir, &path);
                let (root, tags) = self.open(&path)?;
                self.depth += 1;
                self.add(root, &tags, file, &parent(&path))?;
                self.depth -= 1;
            }
        }
        Ok(())
    }

    fn open(&self, path: &str) -> Result<Document, String> {
        let data = (self.read)(path).map_err(|e| format!("failed to read {path}: {e}"))?;
        yaml(&String::from_utf8_lossy(&data)).map_err(|(message, _)| format!("{path}: {message}"))
    }

    /// A service with what it extends below it.
    fn extended(
        &self,
        name: &str,
        all: &Object,
        tags: &[Tag],
        dir: &str,
        depth: usize,
    ) -> Result<Object, String> {
        let path = format!("services.{name}");
        if depth > MAX_DEPTH {
            return Err(format!("{path} extends itself in a circle"));
        }
        let mut own = canonical(mapping(all.get(name).cloned(), &path)?, &path, dir)?;
        let (base, file) = match own.remove("extends") {
            None => return Ok(own),
            Some(Json::String(base)) => (base, None),
            Some(Json::Object(extends)) => {
                let text = |key: &str| extends.get(key).and_then(Json::as_str).map(str::to_owned);
                (
                    text("service").ok_or_else(|| format!("{path}.extends: a service is required"))?,
                    text("file"),
                )
            }
            Some(_) => return Err(format!("{path}.extends must be a string or a mapping")),
        };
        let mut below = match file {
            None if all.contains_key(&base) => self.extended(&base, all, tags, dir, depth + 1)?,
            None => {
                return Err(format!(
                    "cannot extend service \"{base}\": {path} is the only one that names it"
                ));
            }
            Some(file) => {
                let file = from(dir, &file);
                let (mut root, tags) = self.open(&file)?;
                for (key, value) in &mut root {
                    interpolate::value(value, key, &|name| self.environment.get(name).cloned())?;
                }
                let others = mapping(root.remove("services"), "services")?;
                if !others.contains_key(&base) {
                    return Err(format!("cannot extend service \"{base}\": {file} has none"));
                }
                self.extended(&base, &others, &tags, &parent(&file), depth + 1)?
            }
        };
        for tag in tags {
            if let [part, service, rest @ ..] = tag.path.as_slice()
                && part == "services"
                && service == name
            {
                tags::remove(&mut below, rest);
            }
        }
        merged(below, own, &path)
    }

    /// One target for each service that is built, and a group of all.
    pub fn targets(self) -> Result<(Vec<Target>, Vec<Group>), String> {
        let mut targets = Vec::new();
        let mut group = Group { name: crate::DEFAULT.into(), ..Group::default() };
        for (name, own) in &self.services {
            if !own.contains_key("build") && !own.contains_key("image") {
                return Err(format!("service \"{name}\" has neither an image nor a build context specified"));
            }
            let Some(build) = own.get("build").filter(|b| !b.is_null()) else { continue };
            let build =
                build.as_object().ok_or_else(|| format!("services.{name}.build must be a mapping"))?;
            let target_name = name.replace('.', "_");
            check_name(&target_name).map_err(|f| format!("invalid service name \"{target_name}\": {f}"))?;
            let reader = service::Reader {
                path: format!("services.{name}.build"),
                secrets: &self.secrets,
                services: &self.services,
                environment: self.environment,
                read: self.read,
            };
            let mut target = reader.target(own, build)?;
            target.name.clone_from(&target_name);
            let origin = Origin::Service { file: self.files[name], service: name.clone() };
            target.set_origin(&origin);
            group.targets.push(target_name);
            targets.push(target);
        }
        Ok(match self.services.is_empty() {
            true => (targets, Vec::new()),
            false => (targets, vec![group]),
        })
    }
}

/// A mapping, or none where nothing stands.
fn mapping(value: Option<Json>, path: &str) -> Result<Object, String> {
    match value {
        None | Some(Json::Null) => Ok(Object::new()),
        Some(Json::Object(map)) => Ok(map),
        Some(_) => Err(format!("{path} must be a mapping")),
    }
}

/// Paths of files count from the folder of the file that has them.
fn from(dir: &str, file: &str) -> String {
    if dir.is_empty() || file.starts_with('/') { file.to_owned() } else { path::join(dir, file) }
}

fn parent(file: &str) -> String {
    match path::parent(file) {
        dir if dir == "." => String::new(),
        dir => dir,
    }
}

fn rebase(value: Option<&mut Json>, dir: &str) {
    if let Some(Json::String(file)) = value {
        *file = from(dir, file);
    }
}

/// A service whose parts have one form each: a build is a mapping, and so are lists of pairs.
fn canonical(mut service: Object, path: &str, dir: &str) -> Result<Object, String> {
    service
        .retain(|key, _| matches!(key.as_str(), "image" | "build" | "environment" | "env_file" | "extends"));
    if let Some(environment) = service.get_mut("environment") {
        *environment = pairs(environment.take(), &join(path, "environment"))?;
    }
    if let Some(files) = service.get_mut("env_file") {
        let list = match files.take() {
            Json::Array(items) => items,
            Json::Null => Vec::new(),
            one => vec![one],
        };
        *files = Json::Array(list);
        for file in files.as_array_mut().into_iter().flatten() {
            match file {
                Json::Object(map) => rebase(map.get_mut("path"), dir),
                other => rebase(Some(other), dir),
            }
        }
    }
    let path = join(path, "build");
    let build = match service.remove("build") {
        None => return Ok(service),
        Some(Json::Null) => return Err(format!("{path} must be a folder or a mapping")),
        Some(Json::String(context)) => [("context".to_owned(), Json::String(context))].into_iter().collect(),
        other => mapping(other, &path)?,
    };
    service.insert("build".into(), Json::Object(canonical_build(build, &path, dir)?));
    Ok(service)
}

fn canonical_build(mut build: Object, path: &str, dir: &str) -> Result<Object, String> {
    for key in MAPPINGS {
        if let Some(value) = build.get_mut(key) {
            *value = pairs(value.take(), &join(path, key))?;
        }
    }
    if !dir.is_empty() {
        let context = build.entry("context").or_insert_with(|| ".".into());
        if let Json::String(text) = context {
            *text = path::rebase(dir, text);
        }
        for context in
            build.get_mut("additional_contexts").and_then(Json::as_object_mut).into_iter().flatten()
        {
            if let Json::String(text) = context.1
                && !text.starts_with("service:")
            {
                *text = path::rebase(dir, text);
            }
        }
    }
    Ok(build)
}

/// `["a=b", "c"]` as a mapping. In `extra_hosts` a colon may stand for the sign, and a host may have several addresses.
fn pairs(value: Json, path: &str) -> Result<Json, String> {
    let items = match value {
        Json::Array(items) => items,
        Json::Null => return Ok(Json::Object(Object::new())),
        Json::Object(map) => return Ok(Json::Object(map)),
        _ => return Err(format!("{path} must be a mapping or a list")),
    };
    let hosts = path.ends_with(".extra_hosts");
    let mut out = Object::new();
    for item in items {
        let text = service::scalar(&item).ok_or_else(|| format!("{path}: `{item}` must be text"))?;
        let split = text.split_once('=').or_else(|| text.split_once(':').filter(|_| hosts));
        match split {
            Some((key, value)) if hosts => {
                let all = out.entry(key.trim()).or_insert_with(|| Json::Array(Vec::new()));
                if let Json::Array(all) = all {
                    all.push(value.trim().trim_start_matches('[').trim_end_matches(']').into());
                }
            }
            None if hosts => return Err(format!("{path}: bad host name '{text}'")),
            Some((key, value)) => _ = out.insert(key.into(), value.into()),
            None => _ = out.insert(text, Json::Null),
        }
    }
    Ok(Json::Object(out))
}

/// Lays one mapping over another: mappings join, lists append, anything else replaces.
fn merged(mut below: Object, over: Object, path: &str) -> Result<Object, String> {
    for (key, value) in over {
        let path = join(path, &key);
        let old = below.remove(&key);
        let value = match (old, value) {
            (None | Some(Json::Null), value) => value,
            (Some(old), Json::Null) => old,
            (Some(Json::Object(old)), Json::Object(new)) => Json::Object(merged(old, new, &path)?),
            (Some(Json::Array(mut old)), Json::Array(new)) => {
                let lists_once = ["tags", "platforms", "cache_from", "cache_to", "no_cache_filter"];
                let once = lists_once.contains(&key.as_str());
                old.extend(new);
                if once {
                    let mut seen = Vec::new();
                    old.retain(|v| {
                        !seen.contains(v) && {
                            seen.push(v.clone());
                            true
                        }
                    });
                }
                Json::Array(old)
            }
            (Some(Json::Object(_) | Json::Array(_)), _) => return Err(format!("cannot override {path}")),
            (Some(_), value) => value,
        };
        below.insert(key, value);
    }
    Ok(below)
}
