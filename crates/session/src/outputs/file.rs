//! One file, or a stream, as a target.

use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt};
use tempfile::{Builder, TempPath};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Takes bytes; dropped without `finish`, a file is as it was.
pub(crate) struct FileWriter {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    /// The file beside the target, and the target.
    rename: Option<(TempPath, PathBuf)>,
    /// Number of the descriptor of that file.
    number: Option<RawFd>,
}

impl FileWriter {
    pub(crate) fn stream(stream: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        FileWriter { stream, rename: None, number: None }
    }

    /// The number under which the file is open, so that an engine may write it. Others than files have none.
    pub(crate) fn number(&self) -> Option<RawFd> {
        self.number
    }

    pub(crate) async fn create(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let writer = tokio::task::spawn_blocking(move || create(&path).with_context(|| failed(&path))).await;
        writer.map_err(|e| Error::internal(e.to_string()))?
    }

    pub(crate) async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.stream.write_all(data).await.context("failed to write the output")
    }

    pub(crate) async fn finish(mut self) -> Result<()> {
        // Standard output does not flush when it is shut down.
        self.stream.flush().await.context("failed to write the output")?;
        self.stream.shutdown().await.context("failed to write the output")?;
        let Some((from, to)) = self.rename else { return Ok(()) };
        let rename = move || from.persist(&to).map_err(|e| e.error).with_context(|| failed(&to));
        tokio::task::spawn_blocking(rename).await.map_err(|e| Error::internal(e.to_string()))?
    }
}

fn failed(path: &Path) -> String {
    format!("failed to write `{}`", path.display())
}

fn create(path: &Path) -> std::io::Result<FileWriter> {
    // A symlink keeps pointing where it points; what it points at is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match target.metadata() {
        Ok(found) if !found.is_file() => {
            let file = std::fs::OpenOptions::new().write(true).open(&target)?;
            return Ok(FileWriter::stream(Box::new(File::from_std(file))));
        }
        _ => {}
    }
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let (file, temporary) = Builder::new()
        .prefix(&format!(".{name}."))
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?
        .into_parts();
    let number = Some(file.as_raw_fd());
    Ok(FileWriter { stream: Box::new(File::from_std(file)), rename: Some((temporary, target)), number })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use super::*;

    /// Writes on when it is flushed, and then only, as standard output does.
    #[derive(Default)]
    struct Lazy {
        waiting: Vec<u8>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl AsyncWrite for Lazy {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            self.waiting.extend_from_slice(data);
            Poll::Ready(Ok(data.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let waiting = std::mem::take(&mut self.waiting);
            self.written.lock().expect("nobody panics").extend(waiting);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_stream_has_everything_when_it_is_finished() {
        let stream = Lazy::default();
        let written = Arc::clone(&stream.written);
        let mut writer = FileWriter::stream(Box::new(stream));
        writer.write(b"all of it").await.expect("written");
        writer.finish().await.expect("finished");
        assert_eq!(*written.lock().expect("nobody panics"), b"all of it");
    }
}
