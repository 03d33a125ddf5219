//! Mounts as plain data, and the calls that make them.
//!
//! A [`Mount`] is made in two steps: [`Mount::detached_by`] builds it where nobody sees it, [`attach`] puts it in its
//! place. A selector is resolved inside the mount and never leads out of it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use errdefs::{Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree,
};
use serde::{Deserialize, Serialize};

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A directory or file, with all that is mounted below it.
    Bind(PathBuf),
    /// Layers of which the first wins; with `upper`, writable.
    Overlay {
        lower: Vec<PathBuf>,
        upper: Option<Upper>,
    },
    Tmpfs {
        size: Option<u64>,
        mode: u32,
    },
    /// A tmpfs that holds one file of the name [`ONE_FILE`], to be mounted by that selector: a secret, which never
    /// touches a disk.
    OneFile {
        data: Vec<u8>,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    Proc,
    Sysfs,
    /// The unified cgroup hierarchy.
    Cgroup2,
    Mqueue,
    Devpts,
}

/// The file of a [`Source::OneFile`].
pub const ONE_FILE: &str = "file";

/// The writable part of an overlay. Both lie on one file system; `work` is empty before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    pub dir: PathBuf,
    pub work: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: Source,
    /// A path inside the source, resolved as if the source were the root; empty for all of it.
    pub selector: PathBuf,
    /// Absolute.
    pub target: PathBuf,
    pub readonly: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
}

impl Mount {
    pub fn new(source: Source, target: impl Into<PathBuf>) -> Self {
        Mount {
            source,
            selector: PathBuf::new(),
            target: target.into(),
            readonly: false,
            nosuid: false,
            nodev: false,
            noexec: false,
        }
    }

    #[must_use]
    pub fn readonly(mut self, readonly: bool) -> Self {
        self.readonly = readonly;
        self
    }

    /// Builds the mount without a place. It is gone when the descriptor is closed, unless it was attached.
    ///
    /// # Errors
    /// Also for a selector, which wants [`Mount::detached_by`].
    pub fn detached(&self) -> Result<OwnedFd> {
        self.built(|_, _| Err(Errno::INVAL))
    }

    /// The same with a selector. Before Linux 6.15 only a mount that has a place can be copied in part, so the whole lies
    /// on the directory `bench` for a moment and hides what is there.
    pub fn detached_by(&self, bench: BorrowedFd<'_>) -> Result<OwnedFd> {
        self.built(|whole, selector| part_of(whole, selector, bench))
    }

    fn built(&self, part: impl FnOnce(&OwnedFd, &Path) -> Result<OwnedFd, Errno>) -> Result<OwnedFd> {
        let whole = self.source.detached().map_err(|e| self.failed(e))?;
        let tree = match self.part() {
            None => whole,
            Some(selector) => part(&whole, selector).map_err(|e| self.failed(e))?,
        };
        set_attributes(tree.as_fd(), self.attributes()).map_err(|e| self.failed(e))?;
        Ok(tree)
    }

    /// The selector, relative, unless it means all.
    fn part(&self) -> Option<&Path> {
        let selector = self.selector.strip_prefix("/").unwrap_or(&self.selector);
        (!selector.as_os_str().is_empty()).then_some(selector)
    }

    fn attributes(&self) -> u64 {
        let pairs = [
            (self.readonly, MountAttrFlags::MOUNT_ATTR_RDONLY),
            (self.nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID),
            (self.nodev, MountAttrFlags::MOUNT_ATTR_NODEV),
            (self.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        ];
        pairs.into_iter().filter(|(set, _)| *set).map(|(_, flag)| u64::from(flag.bits())).sum()
    }

    fn failed(&self, e: Errno) -> Error {
        let what = match self.part() {
            None => self.source.to_string(),
            Some(_) => format!("`{}` of {}", self.selector.display(), self.source),
        };
        Error::from(io::Error::from(e))
            .context(format!("failed to mount {what} at `{}`", self.target.display()))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Bind(path) => write!(f, "`{}`", path.display()),
            Source::Overlay { lower, .. } => write!(f, "an overlay of {} layers", lower.len()),
            Source::Tmpfs { .. } => f.write_str("a tmpfs"),
            Source::OneFile { .. } => f.write_str("a file in memory"),
            Source::Proc => f.write_str("proc"),
            Source::Sysfs => f.write_str("sysfs"),
            Source::Cgroup2 => f.write_str("cgroup2"),
            Source::Mqueue => f.write_str("mqueue"),
            Source::Devpts => f.write_str("devpts"),
        }
    }
}

