//! Where the output of a process goes and where its input comes from.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use errdefs::{Result, ResultExt};
use rustix::fs::{Mode, OFlags};

use crate::container::Outlet;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// 1 or 2, as in progress logs.
    pub fn fd(self) -> u32 {
        match self {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        }
    }
}

/// Is given every chunk that the process writes, in order for each stream, as soon as it was written. While it runs
/// nothing more is read, so a slow receiver slows the process down. With a terminal all output is [`Stream::Stdout`].
pub type Output = Box<dyn FnMut(Stream, Bytes) + Send>;

/// Standard streams of a process.
pub struct Io {
    /// Is handed to the process as it is. `None`: `/dev/null`. Not used with a terminal: see [`crate::Tty`].
    pub stdin: Option<OwnedFd>,
    /// Is handed to the process as it is; `output` then hears of its stderr alone. Not used with a terminal.
    pub stdout: Option<OwnedFd>,
    pub output: Output,
}

impl Io {
    /// No input; `output` gets the chunks.
    pub fn new(output: impl FnMut(Stream, Bytes) + Send + 'static) -> Self {
        Io { stdin: None, stdout: None, output: Box::new(output) }
    }

    /// No input, and nobody reads the output.
    pub fn discard() -> Self {
        Io::new(|_, _| ())
    }
}

/// Both sides of the standard streams.
pub(crate) struct Streams {
    /// Stdin, stdout and stderr of the process; none with a terminal.
    theirs: Vec<OwnedFd>,
    /// What the engine reads of it.
    pub outlets: Vec<Outlet>,
    pub output: Output,
}

impl Streams {
    pub fn open(io: Io, tty: bool) -> Result<Streams> {
        let Io { stdin, stdout, output } = io;
        if tty {
            return Ok(Streams { theirs: Vec::new(), outlets: Vec::new(), output });
        }
        let stdin = match stdin {
            Some(fd) => fd,
            None => rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(std::io::Error::from)
                .context("failed to open `/dev/null`")?,
        };
        let mut outlets = Vec::new();
        let mut pipe = |stream| -> Result<OwnedFd> {
            let (outlet, theirs) = Outlet::pipe(stream).context("failed to make a pipe")?;
            outlets.push(outlet);
            Ok(theirs)
        };
        let stdout = stdout.map_or_else(|| pipe(Stream::Stdout), Ok)?;
        let stderr = pipe(Stream::Stderr)?;
        Ok(Streams { theirs: vec![stdin, stdout, stderr], outlets, output })
    }

    pub fn theirs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.theirs.iter().map(AsFd::as_fd)
    }
}
