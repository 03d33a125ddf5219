//! Device nodes.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use errdefs::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};

/// A node as a spec file has it: what is not said is as on this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeviceNode {
    path: PathBuf,
    #[serde(default)]
    host_path: PathBuf,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    major: u32,
    #[serde(default)]
    minor: u32,
    #[serde(default, deserialize_with = "mode")]
    file_mode: Option<u32>,
    #[serde(default)]
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// A node that a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Absolute.
    pub path: PathBuf,
    pub kind: NodeKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// The user and the group of the process, where it is not said.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Some of `r`, `w` and `m`: what the container may do with the device.
    pub access: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    Char,
    Block,
    Fifo,
}

impl DeviceNode {
    pub fn check(&self) -> Result<(), String> {
        let path = self.path.display();
        if self.path.as_os_str().is_empty() {
            return Err("invalid (empty) device path".into());
        }
        if !matches!(self.kind.as_str(), "" | "b" | "c" | "u" | "p") {
            return Err(format!("device `{path}`: invalid type {:?}", self.kind));
        }
        match self.permissions.bytes().all(|b| b"rwm".contains(&b)) {
            true => Ok(()),
            false => Err(format!("device `{path}`: invalid permissions {:?}", self.permissions)),
        }
    }

    /// The node, with what this machine has where the file does not say.
    pub fn resolve(&self) -> Result<Node> {
        let on_host = if self.host_path.as_os_str().is_empty() { &self.path } else { &self.host_path };
        let said = match self.kind.as_str() {
            "b" => Some(NodeKind::Block),
            "p" => Some(NodeKind::Fifo),
            "" => None,
            _ => Some(NodeKind::Char),
        };
        let is_complete = said.is_some() && (self.major != 0 || said == Some(NodeKind::Fifo));
        let found = match look(on_host) {
            Ok(found) => Some(found),
            Err(_) if is_complete => None,
            Err(e) => {
                return Err(
                    e.context(format!("failed to stat CDI host device {:?}", on_host.display().to_string()))
                );
            }
        };
        let numbers =
            found.as_ref().filter(|_| !is_complete).map(|found| (found.kind, found.major, found.minor));
        let (kind, major, minor) = match (said, numbers) {
            (Some(said), Some((kind, ..))) if said != kind => {
                let message = format!(
                    "CDI device `{}` is of another type than `{}`",
                    self.path.display(),
                    on_host.display()
                );
                return Err(Error::environment(message));
            }
            (_, Some(numbers)) => numbers,
            (said, None) => (said.unwrap_or(NodeKind::Char), self.major, self.minor),
        };
        Ok(Node {
            path: self.path.clone(),
            kind,
            major,
            minor,
            mode: self.file_mode.or(found.map(|found| found.mode)).unwrap_or(0o666) & 0o7777,
            uid: self.uid,
            gid: self.gid,
            access: if self.permissions.is_empty() { "rwm".into() } else { self.permissions.clone() },
        })
    }
}

/// What a device is on this machine.
struct Found {
    kind: NodeKind,
    major: u32,
    minor: u32,
    mode: u32,
}

fn look(path: &Path) -> Result<Found> {
    let meta = std::fs::symlink_metadata(path)?;
    let file_type = meta.file_type();
    let kind = match () {
        () if file_type.is_block_device() => NodeKind::Block,
        () if file_type.is_char_device() => NodeKind::Char,
        () if file_type.is_fifo() => NodeKind::Fifo,
        () => return Err(Error::environment("not a device node")),
    };
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Ok(Found { kind, major, minor, mode: meta.mode() & 0o7777 })
}

/// A number, or a text in octal.
fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Mode {
        Number(u32),
        Text(String),
    }
    match Option::<Mode>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Mode::Number(number)) => Ok(Some(number)),
        Some(Mode::Text(text)) => {
            let digits = text.trim_start_matches("0o");
            let number = u32::from_str_radix(digits, 8);
            number.map(Some).map_err(|_| serde::de::Error::custom(format!("invalid file mode {text:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml: &str) -> Result<Node> {
        serde_yaml_ng::from_str::<DeviceNode>(yaml).expect("valid").resolve()
    }

    #[test]
    fn what_is_not_said_is_as_on_this_machine() {
        let null = node("path: /dev/null").expect("is there");
        assert_eq!((null.kind, null.major, null.minor), (NodeKind::Char, 1, 3));
        assert_eq!((null.access.as_str(), null.uid), ("rwm", None));
        let other = node("{path: /dev/x, hostPath: /dev/zero, fileMode: 0640, uid: 7, permissions: r}");
        let other = other.expect("is there");
        assert_eq!((other.major, other.minor, other.mode, other.uid), (1, 5, 0o640, Some(7)));
        assert_eq!((other.path.to_str(), other.access.as_str()), (Some("/dev/x"), "r"));
        let said =
            node("{path: /dev/none, type: b, major: 7, minor: 9, fileMode: 384}").expect("is complete");
        assert_eq!((said.kind, said.major, said.minor, said.mode), (NodeKind::Block, 7, 9, 0o600));
    }

    #[test]
    fn what_is_not_there_is_told() {
        let check = |yaml: &str, expected: &str| {
            let e = node(yaml).expect_err("cannot be").to_string();
            assert!(e.starts_with(expected), "{e}");
        };
        check("path: /dev/none", "failed to stat CDI host device \"/dev/none\": ");
        check("path: /etc/passwd", "failed to stat CDI host device \"/etc/passwd\": not a device node");
        check("{path: /dev/null, type: b}", "CDI device `/dev/null` is of another type than `/dev/null`");
    }
}
