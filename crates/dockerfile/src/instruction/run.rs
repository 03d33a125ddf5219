//! RUN.

use super::CommandLine;
use super::device::Device;
use super::flags::{Flags, Takes};
use super::mount::Mount;
use super::read::command_line;
use crate::statement::Statement;
use crate::{Error, Result, go};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    pub command: CommandLine,
    pub mounts: Vec<MountFlag>,
    pub network: Network,
    pub security: Security,
    pub devices: Vec<Device>,
}

/// A `--mount` whose values wait for their variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountFlag {
    pub text: String,
    /// The value of `from`: a stage, an image or a named context. It takes no variables.
    pub from: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    #[default]
    Sandbox,
    Insecure,
}

impl MountFlag {
    fn read(text: String) -> Result<MountFlag> {
        let from = Mount::from_of(&text).map_err(|e| e.about(&text))?;
        Ok(MountFlag { text, from })
    }

    /// The mount, its values expanded.
    ///
    /// # Errors
    /// For keys and values that are wrong or do not go together, and whatever `expand` refuses.
    pub fn resolve(&self, expand: &mut dyn FnMut(&str) -> Result<String>) -> Result<Mount> {
        Mount::parse(&self.text, expand).map_err(|e| e.about(&self.text))
    }
}

impl Run {
    pub(super) fn read(s: &Statement) -> Result<Run> {
        let known = [
            ("mount", Takes::Many),
            ("network", Takes::One),
            ("security", Takes::One),
            ("device", Takes::Many),
        ];
        let mut flags = Flags::read(&s.flags, &known)?;
        let command = command_line(s);
        let mounts = flags.many("mount").into_iter().map(MountFlag::read).collect::<Result<_>>()?;
        let given = s.flags.iter().any(|f| f.starts_with("--network="));
        let network = match flags.one("network").as_str() {
            "" if !given => Network::Default,
            "default" => Network::Default,
            "none" => Network::None,
            "host" => Network::Host,
            other => {
                return Err(Error::new(format!("invalid network mode {}", go::quote(other))).about(other));
            }
        };
        let given = s.flags.iter().any(|f| f.starts_with("--security="));
        let security = match flags.one("security").as_str() {
            "" if !given => Security::Sandbox,
            "sandbox" => Security::Sandbox,
            "insecure" => Security::Insecure,
            other => {
                return Err(Error::new(format!("security {} is not valid", go::quote(other))).about(other));
            }
        };
        let device = |text: String| Device::parse(&text).map_err(|e| e.about(&text));
        let devices = flags.many("device").into_iter().map(device).collect::<Result<_>>()?;
        Ok(Run { command, mounts, network, security, devices })
    }
}
