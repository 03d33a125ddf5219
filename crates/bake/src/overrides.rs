//! `--set PATTERN.KEY[.NAME][+]=VALUE`: what the command line says of targets.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::definition::Definition;
use crate::entries::{self, Output, Policy, Resources, Secret, parse_bool};
use crate::origin::Origin;
use crate::path;
use crate::schema;
use crate::target::Target;

/// What is said of one key of a target.
#[derive(Debug, Clone, Default)]
struct Override {
    /// All values, in their order.
    values: Vec<String>,
    /// `+=`: to be added to what the files say.
    append: bool,
    /// As written, the last of them.
    flag: String,
}

impl Override {
    fn last(&self) -> &str {
        self.values.last().map(String::as_str).unwrap_or_default()
    }
}

/// Overrides by target and key.
#[derive(Debug, Default)]
pub struct Overrides(BTreeMap<String, BTreeMap<String, Override>>);

impl Overrides {
    /// Reads flags against the targets that there are.
    ///
    /// # Errors
    /// For malformed flags and patterns that no target matches.
    pub fn parse(flags: &[String], definition: &Definition) -> Result<Self> {
        let mut out = Overrides::default();
        for flag in flags {
            out.add(flag, definition)?;
        }
        Ok(out)
    }

    fn add(&mut self, flag: &str, definition: &Definition) -> Result<()> {
        let (left, value) = match flag.split_once('=') {
            Some((left, value)) => (left, Some(value)),
            None => (flag, None),
        };
        let (key, append) = match left.strip_suffix('+') {
            Some(key) => (key, true),
            None => (left, false),
        };
        let mut parts = key.splitn(3, '.');
        let (pattern, kind) = (parts.next().unwrap_or_default(), parts.next());
        let Some(kind) = kind else {
            return Err(Error::user(format!("invalid override key {key}, expected target.name")));
        };
        let name = parts.next();
        if value.is_none() && kind != "args" {
            return Err(Error::user(format!("invalid override {flag}, expected target.name=value")));
        }
        if matches!(kind, "args" | "contexts" | "resources" | "secret") && name.is_none() {
            return Err(Error::user(format!("invalid key {left}, {kind} requires name")));
        }
        if matches!(kind, "resources" | "secret") && append {
            return Err(Error::user(format!("invalid key {left}, {kind} does not support append")));
        }
        let targets = matching_targets(pattern, definition)?;
        let value = match value {
            Some(value) => value.to_owned(),
            // An argument without a value has that of the environment, if there is one.
            None => match definition.environment.get(name.unwrap_or_default()) {
                Some(value) => value.clone(),
                None => return Ok(()),
            },
        };
        let key = key[pattern.len() + 1..].to_owned();
        for target in targets {
            let entry = self.0.entry(target).or_default().entry(key.clone()).or_default();
            entry.values.push(value.clone());
            entry.append = append;
            entry.flag = flag.to_owned();
        }
        Ok(())
    }

    /// Applies what is said of this target. What builds on outputs comes after what sets them.
    ///
    /// # Errors
    /// For values that no key takes, and for unknown keys.
    pub fn apply(&self, target: &mut Target) -> Result<()> {
        let Some(all) = self.0.get(&target.name) else { return Ok(()) };
        let (late, early): (Vec<_>, Vec<_>) = all
            .iter()
            .partition(|(key, _)| matches!(key.split('.').next(), Some("push" | "load" | "secret")));
        for (key, o) in early.into_iter().chain(late) {
            set(target, key, o)
                .map_err(|why| Error::user(why).hint(format!("this comes from `--set {}`", o.flag)))?;
        }
        Ok(())
    }
}

