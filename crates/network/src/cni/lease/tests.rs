//! With plugins that write down what they are asked, and do nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A network of two plugins, `first` and `second`.
struct Fake {
    dir: TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Fake { dir: tempfile::tempdir().expect("a folder") };
        fake.plugin("first", r#"echo '{"ips": ["first"]}'"#);
        fake.plugin("second", r#"echo '{"ips": ["first", "second"]}'"#);
        fake
    }

    /// A plugin that does this for ADD.
    fn plugin(&self, name: &str, add: &str) {
        let (path, log) = (self.dir.path().join(name), self.dir.path().join("log"));
        let known = r#"$(cat | grep -o '"prevResult":{[^}]*}' | tr -d '"{}[]:')"#;
        let netns = r#"$([ -e "$CNI_NETNS" ] && echo inside || echo nowhere)"#;
        let text = format!(
            "#!/bin/sh\necho \"{name} $CNI_COMMAND $CNI_IFNAME {netns} $CNI_ARGS {known}\" >>{}\n\
             [ $CNI_COMMAND = DEL ] || {{ {add}; }}\n",
            log.display()
        );
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("allowed");
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    async fn open(&self, pool_size: usize) -> Result<Arc<Cni>> {
        let list = serde_json::from_value::<List>(json!({
            "name": "fake", "version": "1.0.0", "plugins": [{"type": "first"}, {"type": "second"}],
        }));
        Cni::open(list.expect("a list"), Some(self.dir.path().to_owned()), &self.state(), pool_size).await
    }

    /// What the plugins were asked since the last time, without what all are told.
    fn asked(&self) -> Vec<String> {
        let log = self.dir.path().join("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _was_there = fs::remove_file(log);
        text.lines().map(|l| l.replace(" eth0 inside IgnoreUnknown=1", "").trim_end().to_owned()).collect()
    }

    /// Files of the state, after which nothing is mounted any more.
    fn left(&self) -> usize {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&*self.dir.path().to_string_lossy()), "{mounts}");
        fs::read_dir(self.state()).map_or(0, Iterator::count)
    }
}

const ADDED: [&str; 2] = ["first ADD", "second ADD prevResultipsfirst"];
const ENDED: [&str; 2] = ["second DEL prevResultipsfirst,second", "first DEL prevResultipsfirst,second"];

#[tokio::test]
async fn a_namespace_is_used_again_and_ends_with_the_network() {
    let fake = Fake::new();
    let cni = fake.open(0).await.expect("open");
    assert_eq!(fake.asked(), ADDED);
    let lease = cni.lease("").await.expect("the one that was tried");
    let file = lease.file().to_owned();
    assert!(is_namespace(&file));
    lease.give_back();
    let again = cni.lease("").await.expect("the same");
    assert_eq!((again.file(), fake.asked().len()), (&*file, 0));
    let other = cni.lease("").await.expect("one more");
    assert_ne!(other.file(), file);
    assert_eq!(fake.asked(), ADDED);
    again.give_back();
    drop(other);
    cni.close().await;
    let mut asked = fake.asked();
    asked.sort();
    let mut ended = [ENDED, ENDED].concat();
    ended.sort_unstable();
    assert_eq!(asked, ended);
    assert_eq!(fake.left(), 0);
}

#[tokio::test]
async fn plugins_are_told_a_hostname_and_nobody_else_gets_its_namespace() {
    let fake = Fake::new();
    let cni = fake.open(3).await.expect("open");
    let named = cni.lease("web").await.expect("named");
    let file = named.file().to_owned();
    assert!(fake.asked().iter().any(|line| line == "first ADD;K8S_POD_NAME=web"));
    named.give_back();
    let plain = cni.lease("").await.expect("plain");
    assert_ne!(plain.file(), file);
    plain.give_back();
    cni.close().await;
    assert_eq!(fake.left(), 0);
    assert_eq!(args("web;IP=10.0.0.1"), args(""));
}

#[tokio::test]
async fn as_many_are_made_ahead_as_are_wanted() {
    let fake = Fake::new();
    let cni = fake.open(3).await.expect("open");
    while cni.idle().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fake.asked().len(), 3 * ADDED.len());
    cni.close().await;
    assert_eq!((fake.asked().len(), fake.left()), (3 * ENDED.len(), 0));
}

#[tokio::test]
async fn a_plugin_that_fails_undoes_the_others() {
    let fake = Fake::new();
    fake.plugin("second", r#"echo '{"code": 7, "msg": "no room", "details": "at all"}'; exit 1"#);
    let error = fake.open(0).await.err().expect("it fails");
    let expected = "network `fake` does not work: CNI plugin `second` failed to ADD: no room: at all";
    assert_eq!(error.to_string(), expected);
    assert_eq!(fake.asked(), ["first ADD", "second ADD prevResultipsfirst", "second DEL", "first DEL"]);
    assert_eq!(fake.left(), 0);

    fs::remove_file(fake.dir.path().join("second")).expect("removed");
    let error = fake.open(0).await.err().expect("it fails");
    assert!(error.to_string().starts_with("the CNI plugin `second` is missing: there is no `"), "{error}");
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn what_a_killed_engine_left_is_ended_by_the_next() {
    let fake = Fake::new();
    let cni = fake.open(0).await.expect("open");
    std::mem::forget(cni.lease("").await.expect("a lease"));
    // One whose namespace is gone, as after a start of the machine, and one that nobody can read.
    let gone = cni.lease("").await.expect("a lease");
    Namespace::unpin(gone.file()).expect("unpinned");
    std::mem::forget(gone);
    fs::write(fake.state().join("torn.json"), "{").expect("written");
    fs::write(fake.state().join("half.new"), "").expect("written");
    assert_eq!(fake.asked().len(), 2 * ADDED.len());

    sweep(&fake.state()).await;
    let asked = fake.asked();
    let nowhere = asked.iter().filter(|line| line.contains("eth0 nowhere")).count();
    assert_eq!((asked.len(), nowhere), (2 * ENDED.len(), 2), "{asked:?}");
    assert_eq!(fake.left(), 0);
}
