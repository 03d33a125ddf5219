//! The devices that the spec files name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use errdefs::{Error, Result};

use crate::node::Node;
use crate::rights::{self, Wanted};
use crate::spec::{Edits, Spec};

/// Where BuildKit looks for spec files.
const DIRS: [&str; 3] = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"];

const CLASS: &str = "org.mobyproject.buildkit.device.class";
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";

/// Where devices are named.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    dirs: Vec<PathBuf>,
    auto_allowed: BTreeSet<String>,
}

/// The devices of one moment.
#[derive(Debug, Default)]
pub struct Known {
    devices: BTreeMap<String, Device>,
    /// What is wrong with files that were passed over.
    problems: Vec<String>,
}

/// One device.
#[derive(Debug, Clone)]
pub struct Device {
    /// `vendor.com/class=name`.
    pub name: String,
    pub annotations: BTreeMap<String, String>,
    /// Every build may use it.
    pub auto_allowed: bool,
    edits: Edits,
    of_file: Arc<Edits>,
    file: PathBuf,
    /// The place of its folder: later ones win.
    priority: usize,
}

impl Devices {
    /// No `dirs` are BuildKit's. Builds may use what `auto_allowed` names, devices or kinds of them, without leave.
    pub fn new(dirs: Vec<PathBuf>, auto_allowed: impl IntoIterator<Item = String>) -> Self {
        let dirs = if dirs.is_empty() { DIRS.iter().map(PathBuf::from).collect() } else { dirs };
        Devices { dirs, auto_allowed: auto_allowed.into_iter().collect() }
    }

    /// No devices at all.
    pub fn none() -> Self {
        Devices::default()
    }

    /// What an engine has to grant for an entitlement of a build: its name, without what is said with it.
    pub fn entitlement(text: &str) -> &str {
        rights::name(text)
    }

    /// Reads the files. Those that cannot be used are passed over.
    pub fn look(&self) -> Known {
        let mut known = Known::default();
        let mut conflicts = BTreeSet::new();
        for (priority, dir) in self.dirs.iter().enumerate() {
            for file in files(dir) {
                let text = std::fs::read_to_string(&file).map_err(|e| e.to_string());
                match text.and_then(|text| Spec::parse(&text)) {
                    Ok(spec) => self.add(&mut known, &mut conflicts, spec, &file, priority),
                    Err(e) => known.problems.push(format!("`{}` is not used: {e}", file.display())),
                }
            }
        }
        known.devices.retain(|name, _| !conflicts.contains(name));
        known
    }

    fn add(
        &self,
        known: &mut Known,
        conflicts: &mut BTreeSet<String>,
        spec: Spec,
        file: &Path,
        priority: usize,
    ) {
        let of_file = Arc::new(spec.container_edits);
        for device in spec.devices {
            let name = format!("{}={}", spec.kind, device.name);
            if let Some(other) = known.devices.get(&name)
                && other.priority == priority
            {
                let (one, two) = (other.file.display(), file.display());
                known.problems.push(format!("`{one}` and `{two}` both have the device {name}"));
                conflicts.insert(name);
                continue;
            }
            conflicts.remove(&name);
            let mut annotations = spec.annotations.clone();
            annotations.extend(device.annotations);
            let is_free =
                annotations.get(AUTO_ALLOW).is_some_and(|value| oci::parse_bool(value) == Some(true));
            let auto_allowed =
                is_free || self.auto_allowed.contains(&name) || self.auto_allowed.contains(&spec.kind);
            let (edits, of_file, file) = (device.container_edits, Arc::clone(&of_file), file.to_owned());
            let device =
                Device { name: name.clone(), annotations, auto_allowed, edits, of_file, file, priority };
            known.devices.insert(name, device);
        }
    }
}

impl Known {
    /// All of them, by name.
    pub fn list(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Device> {
        self.devices.get(name)
    }

    /// The names of the devices that are meant, each once: `vendor/class` is the first of its kind, `vendor/class=*` are
    /// all of it, and what is neither a kind nor a device is a class of devices.
    pub fn find(&self, wanted: &[Wanted]) -> Result<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        for wanted in wanted {
            let names = self.meant_by(&wanted.name);
            if names.is_empty() && !wanted.optional {
                let message = format!("required device {:?} is not registered", wanted.name);
                let error = Error::not_found(message);
                return Err(self.problems.iter().fold(error, |error, problem| error.hint(problem.clone())));
            }
            let new: Vec<_> = names.into_iter().filter(|name| !found.contains(name)).collect();
            found.extend(new);
        }
        Ok(found)
    }

    fn meant_by(&self, text: &str) -> Vec<String> {
        let (kind, name) = text.split_once('=').unwrap_or((text, ""));
        let is_kind =
            kind.split_once('/').is_some_and(|(vendor, class)| !vendor.is_empty() && !class.is_empty());
        let of_kind =
            || self.devices.keys().filter(|d| d.strip_prefix(kind).is_some_and(|rest| rest.starts_with('=')));
        let found: Vec<String> = match name {
            _ if !is_kind => Vec::new(),
            "" => of_kind().take(1).cloned().collect(),
            "*" => of_kind().cloned().collect(),
            _ => self.devices.keys().filter(|d| *d == text).cloned().collect(),
        };
        if !found.is_empty() {
            return found;
        }
        let of_class = |device: &&Device| device.annotations.get(CLASS).is_some_and(|class| class == text);
        self.list().filter(of_class).map(|device| device.name.clone()).collect()
    }