fn matching_targets(pattern: &str, definition: &Definition) -> Result<Vec<String>> {
    if definition.target(pattern).is_some() {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut out = Vec::new();
    for target in &definition.targets {
        let matches = path::matches(pattern, &target.name).map_err(|_| {
            Error::user(format!("could not match targets with '{pattern}': syntax error in pattern"))
        })?;
        if matches {
            out.push(target.name.clone());
        }
    }
    match out.is_empty() {
        true => Err(Error::user(format!("could not find any target matching '{pattern}'"))),
        false => Ok(out),
    }
}

fn set(target: &mut Target, key: &str, o: &Override) -> std::result::Result<(), String> {
    let (kind, name) = match key.split_once('.') {
        Some((kind, name)) => (kind, Some(name)),
        None => (key, None),
    };
    let named = || name.ok_or_else(|| format!("invalid format for {kind}, expecting {kind}.<name>=<value>"));
    let text = || Some(o.last().to_owned());
    let flag =
        || parse_bool(o.last()).map_err(|_| format!("invalid value {} for boolean key {kind}", o.last()));
    let mut attribute = kind.to_owned();
    match kind {
        "context" => target.context = text(),
        "dockerfile" => target.dockerfile = text(),
        "target" => target.target = text(),
        "call" => target.call = text(),
        "shm-size" => target.shm_size = text(),
        "network" => target.network = text(),
        "pull" => target.pull = Some(flag()?),
        "no-cache" => target.no_cache = Some(flag()?),
        "args" => _ = target.args.get_or_insert_default().insert(named()?.into(), text()),
        "labels" => _ = target.labels.get_or_insert_default().insert(named()?.into(), text()),
        "extra-hosts" => _ = target.extra_hosts.get_or_insert_default().insert(named()?.into(), text()),
        "contexts" => _ = target.contexts.get_or_insert_default().insert(named()?.into(), o.last().into()),
        "resources" => {
            target.resources.get_or_insert_with(Resources::default).set(named()?, o.last())?;
        }
        "tags" => list(&mut target.tags, o.values.clone(), o.append),
        "no-cache-filter" => list(&mut target.no_cache_filter, o.values.clone(), o.append),
        "ulimits" => list(&mut target.ulimits, o.values.clone(), o.append),
        "platform" => {
            attribute = "platforms".into();
            list(&mut target.platforms, o.values.clone(), o.append);
        }
        "annotations" => list(&mut target.annotations, o.values.clone(), true),
        "entitlements" => list(&mut target.entitlements, o.values.clone(), true),
        "attest" => list(&mut target.attest, entries::lines(&o.values)?, true),
        "cache-from" => list(&mut target.cache_from, entries::lines(&o.values)?, o.append),
        "cache-to" => list(&mut target.cache_to, entries::lines(&o.values)?, o.append),
        "policy" => list(&mut target.policy, entries::lines::<Policy>(&o.values)?, o.append),
        "secrets" => {
            attribute = "secret".into();
            list(&mut target.secret, entries::lines(&o.values)?, o.append);
        }
        "ssh" => list(&mut target.ssh, entries::lines(&o.values)?, o.append),
        "output" => list(&mut target.output, entries::lines(&o.values)?, o.append),
        "secret" => replace_secret(target, named()?, o.last())?,
        "push" => {
            attribute = "output".into();
            push(target, flag()?);
        }
        "load" => {
            attribute = "output".into();
            if flag()? {
                load(target);
            }
        }
        other => {
            let known = schema::TARGET.into_iter().chain(["platform", "secrets", "push", "load"]);
            return Err(match crate::diagnostic::did_you_mean(other, known) {
                Some(near) if near != other => format!("unknown key: {other} (did you mean \"{near}\"?)"),
                _ => format!("unknown key: {other}"),
            });
        }
    }
    if matches!(kind, "args" | "labels" | "extra-hosts" | "contexts") {
        attribute = key.to_owned();
    }
    let origin = Origin::Flag(o.flag.clone());
    match o.append
        || matches!(
            kind,
            "annotations" | "attest" | "entitlements" | "push" | "load" | "resources" | "secret"
        ) {
        true => target.origins.add(attribute, origin),
        false => target.origins.replace(attribute, origin),
    }
    Ok(())
}

fn list<T>(own: &mut Option<Vec<T>>, values: Vec<T>, append: bool) {
    match own {
        Some(own) if append => own.extend(values),
        _ => *own = Some(values),
    }
}

/// Another source for a secret that the files declare.
fn replace_secret(target: &mut Target, id: &str, line: &str) -> std::result::Result<(), String> {
    let secret = target.secret.iter_mut().flatten().find(|s| s.id == id);
    let secret =
        secret.ok_or_else(|| format!("secret \"{id}\" must be declared before it can be overridden"))?;
    let next = entries::lines::<Secret>([line])?.pop().ok_or("a secret needs a source")?;
    if !next.id.is_empty() && next.id != id {
        return Err(format!("secret override id \"{}\" does not match declared secret \"{id}\"", next.id));
    }
    *secret = Secret { id: id.to_owned(), ..next };
    Ok(())
}

fn push(target: &mut Target, on: bool) {
    let outputs = target.output.get_or_insert_default();
    if on {
        let adds = outputs.iter().all(|o| o.kind == "docker");
        for output in outputs.iter_mut().filter(|o| o.kind == "image") {
            output.attributes.insert("push".into(), "true".into());
        }
        if adds {
            let mut image = Output::of("image");
            image.attributes.insert("push".into(), "true".into());
            outputs.push(image);
        }
        return;
    }
    let mut i = 0;
    while i < outputs.len() {
        match outputs[i].kind.as_str() {
            // The last takes its place, which is the order that buildx prints.
            "registry" => _ = outputs.swap_remove(i),
            "image" => {
                outputs[i].attributes.insert("push".into(), "false".into());
                i += 1;
            }
            _ => i += 1,
        }
    }
}

fn load(target: &mut Target) {
    let outputs = target.output.get_or_insert_default();
    for output in outputs.iter() {
        match output.kind.as_str() {
            "docker" if output.dest.is_empty() => return,
            "docker" | "image" | "registry" | "oci" => {}
            _ => return,
        }
    }
    outputs.push(Output::of("docker"));
}
