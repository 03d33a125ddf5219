//! Writes to stdout and stderr. A reader that went away, as `head` does, is no fault.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use errdefs::{Result, ResultExt as _};

/// Writes to stdout, at once.
pub(crate) fn out(text: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to stdout"),
    }
}

/// Writes to stderr. There is nobody to tell if that fails.
pub(crate) fn note(text: impl Display) {
    let _ = write!(std::io::stderr().lock(), "{text}");
}
