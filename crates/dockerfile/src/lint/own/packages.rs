//! Package managers: what they install, and what they leave behind.

use super::shell::{self, Command};
use super::{Checker, PACKAGE_CACHE, STALE_LISTS};
use crate::instruction::{Instruction, Kind, Run, Stage};

/// A command that installs packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Install {
    pub tool: &'static str,
    /// As people call it.
    pub command: String,
    /// The files that say what is installed, in words; empty where the command itself does.
    pub manifests: &'static str,
    /// Files of the context are among what is installed.
    pub needs_files: bool,
}

/// Program, its words for installing, and the files that it reads.
const MANAGERS: [(&str, &[&str], &str); 23] = [
    ("apt-get", &["install"], ""),
    ("apt", &["install"], ""),
    ("apk", &["add"], ""),
    ("dnf", &["install"], ""),
    ("microdnf", &["install"], ""),
    ("yum", &["install"], ""),
    ("zypper", &["install", "in"], ""),
    ("npm", &["ci", "install", "i"], "package.json and package-lock.json"),
    ("yarn", &["install", ""], "package.json and yarn.lock"),
    ("pnpm", &["install", "i", "fetch"], "package.json and pnpm-lock.yaml"),
    ("bun", &["install"], "package.json and bun.lock"),
    ("pip", &["install"], "requirements.txt"),
    ("pip3", &["install"], "requirements.txt"),
    ("pipenv", &["install", "sync"], "Pipfile and Pipfile.lock"),
    ("poetry", &["install"], "pyproject.toml and poetry.lock"),
    ("uv", &["sync"], "pyproject.toml and uv.lock"),
    ("bundle", &["install"], "Gemfile and Gemfile.lock"),
    ("composer", &["install"], "composer.json and composer.lock"),
    ("go", &["mod"], "go.mod and go.sum"),
    ("cargo", &["fetch"], "Cargo.toml and Cargo.lock"),
    ("mvn", &["dependency:go-offline", "dependency:resolve"], "pom.xml"),
    ("mix", &["deps.get"], "mix.exs and mix.lock"),
    ("dotnet", &["restore"], "the project files"),
];

/// Those that also build the project, unless they are told not to.
const PROJECT_TOO: [(&str, &str); 3] =
    [("poetry", "--no-root"), ("uv", "--no-install-project"), ("composer", "--no-scripts")];

pub(super) fn installs(command: &Command) -> Option<Install> {
    let (program, command) = match command.program() {
        program if program.starts_with("python") && command.has("-m") && command.has("pip") => {
            let at = command.words.iter().position(|word| word == "pip")?;
            ("pip", Command { words: command.words[at..].to_vec(), ..command.clone() })
        }
        program => (program, command.clone()),
    };
    let &(tool, verbs, manifests) = MANAGERS.iter().find(|(name, ..)| *name == program)?;
    let verb = command.operands().next().unwrap_or_default();
    if !verbs.contains(&verb) || (tool == "go" && !command.has("download")) {
        return None;
    }
    let project = PROJECT_TOO.iter().any(|(name, not)| *name == tool && !command.has(not));
    Some(Install {
        tool,
        command: format!("{tool} {}", if tool == "go" { "mod download" } else { verb }).trim_end().to_owned(),
        manifests,
        needs_files: project || names_files(&command),
    })
}

/// Paths among the operands, but for lists of requirements.
fn names_files(command: &Command) -> bool {
    let is_file = |word: &str| {
        word.starts_with(['.', '/'])
            || word.starts_with("file:")
            || [".deb", ".rpm", ".apk", ".whl", ".tgz", ".tar.gz"].iter().any(|end| word.ends_with(end))
    };
    let mut words = command.words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-r" | "--requirement" | "-c" | "--constraint" => _ = words.next(),
            "-e" | "--editable" => return true,
            word if is_file(word) => return true,
            _ => {}
        }
    }
    false
}

