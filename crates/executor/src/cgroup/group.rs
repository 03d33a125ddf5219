use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use errdefs::{Error, Result, ResultExt};
use meter::Sample;

use super::devices::{self, Access};
use super::layout::{Hierarchy, Layout};
use super::limits::{self, Setting};
use crate::{Device, Spec};

/// Controllers that a cgroup of version 2 is given where its parents have them.
const V2_CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuset", "pids"];

/// The cgroup of one container; it is removed on drop.
#[derive(Debug)]
pub(crate) struct Group {
    dirs: Vec<Dir>,
    /// The kernel refuses devices that a container must not open.
    guards_devices: bool,
}

/// Its directory in one hierarchy.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    hierarchy: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Writing `0` to `tasks` moves the writing thread in.
    V1 { hierarchy: Hierarchy, tasks: File },
    /// A process is cloned into `dir`.
    V2 { dir: File },
}

impl Group {
    /// Makes the cgroup `path`, which is relative to the root of every hierarchy.
    ///
    /// # Errors
    ///
    /// A limit that was asked for cannot be set. That there is no cgroup at all is not an error.
    pub fn create(layout: &Layout, path: &Path, spec: &Spec) -> Result<Group> {
        let (resources, access) = (&spec.resources, access(spec));
        let mut group = Group { dirs: Vec::new(), guards_devices: false };
        match layout {
            Layout::None => {}
            Layout::V1(hierarchies) => group.add_v1(hierarchies, path, spec),
            Layout::V2(root) => group.add_v2(root, path, spec.metered),
        }
        let settings = match layout {
            Layout::V2(_) => limits::v2(resources),
            _ => limits::v1(resources),
        };
        settings.iter().try_for_each(|setting| group.set(setting))?;
        group.guards_devices = match access {
            Access::Everything => true,
            Access::Usual(devices) => group.guard_devices(devices).is_ok(),
        };
        Ok(group)
    }

    fn add_v1(&mut self, hierarchies: &[Hierarchy], path: &Path, spec: &Spec) {
        // What is outside of the sandbox may make cgroups of its own, in every hierarchy.
        let wants_cpuset =
            spec.insecure || !spec.resources.cpuset_cpus.is_empty() || !spec.resources.cpuset_mems.is_empty();
        for hierarchy in hierarchies {
            let cpuset = hierarchy.has("cpuset");
            let alone = hierarchy.controllers.len() == 1;
            if alone && (cpuset && !wants_cpuset || hierarchy.has("blkio") && !spec.metered) {
                continue;
            }
            let dir = hierarchy.mount_point.join(path);
            let made = fs::create_dir_all(&dir)
                .and_then(|()| if cpuset { inherit_cpuset(&hierarchy.mount_point, path) } else { Ok(()) })
                // A single thread that moves itself takes no lock over all processes of the machine, as one that
                // writes to `cgroup.procs` does. That lock costs tens of milliseconds when the machine is busy.
                .and_then(|()| File::options().write(true).open(dir.join("tasks")));
            match made {
                Ok(tasks) => self
                    .dirs
                    .push(Dir { path: dir, hierarchy: Kind::V1 { hierarchy: hierarchy.clone(), tasks } }),
                Err(_) => drop(fs::remove_dir(&dir)),
            }
        }
    }