    /// What a container gets with these devices.
    pub fn edits(&self, wanted: &[Wanted]) -> Result<(Edits, Vec<Node>)> {
        let mut all = Edits::default();
        let mut files: Vec<&Arc<Edits>> = Vec::new();
        for name in self.find(wanted)? {
            let Some(device) = self.get(&name) else { continue };
            for edits in [&*device.of_file, &device.edits] {
                if let Some(what) = edits.what_is_missing() {
                    let message = format!("device {name} wants {what}, which is not supported yet");
                    return Err(Error::unimplemented(message));
                }
            }
            if !files.iter().any(|seen| Arc::ptr_eq(seen, &device.of_file)) {
                files.push(&device.of_file);
                all.add(&device.of_file);
            }
            all.add(&device.edits);
        }
        let nodes = all.device_nodes.iter().map(|node| node.resolve()).collect::<Result<_>>()?;
        Ok((all, nodes))
    }
}

/// The spec files of a folder, by name. One that is not there has none.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_spec = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml" || ext == "json");
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_spec).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn file(kind: &str, annotations: &str, devices: &[(&str, &str)]) -> String {
        let device = |(name, more): &(&str, &str)| {
            format!("- name: {name}\n  containerEdits: {{env: [\"{name}=here\"]}}\n{more}")
        };
        let devices: String = devices.iter().map(device).collect();
        format!(
            "cdiVersion: 0.6.0\nkind: {kind}\nannotations: {{{annotations}}}\ndevices:\n{devices}containerEdits: {{env: [ALL=yes]}}\n"
        )
    }

    fn look(dirs: &[&[(&str, String)]], auto_allowed: &[&str]) -> Known {
        let root = tempfile::tempdir().expect("a folder");
        let mut paths = vec![root.path().join("none")];
        for (i, files) in dirs.iter().enumerate() {
            let dir = root.path().join(i.to_string());
            std::fs::create_dir(&dir).expect("made");
            files.iter().for_each(|(name, text)| std::fs::write(dir.join(name), text).expect("written"));
            paths.push(dir);
        }
        Devices::new(paths, auto_allowed.iter().map(|name| (*name).to_owned())).look()
    }

    pub(crate) fn known() -> Known {
        let in_class = "  annotations: {org.mobyproject.buildkit.device.class: fast}\n";
        let a = file("a.com/x", "", &[("two", in_class), ("one", "")]);
        let b = file("b.com/y", "org.mobyproject.buildkit.device.autoallow: true", &[("free", in_class)]);
        look(&[&[("a.yaml", a), ("b.json", b), ("c.yml", "no".into())]], &[])
    }

    fn check(known: &Known, wanted: &str, expected: &[&str]) {
        let wanted = [Wanted { name: wanted.to_owned(), optional: true }];
        assert_eq!(known.find(&wanted).expect("is optional"), expected, "{wanted:?}");
    }

    #[test]
    fn devices_are_found_by_name_kind_and_class() {
        let known = known();
        check(&known, "a.com/x=two", &["a.com/x=two"]);
        check(&known, "a.com/x", &["a.com/x=one"]);
        check(&known, "a.com/x=*", &["a.com/x=one", "a.com/x=two"]);
        check(&known, "fast", &["a.com/x=two", "b.com/y=free"]);
        check(&known, "a.com/x=none", &[]);
        check(&known, "a.com", &[]);
        assert!(known.problems.is_empty());
    }

    #[test]
    fn what_is_for_all_devices_of_a_file_is_given_once() {
        let wanted = |name: &str| Wanted { name: name.to_owned(), optional: false };
        let (edits, nodes) = known().edits(&[wanted("a.com/x=*"), wanted("b.com/y")]).expect("are there");
        assert_eq!(edits.env, ["ALL=yes", "one=here", "two=here", "ALL=yes", "free=here"]);
        assert!(nodes.is_empty());
        let rdt =
            "cdiVersion: 0.7.0\nkind: r/r\ndevices: [{name: a, containerEdits: {intelRdt: {closID: x}}}]\n";
        let e = look(&[&[("r.yaml", rdt.into())]], &[]).edits(&[wanted("r/r")]).expect_err("has none");
        assert_eq!(e.to_string(), "device r/r=a wants Intel RDT, which is not supported yet");
    }

    #[test]
    fn later_folders_win_and_equals_lose() {
        let one = |more: &str| file("v/c", more, &[("a", "")]);
        let both = look(&[&[("x.yaml", one("n: 1"))], &[("x.yaml", one("n: 2"))]], &["v/c"]);
        let device = both.get("v/c=a").expect("is there");
        assert_eq!((device.annotations["n"].as_str(), device.auto_allowed), ("2", true));
        let clash = look(&[&[("x.yaml", one("")), ("y.yaml", one("")), ("z.yaml", "kind: 3".into())]], &[]);
        assert!(clash.get("v/c=a").is_none());
        let e = clash.find(&[Wanted { name: "v/c".into(), optional: false }]).expect_err("clashes");
        assert_eq!(e.to_string(), "required device \"v/c\" is not registered");
        assert_eq!(e.hints().len(), 2, "{:?}", e.hints());
    }
}