impl Checker<'_> {
    pub(super) fn packages(&mut self, at: usize) {
        let ships = self.ships(at);
        for instruction in &self.file.stages[at].instructions {
            if let Kind::Run(run) = &instruction.kind
                && run.command.shell
            {
                self.stale_lists(instruction, run);
                if ships {
                    self.leftovers(instruction, run);
                }
            }
        }
    }

    /// What a stage leaves behind matters where the stage may become an image: the last one, others that nobody takes
    /// files from, and what these go on from.
    fn ships(&self, at: usize) -> bool {
        let stages = &self.file.stages;
        let is_end = |index: usize| index + 1 == stages.len() || !self.is_used(index);
        let end = (at..stages.len()).filter(|&index| is_end(index));
        end.into_iter().any(|index| self.lineage(index).iter().any(|s| s.place == stages[at].place))
    }

    fn is_used(&self, at: usize) -> bool {
        let stage = &self.file.stages[at];
        let named = |name: &str| {
            (!stage.name.is_empty() && name.eq_ignore_ascii_case(&stage.name)) || name == at.to_string()
        };
        let takes = |i: &Instruction| match &i.kind {
            Kind::Copy(copy) => named(&copy.from),
            Kind::Run(run) => run.mounts.iter().any(|mount| named(&mount.from)),
            _ => false,
        };
        let uses = |s: &Stage| named(&s.base) || s.instructions.iter().any(takes);
        self.file.stages[at + 1..].iter().any(uses)
    }

    fn leftovers(&mut self, instruction: &Instruction, run: &Run) {
        let script = shell::script(run);
        let commands = shell::commands(&script);
        let mounted = |path: &str| run.mounts.iter().any(|mount| mount.text.contains(path));
        let cleaned = |paths: &[&str]| paths.iter().any(|path| script.contains(path) || mounted(path));
        let says = |program: &str, word: &str| commands.iter().any(|c| c.program() == program && c.has(word));
        for install in commands.iter().filter_map(installs) {
            let tool = install.tool;
            let (clean, cure) = match tool {
                "apt-get" | "apt" => (
                    !(says("apt-get", "update") || says("apt", "update"))
                        || cleaned(&["/var/lib/apt", "/var/cache/apt"]),
                    "end the step with `rm -rf /var/lib/apt/lists/*`, or mount a cache there",
                ),
                "apk" => (
                    says("apk", "--no-cache") || cleaned(&["/var/cache/apk", "/etc/apk/cache"]),
                    "use `apk add --no-cache`",
                ),
                "dnf" | "yum" | "microdnf" => (
                    says(tool, "clean")
                        || cleaned(&["/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"]),
                    "end the step with `clean all`, or mount a cache",
                ),
                "zypper" => (
                    says(tool, "clean") || says(tool, "cc") || cleaned(&["/var/cache/zypp"]),
                    "end the step with `zypper clean --all`",
                ),
                _ => continue,
            };
            if !clean {
                let message =
                    format!("`{}` leaves its lists and caches in the image; {cure}", install.command);
                self.find(PACKAGE_CACHE, instruction, tool, message);
                return;
            }
        }
    }

    /// Lists of one step are found in the cache long after the packages that they name are gone.
    fn stale_lists(&mut self, instruction: &Instruction, run: &Run) {
        let commands = shell::commands(&shell::script(run));
        let of_apt = |c: &&Command| matches!(c.program(), "apt-get" | "apt");
        let mut apt = commands.iter().filter(of_apt);
        let updates = commands.iter().filter(of_apt).any(|c| c.operands().next() == Some("update"));
        if updates && apt.all(|c| c.operands().next() == Some("update")) && run.mounts.is_empty() {
            let others = commands
                .iter()
                .any(|c| matches!(c.program(), "sh" | "bash" | "dash") || c.program().ends_with(".sh"));
            if !others {
                let message = "`apt-get update` in a step of its own is taken from the cache when packages are \
                               installed later; do both in one step";
                self.find(STALE_LISTS, instruction, "update", message.to_owned());
            }
        }
    }
}