    fn add_v2(&mut self, root: &Path, path: &Path, metered: bool) {
        let dir = root.join(path);
        // Anywhere else this would make plain directories.
        if !root.join("cgroup.controllers").exists() || fs::create_dir_all(&dir).is_err() {
            return;
        }
        let mut parent = root.to_owned();
        for part in path {
            for controller in V2_CONTROLLERS.into_iter().chain(metered.then_some("io")) {
                // Where processes sit beside sub-groups this is refused; a limit then fails when it is set.
                let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            parent.push(part);
        }
        match File::open(&dir) {
            Ok(fd) => self.dirs.push(Dir { path: dir, hierarchy: Kind::V2 { dir: fd } }),
            Err(_) => drop(fs::remove_dir(&dir)),
        }
    }

    fn set(&self, setting: &Setting) -> Result<()> {
        let dir = self.dir(setting.controller()).ok_or_else(|| no_limit(setting.controller()))?;
        let file = dir.join(setting.file);
        match fs::write(&file, &setting.value) {
            Err(e) if e.kind() == ErrorKind::NotFound => Err(no_limit(setting.controller())),
            other => {
                other.with_context(|| format!("failed to set `{}` to `{}`", setting.file, setting.value))
            }
        }
    }

    /// The directory where `controller` is. Version 2 has one for all.
    fn dir(&self, controller: &str) -> Option<&Path> {
        let has = |dir: &&Dir| match &dir.hierarchy {
            Kind::V1 { hierarchy, .. } => hierarchy.has(controller),
            Kind::V2 { .. } => true,
        };
        self.dirs.iter().find(has).map(|dir| dir.path.as_path())
    }

    fn guard_devices(&self, devices: &[Device]) -> io::Result<()> {
        if let Some(dir) = self.v2_dir() {
            return devices::attach_v2(dir, devices);
        }
        let dir = self.dir("devices").ok_or(ErrorKind::NotFound)?;
        fs::write(dir.join("devices.deny"), "a")?;
        devices::v1_lines(devices).try_for_each(|line| fs::write(dir.join("devices.allow"), line))
    }

    /// Whether a container may be let make device nodes. When not, its mounts must refuse to open them.
    pub fn guards_devices(&self) -> bool {
        self.guards_devices
    }

    /// The directory of version 2, into which a process can be cloned.
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.dirs.iter().find_map(|dir| match &dir.hierarchy {
            Kind::V1 { .. } => None,
            Kind::V2 { dir } => Some(dir.as_fd()),
        })
    }

    /// Moves the calling process, which has one thread, to where it was not cloned into.
    pub fn join(&self) -> io::Result<()> {
        for dir in &self.dirs {
            if let Kind::V1 { tasks, .. } = &dir.hierarchy {
                rustix::io::retry_on_intr(|| rustix::io::write(tasks, b"0"))?;
            }
        }
        Ok(())
    }

    /// For every hierarchy of version 1: the directory, its name as seen in `/sys/fs/cgroup`, and other names for it.
    pub fn v1_dirs(&self) -> impl Iterator<Item = (&Path, String, &[String])> {
        self.dirs.iter().filter_map(|dir| match &dir.hierarchy {
            Kind::V1 { hierarchy: h, .. } if h.controllers.len() > 1 => {
                Some((dir.path.as_path(), h.controllers.join(","), &h.controllers[..]))
            }
            Kind::V1 { hierarchy: h, .. } => Some((dir.path.as_path(), h.controllers.concat(), &[][..])),
            Kind::V2 { .. } => None,
        })
    }

    /// What its processes have used so far.
    pub fn sample(&self) -> Sample {
        match self.dirs.iter().find(|dir| matches!(dir.hierarchy, Kind::V2 { .. })) {
            Some(dir) => meter::v2::sample(&dir.path),
            None => meter::v1::sample(|controller| self.dir(controller)),
        }
    }

    /// The kernel killed one of its processes for lack of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let Some(dir) = self.dir("memory") else { return false };
        let file = if self.v2_dir().is_some() { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|n| n.trim() != "0")
    }
}

/// The devices that a container may open.
fn access(spec: &Spec) -> Access<'_> {
    if spec.insecure { Access::Everything } else { Access::Usual(&spec.devices) }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            remove(&dir.path);
        }
    }
}

/// The last process of a cgroup leaves it a moment after it was seen to end.
fn remove(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while let Err(e) = fs::remove_dir(dir) {
        if e.kind() != ErrorKind::ResourceBusy || Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A new cpuset has neither CPUs nor memory, and nothing can join it until it has.
fn inherit_cpuset(root: &Path, path: &Path) -> io::Result<()> {
    let mut dir = root.to_owned();
    for part in path {
        let parent = dir.clone();
        dir.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(dir.join(file))?.trim().is_empty() {
                fs::write(dir.join(file), fs::read_to_string(parent.join(file))?)?;
            }
        }
    }
    Ok(())
}

fn no_limit(controller: &str) -> Error {
    Error::environment(format!("cannot limit resources: no `{controller}` cgroup can be written"))
        .hint("run the engine where `/sys/fs/cgroup` is writable, or leave the limit out")
}
