//! Removes what an engine left that died with all its helpers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Layout;

/// The kernel takes killed processes apart in this time, unless they are stuck on a disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// Kills all processes in the cgroups below `parent`, and removes them and `parent` itself from every hierarchy.
pub(crate) fn sweep(layout: &Layout, parent: &Path) {
    let roots: Vec<&PathBuf> = match layout {
        Layout::None => Vec::new(),
        Layout::V1(hierarchies) => hierarchies.iter().map(|h| &h.mount_point).collect(),
        Layout::V2(root) => vec![root],
    };
    let deadline = Instant::now() + PATIENCE;
    for root in roots {
        remove(&root.join(parent), deadline);
    }
}

/// Removes a cgroup after those below it.
fn remove(dir: &Path, deadline: Instant) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path(), deadline);
        }
    }
    while let Err(e) = fs::remove_dir(dir) {
        if e.kind() != io::ErrorKind::ResourceBusy {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!("the cgroup `{}` of an earlier engine is still in use", dir.display());
            return;
        }
        kill_all(dir);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill_all(dir: &Path) {
    let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        // One that is gone already needs no signal.
        let _ = kill_process(pid, Signal::KILL);
    }
}
