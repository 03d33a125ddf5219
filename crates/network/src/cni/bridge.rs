//! The bridge that steps are plugged into. The plugin makes it when the first step needs it; that it goes again is our
//! matter.
//!
//! Engines may share a bridge. One that was made for us bears a mark, and whoever leaves it last removes it.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::list::ADDRESSES;

/// The longest name of an interface.
const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;
/// What stands in the alias of a bridge that was made for us.
const MARK: &str = "kiln";

/// A bridge that is used. Dropping it leaves it where it is.
pub struct Bridge {
    name: String,
    /// Tells the next engine on this store that this one was killed.
    note: PathBuf,
    /// It was there already, so that whoever made it has marked it.
    was_there: bool,
}

impl Bridge {
    /// Removes the bridge of an engine that was killed, unless it is the one that is wanted.
    pub fn sweep(state: &Path, wanted: Option<&str>) {
        let note = note(state);
        let Ok(name) = std::fs::read_to_string(&note) else { return };
        if wanted != Some(&*name) {
            Bridge { name, note, was_there: true }.remove();
        }
    }

    /// To be called before the bridge is made.
    pub fn claim(state: &Path, name: &str) -> Result<Self> {
        if name.is_empty()
            || name.len() > LONGEST_NAME
            || name.contains(['/', ' ', '%', ':'])
            || name == "."
            || name == ".."
        {
            return Err(Error::user(format!("`{name}` is no name of a bridge"))
                .hint(format!("give one of at most {LONGEST_NAME} letters, digits and dashes")));
        }
        let mut bridge = Bridge { name: name.to_owned(), note: note(state), was_there: false };
        bridge.was_there = bridge.files().context("failed to look for bridges")?.exists();
        std::fs::create_dir_all(state)
            .and_then(|()| std::fs::write(&bridge.note, name))
            .with_context(|| format!("failed to write `{}`", bridge.note.display()))?;
        Ok(bridge)
    }

    /// Says that it was made for us. To be called when it was, if it was.
    pub fn mark(&self) {
        let Ok(files) = self.files() else { return };
        if !self.was_there
            && files.exists()
            && let Err(e) = std::fs::write(files.path("ifalias"), MARK)
        {
            tracing::warn!("bridge `{}` will stay: {e}", self.name);
        }
    }

    /// Removes a bridge that was made for us, unless others are plugged into it.
    pub fn remove(&self) {
        let removed = self.files().and_then(|files| match files.is_ours() && !files.is_used() {
            true => delete(&self.name).map(|()| true),
            false => Ok(!files.exists()),
        });
        match removed {
            Ok(true) => _ = std::fs::remove_dir_all(Path::new(ADDRESSES).join(&self.name)),
            Ok(false) => {}
            Err(e) => tracing::warn!("bridge `{}` is not removed: {e}", self.name),
        }
        let _nothing_to_note = std::fs::remove_file(&self.note);
    }

    fn files(&self) -> io::Result<Files> {
        let fs = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&fs)?;
        let sysfs = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        Ok(Files { sysfs, name: self.name.clone() })
    }
}

/// What the kernel says of an interface, in a sysfs of our own: the one at `/sys` shows the network of whoever mounted it.
struct Files {
    sysfs: OwnedFd,
    name: String,
}

impl Files {
    fn path(&self, file: &str) -> PathBuf {
        format!("/proc/self/fd/{}/class/net/{}/{file}", self.sysfs.as_raw_fd(), self.name).into()
    }

    fn exists(&self) -> bool {
        self.path("").exists()
    }

    fn is_ours(&self) -> bool {
        std::fs::read_to_string(self.path("ifalias")).is_ok_and(|alias| alias.trim_end() == MARK)
    }

    fn is_used(&self) -> bool {
        // One that tells nothing of its ports is no bridge.
        std::fs::read_dir(self.path("brif")).map_or(true, |mut ports| ports.next().is_some())
    }
}

fn note(state: &Path) -> PathBuf {
    state.join("bridge")
}

/// Takes a bridge down, as the kernel wants it first, and deletes it.
fn delete(name: &str) -> io::Result<()> {
    const DELETE_BRIDGE: libc::Ioctl = 0x89a1;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: every field is an integer or an array of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(LONGEST_NAME).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the request reads a name and flags, both set, from a structure that outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the request reads a name that ends with a zero and outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), DELETE_BRIDGE, request.ifr_name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
