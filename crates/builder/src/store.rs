//! The folder of buildx. Its files are replaced whole, so that readers need no lock; who changes them holds one.
//!
//! ```text
//! .lock                    held by who makes changes
//! instances/NAME           a builder, as JSON
//! activity/NAME            when it was last used or changed
//! current                  the builder that is meant where none is named: {"Key", "Name", "Global"}
//! defaults/HASH            the same for one Docker endpoint, its "Key"
//! refs/NAME                what buildx remembers of builds
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;
use oci::Digest;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::group::Group;
use crate::name::check_name;

/// Who is to own what is written, where that is not who writes: under sudo the user who called it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Builders in a folder.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    owner: Option<Owner>,
}

/// A store that nobody else changes meanwhile.
pub struct Locked<'a> {
    store: &'a Store,
    _lock: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Current {
    key: String,
    name: String,
    global: bool,
}

impl Store {
    /// The folder need not be there.
    pub fn new(dir: PathBuf, owner: Option<Owner>) -> Self {
        Store { dir, owner }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until nobody else makes changes.
    pub fn lock(&self) -> Result<Locked<'_>> {
        for name in ["instances", "activity", "defaults"] {
            self.make(&self.dir.join(name)).with_context(|| self.failed(name))?;
        }
        let path = self.dir.join(".lock");
        let open = || {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            self.own(&file)?;
            flock(&file, FlockOperation::LockExclusive)?;
            std::io::Result::Ok(file)
        };
        let lock = open().with_context(|| format!("failed to lock `{}`", path.display()))?;
        Ok(Locked { store: self, _lock: lock })
    }

    /// All builders, by name.
    pub fn list(&self) -> Result<Vec<Group>> {
        let entries = match std::fs::read_dir(self.dir.join("instances")) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::from(e).context(self.failed("instances"))),
        };
        let mut groups = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // Files on their way to their names, and those of others, are no builders.
            if check_name(&name).is_ok() {
                groups.extend(self.get(&name)?);
            }
        }
        groups.sort_by(|a: &Group, b: &Group| a.name.cmp(&b.name));
        Ok(groups)
    }

    /// The builder of this name; nothing also where the name is none.
    pub fn get(&self, name: &str) -> Result<Option<Group>> {
        let Ok(name) = check_name(name) else { return Ok(None) };
        let path = self.instance(&name);
        let Some(text) = read(&path)? else { return Ok(None) };
        let group = serde_json::from_slice(&text);
        let group = group.map_err(|e| Error::user(format!("failed to read `{}`: {e}", path.display())))?;
        Ok(Some(group))
    }

    /// Where the builder of this name is kept, if it is.
    pub fn instance(&self, name: &str) -> PathBuf {
        self.dir.join("instances").join(name)
    }

    /// The builder that is meant where none is named, for somebody whose Docker endpoint is `key`.
    pub fn current(&self, key: &str) -> Result<Option<Group>> {
        let path = self.dir.join("current");
        if let Some(text) = read(&path)? {
            let failed = |e| Error::user(format!("failed to read `{}`: {e}", path.display()));
            let current: Current = serde_json::from_slice(&text).map_err(failed)?;
            if !current.name.is_empty() {
                let group = self.get(&current.name)?;
                if current.key == key || (current.global && group.is_some()) {
                    return Ok(group);
                }
            }
        }
        match read(&self.default_of(key))? {
            Some(name) => self.get(&String::from_utf8_lossy(&name)),
            None => Ok(None),
        }
    }

    /// When a builder was last used or changed.
    pub fn last_activity(&self, name: &str) -> Option<Timestamp> {
        let text = std::fs::read_to_string(self.dir.join("activity").join(name)).ok()?;
        text.trim().parse().ok()
    }

    /// Remembers that a builder is used now.
    pub fn touch(&self, name: &str) -> Result<()> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.write(&self.dir.join("activity").join(name), now.as_bytes())
    }

    fn default_of(&self, key: &str) -> PathBuf {
        self.dir.join("defaults").join(&Digest::of(key).hex()[..20])
    }

    fn failed(&self, name: &str) -> String {
        format!("failed to use `{}`", self.dir.join(name).display())
    }

    fn make(&self, dir: &Path) -> std::io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            self.make(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => self.own(&File::open(dir)?),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn own(&self, file: &File) -> std::io::Result<()> {
        self.owner.map_or(Ok(()), |owner| fchown(file, Some(owner.uid), Some(owner.gid)))
    }

    /// A reader sees the old file or the new one.
    fn write(&self, path: &Path, text: &[u8]) -> Result<()> {
        let put = || {
            let dir = path.parent().unwrap_or(&self.dir);
            let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
            file.write_all(text)?;
            self.own(file.as_file())?;
            file.persist(path)?;
            std::io::Result::Ok(())
        };
        put().with_context(|| format!("failed to write `{}`", path.display()))
    }
}

