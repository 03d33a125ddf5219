//! The files of a bake, read and evaluated.

use std::collections::{BTreeMap, HashMap};

use errdefs::{Error, Result};

use crate::compose;
use crate::diagnostic::{Fault, File, Warning};
use crate::eval::Budget;
use crate::functions::Context;
use crate::module::{Module, Outside, VariableInfo};
use crate::path;
use crate::remote::Remote;
use crate::syntax::{self, Body};
use crate::target::{Group, Target};

/// Reads the file of a path.
pub type ReadFile = Box<dyn Fn(&str) -> std::io::Result<Vec<u8>>>;

/// What a bake is given beside its files.
pub struct Given {
    /// The environment of the caller.
    pub environment: BTreeMap<String, String>,
    /// `--var`.
    pub vars: BTreeMap<String, String>,
    /// Variables that exist without being defined: BAKE_CMD_CONTEXT and BAKE_LOCAL_PLATFORM.
    pub built_in: BTreeMap<String, String>,
    /// The file `.env` of the working directory, which Compose files see.
    pub dotenv: Option<Vec<u8>>,
    /// Reads a file that a Compose file names: `env_file`, `extends`, `include`. Paths are as written there.
    pub read: ReadFile,
    /// Relative contexts count from the file that has them, not from the working directory.
    pub file_relative: bool,
    /// Where the files came from, if that is not this machine: relative contexts lie there too.
    pub remote: Option<Remote>,
    pub clock: Context,
}

/// All targets, groups and variables of the files.
#[derive(Debug, Default)]
pub struct Definition {
    pub targets: Vec<Target>,
    pub groups: Vec<Group>,
    pub variables: Vec<VariableInfo>,
    pub warnings: Vec<Warning>,
    pub files: Vec<File>,
    by_name: HashMap<String, usize>,
    /// The environment, for overrides that take their value from it; empty where it must not be looked at.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) source_date_epoch: Option<String>,
    pub remote: Option<Remote>,
}

/// What a file is written in.
enum Read {
    Compose,
    Body(Body),
}