impl Source {
    fn detached(&self) -> Result<OwnedFd, Errno> {
        match self {
            Source::Bind(path) => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                open_tree(rustix::fs::CWD, path, flags | OpenTreeFlags::AT_RECURSIVE)
            }
            Source::Overlay { lower, upper } => overlay(lower, upper.as_ref()),
            Source::Tmpfs { size, mode } => {
                let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
                fsconfig_set_string(fs.as_fd(), "mode", format!("{mode:o}"))?;
                if let Some(size) = size {
                    fsconfig_set_string(fs.as_fd(), "size", size.to_string())?;
                }
                finish(&fs)
            }
            Source::OneFile { data, uid, gid, mode } => one_file(data, *uid, *gid, *mode),
            Source::Proc => plain("proc"),
            Source::Sysfs => plain("sysfs"),
            Source::Cgroup2 => plain("cgroup2"),
            Source::Mqueue => plain("mqueue"),
            Source::Devpts => {
                let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
                fsconfig_set_flag(fs.as_fd(), "newinstance")?;
                fsconfig_set_string(fs.as_fd(), "ptmxmode", "0666")?;
                fsconfig_set_string(fs.as_fd(), "mode", "0620")?;
                fsconfig_set_string(fs.as_fd(), "gid", "5")?;
                finish(&fs)
            }
        }
    }
}

fn one_file(data: &[u8], uid: u32, gid: u32, mode: u32) -> Result<OwnedFd, Errno> {
    use rustix::fs::{Gid, Uid, fchmod, fchown, openat};
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "mode", "0711")?;
    let tree = finish(&fs)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(&tree, ONE_FILE, flags, Mode::RUSR)?;
    let mut rest = data;
    while !rest.is_empty() {
        let n = rustix::io::write(&file, rest)?;
        rest = &rest[n..];
    }
    fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&file, Mode::from_raw_mode(mode))?;
    Ok(tree)
}

fn plain(kind: &str) -> Result<OwnedFd, Errno> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    finish(&fs)
}

