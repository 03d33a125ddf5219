//! One spec file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::hook::Hook;
use crate::node::DeviceNode;

/// The versions of the format.
const VERSIONS: [&str; 10] =
    ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Spec {
    cdi_version: String,
    pub kind: String,
    #[serde(default, deserialize_with = "texts")]
    pub annotations: BTreeMap<String, String>,
    pub devices: Vec<SpecDevice>,
    /// What a container gets with any of the devices.
    #[serde(default)]
    pub container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpecDevice {
    pub name: String,
    #[serde(default, deserialize_with = "texts")]
    pub annotations: BTreeMap<String, String>,
    pub container_edits: Edits,
}

/// What a container gets with a device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    pub(crate) device_nodes: Vec<DeviceNode>,
    pub mounts: Vec<Mount>,
    /// Groups that the process is in besides its own.
    #[serde(rename = "additionalGids")]
    pub groups: Vec<u32>,
    /// In the order in which they are run.
    pub hooks: Vec<Hook>,
    pub net_devices: Vec<NetDevice>,
    intel_rdt: Option<IgnoredAny>,
}

/// A file or folder of this machine that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    /// As of `mount -o`.
    #[serde(default)]
    pub options: Vec<String>,
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// A network interface of this machine that a container has in place of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetDevice {
    #[serde(rename = "hostInterfaceName")]
    pub host: String,
    /// What the container calls it.
    pub name: String,
}

impl Spec {
    /// Reads a file, in YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: Spec = serde_yaml_ng::from_str(text).map_err(|e| e.to_string())?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        if !VERSIONS.contains(&self.cdi_version.as_str()) {
            return Err(format!("invalid version {:?}", self.cdi_version));
        }
        let (vendor, class) = self.kind.split_once('/').unwrap_or(("", &self.kind));
        for (what, name) in [("vendor", vendor), ("class", class)] {
            if !is_name(name, "_-.", u8::is_ascii_alphabetic) {
                return Err(format!("invalid {what} {name:?}"));
            }
        }
        self.container_edits.check()?;
        let mut seen = BTreeSet::new();
        for device in &self.devices {
            let name = &device.name;
            if !is_name(name, "_-.:", u8::is_ascii_alphanumeric) {
                return Err(format!("invalid device name {name:?}"));
            }
            if !seen.insert(name) {
                return Err(format!("duplicate device {name:?}"));
            }
            if device.container_edits.is_empty() {
                return Err(format!("device {name:?} gives a container nothing"));
            }
            device.container_edits.check().map_err(|e| format!("device {name:?}: {e}"))?;
        }
        Ok(())
    }
}

impl Edits {
    fn is_empty(&self) -> bool {
        let Edits { env, device_nodes, mounts, groups, hooks, net_devices, .. } = self;
        env.is_empty()
            && device_nodes.is_empty()
            && mounts.is_empty()
            && groups.is_empty()
            && hooks.is_empty()
            && net_devices.is_empty()
            && self.what_is_missing().is_none()
    }

    fn check(&self) -> Result<(), String> {
        let env = self.env.iter().chain(self.hooks.iter().flat_map(|hook| &hook.env));
        if let Some(bad) = env.into_iter().find(|e| e.find('=').is_none_or(|at| at == 0)) {
            return Err(format!("invalid environment variable {bad:?}"));
        }
        if self.mounts.iter().any(|m| m.host_path.as_os_str().is_empty()) {
            return Err("a mount has no path on the host".into());
        }
        if self.mounts.iter().any(|m| m.container_path.as_os_str().is_empty()) {
            return Err("a mount has no path in the container".into());
        }
        self.hooks.iter().try_for_each(Hook::check)?;
        for name in self.net_devices.iter().flat_map(|device| [&device.host, &device.name]) {
            if !is_interface(name) {
                return Err(format!("invalid name of a network device {name:?}"));
            }
        }
        self.device_nodes.iter().try_for_each(DeviceNode::check)
    }

    /// What is asked for and cannot be had here.
    pub(crate) fn what_is_missing(&self) -> Option<&'static str> {
        self.intel_rdt.as_ref().map(|_| "Intel RDT")
    }

    pub(crate) fn add(&mut self, more: &Edits) {
        let more = more.clone();
        self.env.extend(more.env);
        self.device_nodes.extend(more.device_nodes);
        self.mounts.extend(more.mounts);
        self.hooks.extend(more.hooks);
        self.net_devices.extend(more.net_devices);
        self.groups.extend(more.groups.into_iter().filter(|&group| group != 0));
    }
}

