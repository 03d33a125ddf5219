//! What instructions mean: a typed form for each.

use crate::heredoc::Heredoc;
use crate::place::Place;

mod copy;
mod device;
mod expand;
mod flags;
mod health;
mod mount;
pub(crate) mod read;
mod run;

pub use copy::{Add, Copy, InlineFile, Sources};
pub use device::Device;
pub use health::Healthcheck;
pub use mount::{Mount, MountKind, Sharing};
pub use run::{MountFlag, Network, Run, Security};

/// A file: what every stage may use, then the stages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dockerfile {
    pub escape: char,
    /// ARG instructions in front of the first FROM.
    pub global_args: Vec<Instruction>,
    pub stages: Vec<Stage>,
}

/// FROM and the instructions that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stage {
    /// In lower case; empty when the stage has none.
    pub name: String,
    /// An image, an earlier stage, or `scratch`; variables are not expanded.
    pub base: String,
    /// The value of `--platform`, not expanded; empty when it was not given.
    pub platform: String,
    /// `FROM` as it was written.
    pub keyword: String,
    /// The whole FROM instruction.
    pub code: String,
    pub place: Place,
    pub comments: Vec<String>,
    /// What the comment above says of the stage.
    pub description: String,
    pub instructions: Vec<Instruction>,
}

impl Stage {
    /// What is said of the stage itself.
    pub fn without_instructions(&self) -> Stage {
        Stage {
            name: self.name.clone(),
            base: self.base.clone(),
            platform: self.platform.clone(),
            keyword: self.keyword.clone(),
            code: self.code.clone(),
            place: self.place.clone(),
            comments: self.comments.clone(),
            description: self.description.clone(),
            instructions: Vec::new(),
        }
    }
}

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    pub kind: Kind,
    /// As it was written.
    pub keyword: String,
    /// The whole instruction, joined to one line, without heredocs.
    pub code: String,
    pub place: Place,
    /// Lines of the comment right above.
    pub comments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Add(Add),
    Arg(Vec<ArgDefinition>),
    Cmd(CommandLine),
    Copy(Copy),
    Entrypoint(CommandLine),
    Env(Vec<KeyValue>),
    /// Sorted port specifications.
    Expose(Vec<String>),
    Healthcheck(Healthcheck),
    Label(Vec<KeyValue>),
    Maintainer(String),
    /// The instruction that a later build is to run, heredocs included.
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
    /// Written `key value`.
    pub legacy: bool,
}

/// `name` or `name=default`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArgDefinition {
    pub key: String,
    pub value: Option<String>,
    /// What the comment above says of it.
    pub description: String,
}

/// The command of RUN, CMD or ENTRYPOINT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    pub words: Vec<String>,
    pub heredocs: Vec<Heredoc>,
    /// The words go to the stage's shell; else they are the arguments themselves.
    pub shell: bool,
}

/// Every keyword.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
