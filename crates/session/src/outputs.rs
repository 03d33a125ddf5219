//! Where the client puts what exporters send.

mod dir;
mod file;

use std::path::PathBuf;

use tokio::io::AsyncWrite;

pub(crate) use dir::DirWriter;
pub(crate) use file::FileWriter;

/// The target of one exporter.
pub enum Output {
    /// A folder, made if need be. Every file in it is replaced whole or not at all, and nothing outside of it is
    /// touched.
    Dir { path: PathBuf, mode: DirMode },
    /// A file, which comes to be when all of it is there. A device or pipe is written to as it is.
    File(PathBuf),
    /// Anything that takes bytes, as stdout. It is shut down at a good end only.
    Stream(Box<dyn AsyncWrite + Send + Unpin>),
}

/// What happens to files of a folder that were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirMode {
    /// They stay.
    Merge,
    /// They go.
    Mirror,
}
