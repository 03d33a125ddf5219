//! From names to targets: groups, inheritance, links.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use errdefs::{Error, Result};

use crate::definition::{DEFAULT, Definition};
use crate::diagnostic::did_you_mean;
use crate::entries::Output;
use crate::origin::Origin;
use crate::overrides::Overrides;
use crate::path;
use crate::target::{Group, Target};

/// What a request comes to: the targets to build, and the groups that led to them.
#[derive(Debug, Default)]
pub struct Resolved {
    pub groups: BTreeMap<String, Group>,
    pub targets: BTreeMap<String, Target>,
}

impl Definition {
    /// Resolves names or patterns of targets and groups, with `--set` flags.
    ///
    /// # Errors
    /// For names that nothing has, overrides that make no sense, and links that cannot be.
    pub fn resolve(&self, requested: &[String], overrides: &[String]) -> Result<Resolved> {
        let mut names: Vec<String> = Vec::new();
        for name in requested {
            // A service of Compose may have a dot in its name, a target may not.
            names.extend(self.matching(&name.replace('.', "_"))?);
        }
        let mut seen = BTreeSet::new();
        names.retain(|n| seen.insert(n.clone()));
        let overrides = Overrides::parse(overrides, self)?;
        let mut resolver = Resolver {
            definition: self,
            overrides,
            done: HashMap::new(),
            path: Vec::new(),
            loop_start: None,
        };
        let mut out = Resolved::default();
        for name in &names {
            let (targets, groups) = self.expand(name);
            for target in targets {
                if !out.targets.contains_key(&target) {
                    out.targets.insert(target.clone(), resolver.target(&target)?);
                }
            }
            for group in groups {
                if let Some(found) = self.group(&group) {
                    out.groups.entry(group).or_insert_with(|| found.clone());
                }
            }
        }
        add_default(&mut out, &names);
        let requested: Vec<String> = out.targets.keys().cloned().collect();
        let mut linked = BTreeSet::new();
        for name in requested {
            resolver.link(&name, &mut Vec::new(), &mut linked, &mut out.targets)?;
        }
        for target in out.targets.values_mut() {
            self.finish(target)?;
        }
        Ok(out)
    }

    /// Names that a pattern matches: groups first, then targets.
    fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        if !pattern.contains(['*', '?', '[', ']']) {
            return Ok(vec![pattern.to_owned()]);
        }
        let all = self.groups.iter().map(|g| &g.name).chain(self.targets.iter().map(|t| &t.name));
        let names: Vec<String> = all.filter(|n| path::matches(pattern, n) == Ok(true)).cloned().collect();
        match names.is_empty() {
            true => Err(Error::user(format!("could not find any target matching \"{pattern}\""))),
            false => Ok(names),
        }
    }

    /// The targets that a name stands for, and the groups on the way. Within a group of its own name a target is meant.
    fn expand(&self, name: &str) -> (Vec<String>, Vec<String>) {
        let (mut targets, mut groups) = (Vec::new(), Vec::new());
        let mut open: HashMap<&str, bool> = HashMap::new();
        let mut waiting = vec![Visit::Enter(name)];
        while let Some(visit) = waiting.pop() {
            let name = match visit {
                Visit::Enter(name) => name,
                Visit::Leave(name) => {
                    open.insert(name, false);
                    continue;
                }
            };
            match (self.group(name), open.get(name)) {
                (Some(group), None) => {
                    open.insert(name, true);
                    groups.push(name.to_owned());
                    waiting.push(Visit::Leave(name));
                    waiting.extend(group.targets.iter().rev().map(|t| Visit::Enter(t)));
                }
                (Some(_), Some(true)) if self.target(name).is_some() => targets.push(name.to_owned()),
                (Some(_), Some(_)) => {}
                (None, _) => targets.push(name.to_owned()),
            }
        }
        (targets, groups)
    }

    /// What is added to every target at last, and what no target may have.
    fn finish(&self, target: &mut Target) -> Result<()> {
        let epoch = "SOURCE_DATE_EPOCH";
        if let Some(value) = &self.source_date_epoch
            && !target.args.as_ref().is_some_and(|args| args.contains_key(epoch))
        {
            target.args.get_or_insert_default().insert(epoch.into(), Some(value.clone()));
            target.origins.replace(format!("args.{epoch}"), Origin::implied("the environment"));
        }
        let context = target.context.clone().unwrap_or_else(|| ".".into());
        if context == "-" {
            return Err(Error::user("context from stdin not allowed in bake"));
        }
        if target.dockerfile.as_deref() == Some("-") {
            return Err(Error::user("dockerfile from stdin not allowed in bake"));
        }
        let context = match (context.strip_prefix("cwd://"), &self.remote) {
            (_, Some(remote)) => remote.context(&context),
            (Some(local), None) => path::clean(local),
            (None, None) if path::is_remote(&context) => context,
            (None, None) => path::clean(&context),
        };
        target.context = Some(context);
        crate::check::target(target)
    }
}

