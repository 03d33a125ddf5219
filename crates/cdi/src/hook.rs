//! Programs that are run for a device.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program that is run at a moment of a container's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    #[serde(rename = "hookName")]
    pub at: Moment,
    /// Absolute: of this machine, or for [`Moment::StartContainer`] of the container.
    pub path: PathBuf,
    /// The name of the program first.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds that it may take; as long as it likes otherwise.
    pub timeout: Option<u64>,
}

/// Moments of a container's life (OCI runtime specification, config.md, "POSIX-platform Hooks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// The container is complete, and nobody is in it yet. Two names of the same.
    Prestart,
    CreateRuntime,
    /// The same a moment later, as the container sees the machine before it goes into its own root.
    CreateContainer,
    /// The program is executed next.
    StartContainer,
    /// The program was executed.
    Poststart,
    /// Nothing of the container runs any more.
    Poststop,
}

impl Moment {
    pub fn name(self) -> &'static str {
        match self {
            Moment::Prestart => "prestart",
            Moment::CreateRuntime => "createRuntime",
            Moment::CreateContainer => "createContainer",
            Moment::StartContainer => "startContainer",
            Moment::Poststart => "poststart",
            Moment::Poststop => "poststop",
        }
    }
}

impl Hook {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.path.is_absolute() {
            return Err(format!("the path of a hook is not absolute: {:?}", self.path.display().to_string()));
        }
        if self.timeout == Some(0) {
            return Err("a hook has no time to run".into());
        }
        Ok(())
    }
}
