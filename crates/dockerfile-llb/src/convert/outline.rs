//! What a stage takes from the client: arguments, secrets, agents.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::answer::{self, Location, Requirement};
use errdefs::Range;

use super::stage::Stages;

/// What the instructions so far ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    args: BTreeMap<String, Arg>,
    used: BTreeSet<String>,
    pub secrets: Mounted,
    pub ssh: Mounted,
}

/// An argument as it was declared last.
#[derive(Debug, Clone)]
struct Arg {
    value: String,
    description: String,
    /// Arguments in its default.
    needs: BTreeSet<String>,
    ranges: Vec<Range>,
}

/// Secrets or agents by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounted(BTreeMap<String, (bool, Vec<Range>)>);

impl Mounted {
    /// Of several mounts the first counts.
    pub fn add(&mut self, id: &str, required: bool, ranges: &[Range]) {
        self.0.entry(id.to_owned()).or_insert_with(|| (required, ranges.to_vec()));
    }
}

impl Wants {
    pub fn declare(
        &mut self,
        arg: &dockerfile::instruction::ArgDefinition,
        needs: BTreeSet<String>,
        ranges: Vec<Range>,
    ) {
        let (value, description) = (arg.value_or_empty().to_owned(), arg.description.clone());
        let mut needs = needs;
        // One that builds on its earlier self needs what that needed.
        if needs.remove(&arg.key)
            && let Some(earlier) = self.args.get(&arg.key)
        {
            needs.extend(earlier.needs.iter().cloned());
        }
        self.args.insert(arg.key.clone(), Arg { value, description, needs, ranges });
    }

    pub fn declared(&self) -> impl Iterator<Item = &str> {
        self.args.keys().map(String::as_str)
    }

    pub fn uses(&mut self, names: impl IntoIterator<Item = String>) {
        self.used.extend(names);
    }

    /// The used arguments and those that their defaults need.
    fn all_used(&self) -> BTreeSet<&str> {
        let mut all = BTreeSet::new();
        let mut open: Vec<&str> = self.used.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if all.insert(name)
                && let Some(arg) = self.args.get(name)
            {
                open.extend(arg.needs.iter().map(String::as_str));
            }
        }
        all
    }
}

/// What a target and all that it stands on take, sorted by line. A stage speaks before those below it.
pub(super) fn outline(stages: &Stages, target: usize, text: &[u8]) -> answer::Outline {
    let mut args: BTreeMap<&str, &Arg> = BTreeMap::new();
    let (mut secrets, mut ssh) = (BTreeMap::new(), BTreeMap::new());
    for at in below(stages, target) {
        let wants = &stages.list[at].wants;
        for name in wants.all_used() {
            if let Some(arg) = wants.args.get(name) {
                args.entry(name).or_insert(arg);
            }
        }
        for (all, own) in [(&mut secrets, &wants.secrets), (&mut ssh, &wants.ssh)] {
            own.0.iter().for_each(|(id, mount)| _ = all.entry(id).or_insert(mount));
        }
    }
    let stage = &stages.list[target].stage;
    let mut outline = answer::Outline {
        name: stage.name.clone(),
        description: stage.description.clone(),
        args: args.into_iter().map(argument).collect(),
        secrets: secrets.into_iter().map(requirement).collect(),
        ssh: ssh.into_iter().map(requirement).collect(),
        sources: vec![answer::Base64(text.to_vec())],
    };
    outline.args.sort_by_key(|arg| arg.location.first_line());
    outline.secrets.sort_by_key(|secret| secret.location.first_line());
    outline.ssh.sort_by_key(|agent| agent.location.first_line());
    outline
}

fn argument((name, arg): (&str, &Arg)) -> answer::Arg {
    answer::Arg {
        name: name.to_owned(),
        value: arg.value.clone(),
        description: arg.description.clone(),
        location: Location::new(&arg.ranges),
    }
}

fn requirement((id, (required, ranges)): (&String, &(bool, Vec<Range>))) -> Requirement {
    Requirement { name: id.clone(), required: *required, location: Location::new(ranges) }
}

/// A stage, then its base and what that needs, then the stages that its instructions take files from.
fn below(stages: &Stages, target: usize) -> Vec<usize> {
    let mut order = Vec::new();
    let mut open = vec![target];
    while let Some(at) = open.pop() {
        if order.contains(&at) {
            continue;
        }
        order.push(at);
        let stage = &stages.list[at];
        open.extend(stage.needs.iter().rev().map(|(need, _)| *need).chain(stage.base));
    }
    order
}
