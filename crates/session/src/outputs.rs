//! Where the client puts what exporters send.

mod dir;
mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;
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
    /// A place that may have the image, or parts of it, already.
    Place(Arc<dyn ImagePlace>),
}

/// A place for images that is asked what it lacks before anything is sent.
#[async_trait]
pub trait ImagePlace: Send + Sync + 'static {
    /// `offered` are the attributes of the image, as `containerimage.config.digest` and `image.name`. `layers` are its
    /// diff ids, lowest first; none where the engine sends all or nothing.
    async fn lacks(&self, offered: &BTreeMap<String, String>, layers: &[String]) -> Result<Lack>;
}

/// What of an image a place lacks.
pub enum Lack {
    Nothing,
    /// All but so many of the lowest layers. What comes is written `to`, and shut down at a good end only.
    Layers {
        known: usize,
        to: Box<dyn AsyncWrite + Send + Unpin>,
    },
}

/// What happens to files of a folder that were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirMode {
    /// They stay.
    Merge,
    /// They go.
    Mirror,
}
