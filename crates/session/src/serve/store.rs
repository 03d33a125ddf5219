//! Blobs on their way into a folder of the client.

use std::path::{Path, PathBuf};

use oci::Digest;
use proto::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::content::blob_path;

type Replies = mpsc::Sender<Result<WriteContentResponse, Status>>;

/// Takes one blob. It is seen under its name when it is whole, and not before.
pub(super) async fn take(
    root: &Path,
    mut messages: Streaming<WriteContentRequest>,
    replies: &Replies,
) -> Result<(), Status> {
    let Some(first) = messages.message().await? else { return Ok(()) };
    let digest: Digest = first
        .expected
        .parse()
        .map_err(|_| Status::invalid_argument(format!("invalid digest `{}`", first.expected)))?;
    if digest.algorithm() != "sha256" {
        return Err(Status::unimplemented(format!("blobs by {} are not taken", digest.algorithm())));
    }
    let path = blob_path(root, &digest);
    if tokio::fs::metadata(&path).await.is_ok_and(|found| found.len() as i64 == first.total) {
        return Err(Status::already_exists(format!("content {digest}: already exists")));
    }
    let mut part = Part::begin(path, digest, first.total).await?;
    let mut next = Some(first);
    while let Some(message) = next {
        let done = part.take(&message).await?;
        let reply = WriteContentResponse {
            action: message.action,
            offset: part.offset,
            total: part.total,
            digest: part.digest.to_string(),
            ..Default::default()
        };
        if replies.send(Ok(reply)).await.is_err() || done {
            break;
        }
        next = messages.message().await?;
    }
    Ok(())
}

/// A blob that is not whole.
struct Part {
    path: PathBuf,
    digest: Digest,
    total: i64,
    offset: i64,
    file: File,
    hash: Sha256,
    /// Where it lies meanwhile. Removed when it is dropped.
    place: tempfile::TempPath,
}

impl Part {
    async fn begin(path: PathBuf, digest: Digest, total: i64) -> Result<Self, Status> {
        let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let made = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&dir)?;
            tempfile::Builder::new().prefix(".part-").tempfile_in(&dir)
        });
        let made = made.await.map_err(|e| Status::internal(e.to_string()))?;
        let (file, place) = made.map_err(failed)?.into_parts();
        Ok(Part { path, digest, total, offset: 0, file: File::from_std(file), hash: Sha256::new(), place })
    }

    /// Does what a message asks for; says whether the blob is whole.
    async fn take(&mut self, message: &WriteContentRequest) -> Result<bool, Status> {
        if message.offset != self.offset && !message.data.is_empty() {
            return Err(Status::out_of_range(format!("offset {} is not {}", message.offset, self.offset)));
        }
        self.file.write_all(&message.data).await.map_err(failed)?;
        self.hash.update(&message.data);
        self.offset += message.data.len() as i64;
        if self.total > 0 && self.offset > self.total {
            return Err(Status::failed_precondition(format!("more than {} bytes", self.total)));
        }
        if message.action != i32::from(WriteAction::Commit) {
            return Ok(false);
        }
        self.commit().await?;
        Ok(true)
    }

    async fn commit(&mut self) -> Result<(), Status> {
        let found = Digest::from_sha256(std::mem::take(&mut self.hash).finalize().into());
        if found != self.digest {
            let message = format!("unexpected commit digest {found}, expected {}", self.digest);
            return Err(Status::failed_precondition(message));
        }
        self.file.flush().await.map_err(failed)?;
        self.file.set_permissions(readable()).await.map_err(failed)?;
        tokio::fs::rename(&self.place, &self.path).await.map_err(failed)
    }
}

/// A cache is read by others, too.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

fn failed(e: std::io::Error) -> Status {
    Status::unknown(format!("failed to write a blob: {e}"))
}
