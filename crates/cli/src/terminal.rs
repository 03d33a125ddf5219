//! The user's own terminal.

use client::WindowSize;
use errdefs::{Result, ResultExt as _};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Hands every key on as it is typed, Ctrl-C too. Dropping it puts the terminal back.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(crate) fn enter() -> Result<Self> {
        let stdin = rustix::stdio::stdin();
        let set = || -> std::io::Result<Self> {
            let before = tcgetattr(stdin)?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin, OptionalActions::Now, &raw)?;
            Ok(RawMode { before })
        };
        set().context("failed to set up the terminal")
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal, or else that of a terminal as people imagine it.
pub(crate) fn size() -> WindowSize {
    let streams = [rustix::stdio::stdout(), rustix::stdio::stdin(), rustix::stdio::stderr()];
    let sizes = streams.into_iter().filter_map(|stream| tcgetwinsize(stream).ok());
    let known = sizes.into_iter().find(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or(WindowSize { rows: 24, columns: 80 }, |size| WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}
