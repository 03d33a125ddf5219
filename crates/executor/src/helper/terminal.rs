//! A terminal of the container's own `devpts`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::places;
use crate::WinSize;

pub(super) struct Terminal {
    /// For the engine.
    pub master: OwnedFd,
    /// For the process.
    pub slave: OwnedFd,
}

impl Terminal {
    /// Opens a new terminal in the `/dev/pts` of `root`.
    pub fn open(root: BorrowedFd<'_>, size: WinSize) -> io::Result<Terminal> {
        let master = places::open(root, Path::new("dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY)?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&slave, size)?;
        Ok(Terminal { master, slave })
    }

    /// Its name inside the container.
    pub fn name(&self) -> io::Result<String> {
        let name = rustix::pty::ptsname(&self.master, Vec::new())?;
        Ok(name.to_string_lossy().trim_start_matches('/').to_owned())
    }
}
