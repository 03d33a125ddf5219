use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The process behind a socket, held so that its number cannot come to mean another.
#[derive(Debug)]
pub(crate) struct EngineProcess {
    pub pid: Pid,
    handle: OwnedFd,
}

impl EngineProcess {
    /// Who listens on `socket`. Nothing when nobody does.
    pub(crate) fn behind(socket: &Path) -> Result<Option<Self>> {
        let Ok(stream) = UnixStream::connect(socket) else { return Ok(None) };
        let peer =
            socket_peercred(&stream).map_err(std::io::Error::from).context("failed to find the engine")?;
        match pidfd_open(peer.pid, PidfdFlags::empty()) {
            Ok(handle) => Ok(Some(EngineProcess { pid: peer.pid, handle })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(e) => Err(Error::from(std::io::Error::from(e)).context("failed to find the engine")),
        }
    }

    /// Asks it to stop, which it does when its builds have ended.
    pub(crate) fn tell_to_stop(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// After [`EngineProcess::tell_to_stop`]: asks it to cancel its builds. This is another signal than the first one,
    /// since two of a kind that come together are one.
    pub(crate) fn tell_to_hurry(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::from(std::io::Error::from(e)).context("failed to stop the engine")),
        }
    }

    /// Waits until it has ended. Fails when that takes longer than `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Result<()> {
        let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: 0 };
        let mut fds = [PollFd::from_borrowed_fd(self.handle.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(1) => Ok(()),
            _ => Err(Error::environment(format!(
                "the engine (process {}) does not stop",
                self.pid.as_raw_nonzero()
            ))
            .hint("it waits for builds to end; `kiln engine stop --force` cancels them")),
        }
    }
}
