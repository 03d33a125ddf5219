use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Engine;
use super::engine::proc_file;

/// As BuildKit, the engine has one cgroup of its own between the parent that is given and those of steps.
const MIDDLE: &str = "buildkit";

/// What an engine takes of the machine.
#[derive(Debug, Clone)]
pub struct Vitals {
    /// Resident bytes.
    pub memory: u64,
    /// What each of them is open on.
    pub descriptors: Vec<String>,
    pub threads: usize,
    pub mounts: usize,
    /// Below the test's own parent.
    pub cgroups: usize,
    /// The engine, its helper, and steps.
    pub processes: usize,
    /// Bytes of the store.
    pub disk: u64,
}

impl Engine {
    /// The engine must run.
    pub fn vitals(&self, cgroup_parent: &str) -> Vitals {
        let pid = self.pid().expect("an engine runs");
        let count = |name: &str| std::fs::read_dir(format!("/proc/{pid}/{name}")).map_or(0, Iterator::count);
        let status = proc_file(pid, "status");
        let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Vitals {
            memory: kilobytes.expect("the kernel tells it") << 10,
            descriptors: descriptors(pid),
            threads: count("task"),
            mounts: self.mounts().len(),
            cgroups: cgroups(cgroup_parent).iter().map(|dir| folders(&dir.join(MIDDLE))).sum(),
            processes: self.processes().len(),
            disk: self.disk(),
        }
    }
}

/// A name for cgroups of one test alone, for `--cgroup-parent`. They go with it, which fails while one of a step is there.
pub struct CgroupParent(String);

impl CgroupParent {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        CgroupParent(format!("kiln-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for CgroupParent {
    fn drop(&mut self) {
        for dir in cgroups(&self.0).into_iter().flat_map(|dir| [dir.join(MIDDLE), dir]) {
            match std::fs::remove_dir(&dir) {
                Err(e) if !std::thread::panicking() => panic!("{}: {e}", dir.display()),
                _ => {}
            }
        }
    }
}

fn descriptors(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let mut links: Vec<_> = links.map(|link| link.display().to_string()).collect();
    links.sort();
    links
}

/// Where a cgroup lies, in each hierarchy.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let below = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path().join(name));
    below.chain([root.join(name)]).filter(|dir| dir.is_dir()).collect()
}

fn folders(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).count()
}
