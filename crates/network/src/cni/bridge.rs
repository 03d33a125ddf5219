//! The bridge that steps are plugged into. The plugin makes it when the first step needs it; that it goes again is our
//! matter.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};

use super::list::ADDRESSES;

/// The longest name of an interface.
const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;

/// A bridge. Dropping it leaves it where it is.
pub struct Bridge {
    name: String,
    /// There while the bridge is one that we have to remove.
    mark: PathBuf,
}

impl Bridge {
    /// Removes the bridge of an engine that was killed, unless it is the one that is wanted.
    pub fn sweep(state: &Path, wanted: Option<&str>) {
        let mark = mark(state);
        let Ok(name) = std::fs::read_to_string(&mark) else { return };
        if wanted != Some(&*name) {
            Bridge { name, mark }.remove();
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
        let bridge = Bridge { name: name.to_owned(), mark: mark(state) };
        if !bridge.exists() {
            std::fs::create_dir_all(state)
                .and_then(|()| std::fs::write(&bridge.mark, name))
                .with_context(|| format!("failed to write `{}`", bridge.mark.display()))?;
        }
        Ok(bridge)
    }

    /// Removes a bridge that was made for us, unless others are plugged into it.
    pub fn remove(&self) {
        if !self.mark.exists() || (self.exists() && self.is_used()) {
            return;
        }
        let removed = if self.exists() { delete(&self.name) } else { Ok(()) };
        match removed.and_then(|()| std::fs::remove_file(&self.mark)) {
            Ok(()) => _ = std::fs::remove_dir_all(Path::new(ADDRESSES).join(&self.name)),
            Err(e) => tracing::warn!("bridge `{}` is not removed: {e}", self.name),
        }
    }

    fn exists(&self) -> bool {
        self.in_sysfs("").exists()
    }

    fn is_used(&self) -> bool {
        // One that tells nothing of its ports is no bridge.
        std::fs::read_dir(self.in_sysfs("brif")).map_or(true, |mut ports| ports.next().is_some())
    }

    fn in_sysfs(&self, file: &str) -> PathBuf {
        Path::new("/sys/class/net").join(&self.name).join(file)
    }
}

fn mark(state: &Path) -> PathBuf {
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
