//! Network namespaces that outlive a container, or are there before it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// A network namespace with nothing in it but `lo`, which is up. It lasts as long as somebody holds it: this handle, a
/// process in it, a socket of it, or the file that it is pinned to.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// Makes one. Blocks for a moment.
    pub fn new() -> io::Result<Self> {
        apart(|| {
            // SAFETY: of this thread only the network is taken apart, and it ends with this.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
            loopback_up()?;
            open(Path::new("/proc/thread-self/ns/net")).map(Namespace)
        })
    }

    /// Where other processes find it, while this handle is there.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Does some work inside, as making sockets: they stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        apart(|| {
            let inside = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(self.0.as_fd(), inside)?;
            work()
        })
    }

    /// Keeps it at `file`, which is made, until it is unpinned: over the end of this process too.
    pub fn pin(&self, file: &Path) -> io::Result<()> {
        File::create(file)?;
        Ok(rustix::mount::mount_bind(self.path(), file)?)
    }

    /// Lets go of what is pinned at `file`, and removes the file. One that is not there is no error.
    pub fn unpin(file: &Path) -> io::Result<()> {
        match rustix::mount::unmount(file, UnmountFlags::DETACH) {
            Err(e) if !matches!(e, rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
                return Err(e.into());
            }
            _ => {}
        }
        match std::fs::remove_file(file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// On a thread of its own: what becomes of its namespaces is nobody else's matter.
fn apart<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended unexpectedly")))
    })
}

pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// In the namespace of the calling thread.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: every field is an integer or an array of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request reads a name and flags, both set, from a structure that outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
