//! A folder as a target.

use std::path::Path;

use errdefs::{Error, Result};

use crate::files::{FileSink, Stat, SyncReceiver};
use crate::outputs::DirMode;

/// Writes what comes into one folder.
pub(crate) struct DirWriter;

impl DirWriter {
    pub(crate) fn open(_: &Path, _: DirMode) -> Result<Self> {
        Err(Error::unimplemented("folders cannot be written yet"))
    }

    pub(crate) fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl SyncReceiver for DirWriter {
    fn entry(&mut self, _: Stat) -> Result<Option<Box<dyn FileSink>>> {
        Ok(None)
    }
}