impl Locked<'_> {
    /// Keeps a builder, new or changed.
    pub fn save(&self, group: &Group) -> Result<()> {
        let name = check_name(&group.name)?;
        self.store.touch(&group.name)?;
        let json = serde_json::to_vec(group).map_err(|e| Error::internal(e.to_string()))?;
        self.store.write(&self.store.instance(&name), &json)
    }

    /// Forgets a builder, and what buildx remembers of its builds.
    pub fn remove(&self, name: &str) -> Result<()> {
        let name = check_name(name)?;
        remove(&self.store.dir.join("activity").join(&name))?;
        remove(&self.store.dir.join("refs").join(&name))?;
        remove(&self.store.instance(&name))
    }

    /// Forgets what buildx remembers of the builds of one node.
    pub fn forget_builds(&self, name: &str, node: &str) -> Result<()> {
        remove(&self.store.dir.join("refs").join(check_name(name)?).join(check_name(node)?))
    }

    /// Makes a builder the one that is meant where none is named; the empty name is none. `global` is for whatever Docker
    /// endpoint, and `default` also for the time when this endpoint comes back after another one.
    pub fn set_current(&self, key: &str, name: &str, global: bool, default: bool) -> Result<()> {
        let current = Current { key: key.into(), name: name.into(), global };
        let json = serde_json::to_vec(&current).map_err(|e| Error::internal(e.to_string()))?;
        self.store.write(&self.store.dir.join("current"), &json)?;
        let path = self.store.default_of(key);
        if default {
            return self.store.write(&path, name.as_bytes());
        }
        remove(&path)
    }
}

/// Removes a file, or a folder with all that is in it, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::from(e).context(format!("failed to remove `{}`", path.display())))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Error::from(e).context(format!("failed to read `{}`", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "unix:///var/run/docker.sock";

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::new(dir.path().join("docker/buildx"), None);
        (dir, store)
    }

    fn names(store: &Store) -> Vec<String> {
        store.list().expect("listed").into_iter().map(|g| g.name).collect()
    }

    #[test]
    fn what_is_not_there_is_empty_and_not_made() {
        let (_dir, store) = store();
        assert!(names(&store).is_empty());
        assert_eq!(store.get("b").expect("no error"), None);
        assert_eq!(store.current(KEY).expect("no error"), None);
        assert_eq!(store.last_activity("b"), None);
        assert!(!store.dir().exists());
    }

    #[test]
    fn builders_are_kept_where_buildx_looks_for_them() {
        let (_dir, store) = store();
        let locked = store.lock().expect("locked");
        for name in ["Upper", "b"] {
            locked.save(&Group::new(name, "remote")).expect("saved");
        }
        assert_eq!(names(&store), ["Upper", "b"]);
        let file = store.dir().join("instances/upper");
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        let json = std::fs::read_to_string(file).expect("read");
        assert_eq!(json, r#"{"Name":"Upper","Driver":"remote","Nodes":null,"Dynamic":false}"#);
        assert!(store.last_activity("b").is_some());
        let time = std::fs::read_to_string(store.dir().join("activity/b")).expect("read");
        assert!(time.ends_with('Z') && time.len() == 20, "{time}");
        std::fs::create_dir_all(store.dir().join("refs/b/b0")).expect("made");
        std::fs::write(store.dir().join("refs/b/b0/x"), "{}").expect("written");
        locked.forget_builds("b", "b0").expect("forgotten");
        assert!(!store.dir().join("refs/b/b0").exists() && store.dir().join("refs/b").exists());
        locked.remove("b").expect("removed");
        assert_eq!(names(&store), ["Upper"]);
        assert!(!store.dir().join("refs/b").exists() && store.last_activity("b").is_none());
        locked.remove("b").expect("it is gone");
    }

    #[test]
    fn a_file_that_is_no_builder_is_told() {
        let (_dir, store) = store();
        drop(store.lock().expect("locked"));
        std::fs::write(store.instance("b"), "{").expect("written");
        let told = store.get("b").expect_err("no JSON").to_string();
        assert!(told.starts_with("failed to read `") && told.contains("instances/b"), "{told}");
        assert!(store.get("../b").expect("no name").is_none());
    }

    #[test]
    fn the_current_builder() {
        let (_dir, store) = store();
        let locked = store.lock().expect("locked");
        for name in ["a", "b"] {
            locked.save(&Group::new(name, "remote")).expect("saved");
        }
        let current = |key: &str| store.current(key).expect("no error").map(|g| g.name);
        let set = |name: &str, global, default| locked.set_current(KEY, name, global, default).expect("set");
        let file = || std::fs::read_to_string(store.dir().join("current")).expect("read");
        set("a", false, false);
        assert_eq!(file(), r#"{"Key":"unix:///var/run/docker.sock","Name":"a","Global":false}"#);
        assert_eq!((current(KEY), current("other")), (Some("a".into()), None));
        set("b", true, false);
        assert_eq!((current(KEY), current("other")), (Some("b".into()), Some("b".into())));
        set("", false, false);
        assert_eq!(current(KEY), None);
        // For when the endpoint comes back.
        set("a", false, true);
        locked.set_current("other", "b", false, false).expect("set");
        assert_eq!((current(KEY), current("other")), (Some("a".into()), Some("b".into())));
        // One that was removed.
        locked.remove("a").expect("removed");
        assert_eq!(current(KEY), None);
    }

    #[test]
    fn changes_wait_for_each_other() {
        let (_dir, store) = store();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let locked = store.lock().expect("locked");
                    let mut group =
                        store.get("b").expect("read").unwrap_or_else(|| Group::new("b", "remote"));
                    let number = group.nodes.len();
                    let endpoint = format!("tcp://h:{number}");
                    group
                        .update(crate::Change { endpoint, append: true, ..Default::default() })
                        .expect("added");
                    locked.save(&group).expect("saved");
                });
            }
        });
        assert_eq!(store.get("b").expect("read").expect("there").nodes.len(), 8);
    }
}