/// As the kernel has names of interfaces (`dev_valid_name`), and none that a program would take for an option.
fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.starts_with('-')
        && !name.contains(['/', ':'])
        && !name.contains(char::is_whitespace)
}

/// Begins as `first` says, ends in a letter or digit, and holds `extra` besides them.
fn is_name(name: &str, extra: &str, first: fn(&u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(first)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || extra.as_bytes().contains(b))
}

/// Values that need no quotes: `true` is a text here.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scalar {
        Bool(bool),
        Int(i64),
        Float(f64),
        Text(String),
    }
    let map = Option::<BTreeMap<String, Scalar>>::deserialize(deserializer)?.unwrap_or_default();
    let text = |scalar| match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(value) => value,
    };
    Ok(map.into_iter().map(|(key, value)| (key, text(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, device: &str, expected: Result<(), &str>) {
        let text = format!("cdiVersion: \"0.6.0\"\nkind: {kind}\ndevices:\n- name: {device}\n");
        let parsed = Spec::parse(&text).map(drop);
        match (&parsed, expected) {
            (Ok(()), Ok(())) => {}
            (Err(e), Err(part)) => assert!(e.contains(part), "{e}"),
            _ => panic!("{text}{parsed:?}"),
        }
    }

    #[test]
    fn files_are_checked() {
        let edits = "\n  containerEdits: {env: [A=b]}";
        check("v.com/dev", &format!("foo{edits}"), Ok(()));
        check("v.com/dev", &format!("\"0:1\"{edits}"), Ok(()));
        check("v.com", &format!("foo{edits}"), Err("invalid vendor \"\""));
        check("v.com/1dev", &format!("foo{edits}"), Err("invalid class \"1dev\""));
        check("v.com/dev", &format!("foo-{edits}"), Err("invalid device name \"foo-\""));
        check("v.com/dev", &format!("a{edits}\n- name: a{edits}"), Err("duplicate device \"a\""));
        check("v.com/dev", "foo\n  containerEdits: {}", Err("gives a container nothing"));
        check("v.com/dev", "foo\n  containerEdits: {env: [b]}", Err("invalid environment variable \"b\""));
        check(
            "v.com/dev",
            "foo\n  containerEdits: {deviceNodes: [{path: /dev/x, type: q}]}",
            Err("invalid type"),
        );
        check(
            "v.com/dev",
            "foo\n  containerEdits: {hooks: [{hookName: poststop, path: x}]}",
            Err("the path of a hook is not absolute: \"x\""),
        );
        check(
            "v.com/dev",
            "foo\n  containerEdits: {hooks: [{hookName: x, path: /x}]}",
            Err("unknown variant `x`"),
        );
        check(
            "v.com/dev",
            "foo\n  containerEdits: {netDevices: [{hostInterfaceName: eth0, name: a/b}]}",
            Err("invalid name of a network device \"a/b\""),
        );
        check("v.com/dev", "foo\n  containerEdits: {other: 1}", Err("unknown field `other`"));
        check("v.com/dev", "foo", Err("containerEdits"));
    }

    #[test]
    fn both_forms_are_read() {
        let json = r#"{"cdiVersion":"1.0.0","kind":"v/c","annotations":{"a":"b"},
            "devices":[{"name":"x","annotations":{"n":1},"containerEdits":{"additionalGids":[4]}}],
            "containerEdits":{"mounts":[{"hostPath":"/a","containerPath":"/b","options":["ro"]}]}}"#;
        let spec = Spec::parse(json).expect("valid");
        assert_eq!((spec.annotations["a"].as_str(), spec.devices[0].annotations["n"].as_str()), ("b", "1"));
        assert_eq!(spec.devices[0].container_edits.groups, [4]);
        assert_eq!(spec.container_edits.mounts[0].options, ["ro"]);
        let yaml = "cdiVersion: 0.6.0\nkind: v/c\nannotations:\n  a: true\ndevices: []\n";
        assert_eq!(Spec::parse(yaml).expect("valid").annotations["a"], "true");
    }
}
