//! The file system of a container: its root, what is mounted on it, and the way in.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use errdefs::{Result, ResultExt};
use fsutil::mount::{Mount, Source, attach};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::attach::{LOCKED, attach_at, copy_of, set_flags};
use super::terminal::Terminal;
use super::user::User;
use super::{dev, places};
use crate::WinSize;
use crate::cgroup::Group;
use crate::wire::Job;

/// Hidden, as containerd does.
const MASKED: [&str; 11] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "sys/firmware",
    "sys/devices/virtual/powercap",
    "proc/scsi",
];

/// Not to be written, as containerd does.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// A root that is being furnished, in the mount namespace of its container.
pub(super) struct RootFs<'a> {
    job: &'a Job,
    group: &'a Group,
    /// A small file system that nobody sees once the old root is gone. Holds the files that the container gets from us.
    scratch: OwnedFd,
    root: OwnedFd,
}

/// One thing to mount.
struct Entry {
    target: PathBuf,
    what: What,
}

enum What {
    Mount(Mount),
    /// A file in the scratch.
    Ours(&'static str),
    Cgroups,
}

/// The size of `/dev` and `/dev/shm`, as containerd has it.
const TMPFS_SIZE: u64 = 64 << 20;

impl<'a> RootFs<'a> {
    /// Mounts all that the container is to see on `root`, which is attached nowhere yet.
    pub fn build(job: &'a Job, group: &'a Group, root: OwnedFd) -> Result<Self> {
        // Nothing that is mounted from here on shows outside; what the host unmounts is unmounted here too.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave)
            .map_err(io::Error::from)
            .context("failed to detach from the host's mounts")?;
        let scratch = make_scratch(job)?;
        attach_at(&root, scratch.as_fd(), Path::new("root"))
            .context("failed to mount the root file system")?;
        let this = RootFs { job, group, scratch, root };
        for entry in this.plan() {
            this.mount(&entry)?;
        }
        this.finish()?;
        Ok(this)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Everything in order. A mount of the spec takes the place of an earlier one with the same target.
    fn plan(&self) -> Vec<Entry> {
        let spec = &self.job.spec;
        let kernel = |target: &str, source, suid_only: bool, noexec| {
            let mount = Mount { nosuid: true, nodev: !suid_only, noexec, ..Mount::new(source, target) };
            Entry { target: target.into(), what: What::Mount(mount) }
        };
        let tmpfs = |mode| Source::Tmpfs { size: Some(TMPFS_SIZE), mode };
        let sysfs = Mount::new(Source::Sysfs, "/sys").readonly(!spec.insecure);
        let sysfs = Mount { nosuid: true, nodev: true, noexec: true, ..sysfs };
        let mut entries = vec![
            kernel("/proc", Source::Proc, false, true),
            kernel("/dev", tmpfs(0o755), true, false),
            kernel("/dev/pts", Source::Devpts, true, true),
            kernel("/dev/shm", tmpfs(0o1777), false, true),
            kernel("/dev/mqueue", Source::Mqueue, false, true),
            Entry { target: "/sys".into(), what: What::Mount(sysfs) },
            Entry { target: "/etc/resolv.conf".into(), what: What::Ours("resolv.conf") },
            Entry { target: "/etc/hosts".into(), what: What::Ours("hosts") },
            Entry { target: "/sys/fs/cgroup".into(), what: What::Cgroups },
        ];
        for mount in &spec.mounts {
            // Where the kernel does not guard devices, no node of a layer or a cache may be opened.
            let mount = Mount { nodev: mount.nodev || !self.group.guards_devices(), ..mount.clone() };
            let entry = Entry { target: clean(&mount.target), what: What::Mount(mount) };
            match entries.iter_mut().find(|e| e.target == entry.target) {
                Some(earlier) => *earlier = entry,
                None => entries.push(entry),
            }
        }
        entries
    }

    fn mount(&self, entry: &Entry) -> Result<()> {
        let failed = || format!("failed to mount on `{}`", entry.target.display());
        match &entry.what {
            What::Mount(mount) => {
                let tree = mount.detached_by(self.bench()?.as_fd())?;
                self.attach(&tree, &entry.target).with_context(failed)
            }
            What::Ours(name) => self.mount_ours(Path::new(name), &entry.target).with_context(failed),
            What::Cgroups => self.mount_cgroups(&entry.target).with_context(failed),
        }
    }

    fn bench(&self) -> Result<OwnedFd> {
        places::open(self.scratch.as_fd(), Path::new("bench"), OFlags::PATH)
            .context("failed to open the scratch")
    }

    fn attach(&self, mount: &OwnedFd, target: &Path) -> io::Result<()> {
        let is_dir = FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode) == FileType::Directory;
        let place = places::mount_point(self.fd(), target, is_dir)?;
        Ok(attach(mount.as_fd(), place.as_fd())?)
    }

    fn mount_ours(&self, name: &Path, target: &Path) -> io::Result<()> {
        let copy = copy_of(self.scratch.as_fd(), name)?;
        self.attach(&copy, target)?;
        set_flags(&copy, LOCKED)
    }

