//! Where the output of a process goes and where its input comes from.

use std::os::fd::OwnedFd;

use bytes::Bytes;

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
    pub output: Output,
}

impl Io {
    /// No input; `output` gets the chunks.
    pub fn new(output: impl FnMut(Stream, Bytes) + Send + 'static) -> Self {
        Io { stdin: None, output: Box::new(output) }
    }

    /// No input, and nobody reads the output.
    pub fn discard() -> Self {
        Io::new(|_, _| ())
    }
}