enum Visit<'n> {
    Enter(&'n str),
    Leave(&'n str),
}

/// The group `default` always tells what was asked for.
fn add_default(out: &mut Resolved, names: &[String]) {
    for name in names {
        if name == DEFAULT && out.groups.contains_key(DEFAULT) {
            continue;
        }
        let group = out.groups.entry(DEFAULT.into());
        let group = group.or_insert_with(|| Group { name: DEFAULT.into(), ..Group::default() });
        group.targets.push(name.clone());
    }
    if let Some(group) = out.groups.get_mut(DEFAULT) {
        group.targets.sort();
        group.targets.dedup();
    }
}

struct Resolver<'d> {
    definition: &'d Definition,
    overrides: Overrides,
    done: HashMap<String, Target>,
    /// Targets on the way to the one that is being resolved.
    path: Vec<String>,
    /// The place in the path to which a loop of inheritance goes back.
    loop_start: Option<usize>,
}

impl Resolver<'_> {
    /// A target with all that it inherits and nothing left open.
    fn target(&mut self, name: &str) -> Result<Target> {
        let mut target = self.inherited(name)?.unwrap_or_default();
        target.inherits.clear();
        if target.context.is_none() {
            let base = target.bases.default.as_deref().unwrap_or_default();
            target.context = Some(path::rebase(base, "."));
        }
        if target.dockerfile.as_deref().is_none_or(str::is_empty) {
            target.dockerfile = Some("Dockerfile".into());
        }
        Ok(target)
    }

    /// `None` for one that inherits from itself, where it does.
    fn inherited(&mut self, name: &str) -> Result<Option<Target>> {
        if let Some(target) = self.done.get(name) {
            return Ok(Some(target.clone()));
        }
        if let Some(place) = self.path.iter().position(|n| n == name) {
            self.loop_start = Some(self.loop_start.map_or(place, |p| p.min(place)));
            return Ok(None);
        }
        let Some(own) = self.definition.target(name) else {
            return Err(self.missing(name));
        };
        let place = self.path.len();
        self.path.push(name.to_owned());
        let mut target = Target { name: name.to_owned(), ..Target::default() };
        for parent in &own.inherits {
            if let Some(parent) = self.inherited(parent)? {
                target.merge(&parent);
            }
        }
        self.path.pop();
        target.merge(own);
        self.overrides.apply(&mut target)?;
        target.normalize();
        // What was left out of a loop depends on where the loop was entered.
        match self.loop_start {
            Some(start) if start < place => {}
            _ => {
                self.loop_start = None;
                self.done.insert(name.to_owned(), target.clone());
            }
        }
        Ok(Some(target))
    }

    fn missing(&self, name: &str) -> Error {
        let mut error = Error::user(format!("failed to find target {name}"));
        let definition = self.definition;
        let known = definition.targets.iter().map(|t| t.name.as_str());
        let known = known.chain(definition.groups.iter().map(|g| g.name.as_str()));
        if let Some(near) = did_you_mean(name, known) {
            error = error.hint(format!("did you mean `{near}`?"));
        }
        match self.path.is_empty() {
            true => error,
            false => error.hint(format!("`{}` inherits it", self.path.join("` inherits `"))),
        }
    }

    /// Adds the targets that are contexts of this one.
    fn link(
        &mut self,
        name: &str,
        visited: &mut Vec<String>,
        linked: &mut BTreeSet<String>,
        targets: &mut BTreeMap<String, Target>,
    ) -> Result<()> {
        visited.push(name.to_owned());
        let contexts: Vec<String> = targets[name].contexts.iter().flat_map(|c| c.values().cloned()).collect();
        for other in contexts.iter().filter_map(|c| c.strip_prefix("target:")) {
            if other == name {
                return Err(Error::user(format!("target {other} cannot link to itself")));
            }
            if visited.iter().any(|v| v == other) {
                return Err(Error::user(format!("infinite loop from {name} to {other}")));
            }
            if !targets.contains_key(other) {
                let mut target = self.target(other)?;
                target.output = Some(vec![Output::of("cacheonly")]);
                target.origins.replace("output", Origin::implied("it is a context of another target"));
                target.linked = true;
                targets.insert(other.to_owned(), target);
            }
            if !linked.contains(other) {
                self.link(other, visited, linked, targets)?;
            }
            inherit_entitlements(name, other, targets);
            check_platforms(name, other, targets)?;
        }
        visited.pop();
        linked.insert(name.to_owned());
        Ok(())
    }
}

fn inherit_entitlements(name: &str, other: &str, targets: &mut BTreeMap<String, Target>) {
    let more = targets[other].entitlements.clone().unwrap_or_default();
    let Some(target) = targets.get_mut(name) else { return };
    for entitlement in more {
        let own = target.entitlements.get_or_insert_default();
        if !own.contains(&entitlement) {
            own.push(entitlement);
            target.origins.add("entitlements", Origin::implied("a target that is a context"));
        }
    }
}

fn check_platforms(name: &str, other: &str, targets: &BTreeMap<String, Target>) -> Result<()> {
    let platforms = |name: &str| targets[name].platforms.clone().unwrap_or_default();
    let (own, theirs) = (platforms(name), platforms(other));
    if own.len() > 1 && theirs.len() > 1 && !own.iter().all(|p| theirs.contains(p)) {
        return Err(Error::user(format!(
            "target {other} can't be used by {name} because its platforms [{}] are not a subset of [{}]",
            own.join(" "),
            theirs.join(" ")
        )));
    }
    Ok(())
}