    /// With version 2 the cgroup file system as the container's namespace shows it; with version 1 a directory with
    /// the container's own cgroup in every hierarchy.
    fn mount_cgroups(&self, target: &Path) -> Result<()> {
        let mut flags = LOCKED;
        flags.set(MountFlags::RDONLY, !self.job.spec.insecure);
        let source = match self.group.v2_dir() {
            Some(_) => Source::Cgroup2,
            None => Source::Tmpfs { size: None, mode: 0o755 },
        };
        let mount = Mount::new(source, target).detached()?;
        self.attach(&mount, target)?;
        for (dir, name, links) in self.group.v1_dirs() {
            rustix::fs::mkdirat(&mount, name.as_str(), Mode::from_raw_mode(0o755))
                .map_err(io::Error::from)?;
            let copy = Mount::new(Source::Bind(dir.to_owned()), target.join(&name)).detached()?;
            attach_at(&copy, mount.as_fd(), Path::new(&name))?;
            set_flags(&copy, flags)?;
            for link in links {
                rustix::fs::symlinkat(name.as_str(), &mount, link.as_str()).map_err(io::Error::from)?;
            }
        }
        Ok(set_flags(&mount, flags)?)
    }

    /// Devices, and what is hidden or protected.
    fn finish(&self) -> Result<()> {
        let spec = &self.job.spec;
        // Somebody who brings a `/dev` of his own gets it as it is.
        if !spec.mounts.iter().any(|m| clean(&m.target) == Path::new("/dev")) {
            dev::populate(self.fd(), spec.insecure).context("failed to fill `/dev`")?;
        }
        if spec.insecure {
            return Ok(());
        }
        for path in MASKED.map(Path::new) {
            self.mask(path).with_context(|| format!("failed to hide `/{}`", path.display()))?;
        }
        for path in READ_ONLY.map(Path::new) {
            self.protect(path).with_context(|| format!("failed to make `/{}` read-only", path.display()))?;
        }
        Ok(())
    }

    /// The nodes that the spec names. What is not said to belong to somebody belongs to the process.
    pub fn add_devices(&self, user: &User) -> Result<()> {
        let spec = &self.job.spec;
        if spec.mounts.iter().any(|m| clean(&m.target) == Path::new("/dev")) {
            return Ok(());
        }
        spec.devices.iter().try_for_each(|device| {
            let added = dev::add(self.fd(), device, user);
            added.with_context(|| format!("failed to make the device `{}`", device.path.display()))
        })
    }

    fn mask(&self, path: &Path) -> io::Result<()> {
        let (over, flags) = match places::kind(self.fd(), path)? {
            None => return Ok(()),
            Some(FileType::Directory) => (copy_of(self.scratch.as_fd(), Path::new("empty"))?, LOCKED),
            Some(_) => (copy_of(self.fd(), Path::new("dev/null"))?, MountFlags::NOSUID | MountFlags::NOEXEC),
        };
        attach_at(&over, self.fd(), path)?;
        set_flags(&over, flags)
    }

    fn protect(&self, path: &Path) -> io::Result<()> {
        if places::kind(self.fd(), path)?.is_none() {
            return Ok(());
        }
        let copy = copy_of(self.fd(), path)?;
        attach_at(&copy, self.fd(), path)?;
        set_flags(&copy, LOCKED)
    }

    /// Opens a terminal of the container's, which is its `/dev/console` too.
    pub fn open_terminal(&self, size: WinSize) -> io::Result<Terminal> {
        let terminal = Terminal::open(self.fd(), size)?;
        let place = places::mount_point(self.fd(), Path::new("/dev/console"), false)?;
        let slave = copy_of(self.fd(), Path::new(&terminal.name()?))?;
        attach(slave.as_fd(), place.as_fd())?;
        Ok(terminal)
    }

    /// Makes this the root of the process, and lets go of the old one.
    pub fn enter(self) -> io::Result<()> {
        let root = &self.job.spec.root;
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::RDONLY, root.readonly || self.job.spec.readonly_root);
        flags.set(MountFlags::NOSUID, root.nosuid);
        flags.set(MountFlags::NOEXEC, root.noexec);
        flags.set(MountFlags::NODEV, root.nodev || !self.group.guards_devices());
        set_flags(&self.root, flags)?;
        rustix::process::fchdir(&self.root)?;
        // The old root comes to lie on top of the new one, and is taken off: no directory is needed to put it.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}

fn make_scratch(job: &Job) -> Result<OwnedFd> {
    let mount = Mount::new(Source::Tmpfs { size: Some(1 << 20), mode: 0o700 }, &job.stage);
    fsutil::mount::mount_all(std::slice::from_ref(&Mount { target: "/".into(), ..mount }), &job.stage)?;
    fill_scratch(job).with_context(|| format!("failed to fill `{}`", job.stage.display()))
}

fn fill_scratch(job: &Job) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = rustix::fs::open(&job.stage, flags, Mode::empty())?;
    for dir in ["root", "empty", "bench"] {
        rustix::fs::mkdirat(&mount, dir, Mode::from_raw_mode(0o755))?;
    }
    let files = &job.net_files;
    for (name, text) in [("hosts", &files.hosts), ("resolv.conf", &files.resolv_conf)] {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&mount, name, flags, Mode::from_raw_mode(0o644))?;
        File::from(file).write_all(text.as_bytes())?;
    }
    Ok(mount)
}

/// Absolute, without dots: links are not followed, as this is for comparing names.
fn clean(target: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::from("/");
    for component in target.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}