fn finish(fs: &OwnedFd) -> Result<OwnedFd, Errno> {
    fsconfig_create(fs.as_fd())?;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn overlay(lower: &[PathBuf], upper: Option<&Upper>) -> Result<OwnedFd, Errno> {
    // An overlay of nothing and one upper is not to be had; the upper alone shows the same.
    match (lower, upper) {
        ([], Some(upper)) => return Source::Bind(upper.dir.clone()).detached(),
        ([only], None) => return Source::Bind(only.clone()).detached(),
        ([], None) => return plain("tmpfs"),
        _ => {}
    }
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let _ = fsconfig_set_string(fs.as_fd(), "source", "overlay");
    let mut appended = Ok(());
    for dir in lower {
        // "lowerdir+" takes one layer at a time, since Linux 6.5, without the length limit of one string.
        appended = fsconfig_set_string(fs.as_fd(), "lowerdir+", dir);
        if appended.is_err() {
            break;
        }
    }
    if let Err(e) = appended {
        if e != Errno::INVAL {
            return Err(e);
        }
        return overlay_old(lower, upper);
    }
    configure(&fs, upper)?;
    finish(&fs)
}

/// Before Linux 6.5: all layers in one string, where `:` and `\` are escaped.
fn overlay_old(lower: &[PathBuf], upper: Option<&Upper>) -> Result<OwnedFd, Errno> {
    use std::os::unix::ffi::OsStrExt;
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let _ = fsconfig_set_string(fs.as_fd(), "source", "overlay");
    let mut joined = Vec::new();
    for (i, dir) in lower.iter().enumerate() {
        if i > 0 {
            joined.push(b':');
        }
        for &b in dir.as_os_str().as_bytes() {
            if matches!(b, b':' | b'\\') {
                joined.push(b'\\');
            }
            joined.push(b);
        }
    }
    let joined = CString::new(joined).map_err(|_| Errno::INVAL)?;
    fsconfig_set_string(fs.as_fd(), "lowerdir", joined.as_c_str())?;
    configure(&fs, upper)?;
    finish(&fs)
}

fn configure(fs: &OwnedFd, upper: Option<&Upper>) -> Result<(), Errno> {
    if let Some(upper) = upper {
        fsconfig_set_string(fs.as_fd(), "upperdir", &upper.dir)?;
        fsconfig_set_string(fs.as_fd(), "workdir", &upper.work)?;
        // Without this, each unmount waits for all of the file system to be on disk. What a step leaves is made durable
        // later, all at once. The mark of an earlier mount would keep the same folders from being mounted again.
        let _ = std::fs::remove_dir_all(upper.work.join("work/incompat"));
        let _ = fsconfig_set_flag(fs.as_fd(), "volatile");
        // What the kernel or the distribution has set otherwise would put more than whole files into the upper folder:
        // references to the layers below, which mean nothing when it becomes a layer itself. Kernels without such an
        // option do not do it.
        for option in ["index", "metacopy", "redirect_dir"] {
            let _ = fsconfig_set_string(fs.as_fd(), option, "off");
        }
    }
    Ok(())
}

fn part_of(whole: &OwnedFd, selector: &Path, bench: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    attach(whole.as_fd(), bench)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let part = openat2(whole, selector, flags, Mode::empty(), ResolveFlags::IN_ROOT).and_then(clone_tree);
    let whole = format!("/proc/self/fd/{}", whole.as_raw_fd());
    rustix::mount::unmount(whole, UnmountFlags::DETACH)?;
    part
}

/// A copy of the mount at `at`, without a place.
pub fn clone_tree(at: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(at.as_fd(), "", flags | OpenTreeFlags::AT_RECURSIVE)
}

/// mount_setattr(2), which came with Linux 5.12.
fn set_attributes(tree: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    if attributes == 0 {
        return Ok(());
    }
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: the descriptor is open, the path is a literal, and `attr` is of the size that is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(0)))
    }
}

/// Puts a detached mount on the file or directory `target`.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}

/// Makes `mounts` below the directory `root`, whose targets must be there. Those that were made are taken away again
/// when one fails.
pub fn mount_all(mounts: &[Mount], root: &Path) -> Result<()> {
    let base = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let base = base.map_err(|e| {
        Error::from(io::Error::from(e)).context(format!("failed to open `{}`", root.display()))
    })?;
    for (done, mount) in mounts.iter().enumerate() {
        if let Err(e) = place(mount, &base, root) {
            for earlier in mounts[..done].iter().rev() {
                let _ = unmount(&below(root, &earlier.target));
            }
            return Err(e);
        }
    }
    Ok(())
}

fn place(mount: &Mount, base: &OwnedFd, root: &Path) -> Result<()> {
    let target = mount.target.strip_prefix("/").unwrap_or(&mount.target);
    let target = if target.as_os_str().is_empty() {
        rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    } else {
        openat2(base, target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
    };
    let target = target.map_err(|e| mount.failed(e))?;
    // The root is the one directory that is sure to be there. What it holds is reached by descriptors meanwhile.
    let tree = mount.detached_by(base.as_fd())?;
    attach(tree.as_fd(), target.as_fd()).map_err(|e| mount.failed(e))
}

fn below(root: &Path, target: &Path) -> PathBuf {
    root.join(target.strip_prefix("/").unwrap_or(target))
}

/// Takes the mount at `path` away, at once for everybody who looks; those inside may finish.
pub fn unmount(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(|e| {
        Error::from(io::Error::from(e)).context(format!("failed to unmount `{}`", path.display()))
    })
}

/// Keeps mounts of this mount namespace from reaching others, and the reverse.
pub fn make_private() -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| Error::from(io::Error::from(e)).context("failed to make mounts private"))
}