impl Definition {
    /// Reads files in their order; a later file wins over an earlier one, and any other over Compose files.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn load(files: Vec<File>, given: Given) -> Result<Self> {
        Self::load_within(files, given, Budget::default())
    }

    /// As [`Definition::load`], with another budget.
    ///
    /// # Errors
    /// As there, and when the budget is used up.
    pub fn load_within(files: Vec<File>, given: Given, budget: Budget) -> Result<Self> {
        match Self::evaluate(&files, given, budget) {
            Ok(definition) => Ok(Definition { files, ..definition }),
            Err(fault) => Err(fault.error(&files)),
        }
    }

    fn evaluate(files: &[File], given: Given, budget: Budget) -> std::result::Result<Self, Fault> {
        if files.len() > usize::from(u16::MAX) {
            return Err(Fault::plain("there are too many files"));
        }
        let source_date_epoch = given.environment.get("SOURCE_DATE_EPOCH").filter(|v| !v.is_empty()).cloned();
        let closed = given.environment.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");
        let closed = closed.is_some_and(|v| crate::entries::parse_bool(v) == Ok(true));
        let environment = if closed { BTreeMap::new() } else { given.environment };
        let compose_environment = compose::environment(&environment, given.dotenv.as_deref(), &given.vars)?;
        let mut composed = Vec::new();
        let mut bodies = Vec::new();
        for (index, file) in files.iter().enumerate() {
            match read(file, index as u16, &compose_environment)? {
                Read::Compose => composed.push(index as u16),
                Read::Body(body) => bodies.push(body),
            }
        }
        let mut out =
            Definition { source_date_epoch, environment, remote: given.remote, ..Definition::default() };
        if !composed.is_empty() {
            let (targets, groups) = compose::load(files, &composed, &compose_environment, &given.read)?;
            let base = composed.first().and_then(|i| folder(&files[usize::from(*i)].name));
            out.groups = groups;
            for mut target in targets {
                if let Some(base) = &base {
                    target.bases_from(base);
                }
                out.add(target);
            }
        }
        let outside = Outside {
            vars: given.vars,
            environment: out.environment.clone(),
            built_in: given.built_in,
            context: given.clock,
        };
        let evaluated = Module::new(bodies, &outside, budget)?.evaluate()?;
        for group in evaluated.groups {
            out.add_group(group);
        }
        for mut target in evaluated.targets {
            let file = target.defined_in;
            let base = file.and_then(|i| folder(&files[usize::from(i)].name)).unwrap_or_default();
            target.bases_from(&base);
            out.add(target);
        }
        out.variables = evaluated.variables;
        out.warnings = evaluated.warnings;
        for group in &mut out.groups {
            let mut seen = std::collections::HashSet::new();
            group.targets.retain(|t| seen.insert(t.clone()));
        }
        match given.file_relative {
            true => out.rebase(),
            false => out.targets.iter_mut().for_each(|t| t.bases = Default::default()),
        }
        Ok(out)
    }

    fn add(&mut self, target: Target) {
        match self.by_name.get(&target.name) {
            Some(i) => self.targets[*i].merge(&target),
            None => {
                self.by_name.insert(target.name.clone(), self.targets.len());
                self.targets.push(target);
            }
        }
    }

    /// A later group replaces an earlier one.
    fn add_group(&mut self, group: Group) {
        match self.groups.iter_mut().find(|g| g.name == group.name) {
            Some(old) => *old = group,
            None => self.groups.push(group),
        }
    }

    pub fn target(&self, name: &str) -> Option<&Target> {
        self.by_name.get(name).map(|i| &self.targets[*i])
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == name)
    }

    /// Makes relative contexts count from their files.
    fn rebase(&mut self) {
        for i in 0..self.targets.len() {
            let referred = self.targets[i].bases.context_of.as_deref().and_then(|name| self.target(name));
            let base = referred.and_then(|t| t.bases.context.clone().or_else(|| t.bases.default.clone()));
            let target = &mut self.targets[i];
            if base.is_some() {
                target.bases.context = base;
            }
            if let (Some(context), Some(base)) = (&mut target.context, &target.bases.context) {
                *context = path::rebase(base, context);
            }
            for (name, context) in target.contexts.iter_mut().flatten() {
                if let Some(base) = target.bases.contexts.get(name) {
                    *context = path::rebase(base, context);
                }
            }
        }
    }
}

impl Target {
    fn bases_from(&mut self, base: &str) {
        self.bases.default = Some(base.to_owned());
        if self.context.is_some() {
            self.bases.context = Some(base.to_owned());
        }
        let names = self.contexts.iter().flat_map(|c| c.keys());
        self.bases.contexts = names.map(|name| (name.clone(), base.to_owned())).collect();
    }
}

/// The folder of a file, if it has one on this machine.
fn folder(name: &str) -> Option<String> {
    let has = !name.is_empty() && name != "-" && !path::is_remote(name);
    has.then(|| path::parent(name))
}

fn read(file: &File, index: u16, environment: &BTreeMap<String, String>) -> std::result::Result<Read, Fault> {
    let name = file.name.to_lowercase();
    if name.ends_with(".yml") || name.ends_with(".yaml") {
        return Ok(Read::Compose);
    }
    if file.name.ends_with(".json") {
        return syntax::json(file, index).map(Read::Body);
    }
    if file.name.ends_with(".hcl") {
        return syntax::hcl(file, index).map(Read::Body);
    }
    if compose::looks_like(file, index, environment) {
        return Ok(Read::Compose);
    }
    match syntax::hcl(file, index) {
        Ok(body) => Ok(Read::Body(body)),
        Err(fault) => syntax::json(file, index).map(Read::Body).map_err(|_| fault),
    }
}

/// Read where no file is named, all that are there, in this order.
pub const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// A request that names nothing wants this.
pub const DEFAULT: &str = "default";

/// # Errors
/// If there are no files at all.
pub fn require_files(files: &[File]) -> Result<()> {
    match files.is_empty() {
        true => Err(Error::user("couldn't find a bake definition")
            .hint("write a docker-bake.hcl, or name a file with `-f`")),
        false => Ok(()),
    }
}
