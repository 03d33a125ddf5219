use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream::{BoxStream, Pending};
use futures_util::{StreamExt, TryStreamExt};
use oci::Digest;
use proto::content as wire;
use proto::content::content_server::Content;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::metadata;
use crate::session::STORE_ID;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// OCI layouts by store id, to be read only.
pub(super) struct Layouts(pub Arc<BTreeMap<String, PathBuf>>);

impl Layouts {
    async fn open(&self, md: &MetadataMap, digest: &str) -> Result<(File, u64), Status> {
        let store = metadata::get_one(md, STORE_ID);
        let root = self.0.get(&store).ok_or_else(|| Status::not_found(format!("unknown store {store}")))?;
        let digest: Digest =
            digest.parse().map_err(|_| Status::invalid_argument(format!("invalid digest `{digest}`")))?;
        let path = root.join("blobs").join(digest.algorithm()).join(digest.hex());
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Status::not_found(format!("content {digest}: not found")),
            _ => Status::unknown(format!("content {digest}: {e}")),
        };
        let file = File::open(&path).await.map_err(failed)?;
        let found = file.metadata().await.map_err(failed)?;
        if !found.is_file() {
            return Err(Status::failed_precondition(format!("content {digest}: not a regular file")));
        }
        Ok((file, found.len()))
    }
}

#[tonic::async_trait]
impl Content for Layouts {
    type ListStream = Pending<Result<wire::ListContentResponse, Status>>;
    type ReadStream = BoxStream<'static, Result<wire::ReadContentResponse, Status>>;
    type WriteStream = Pending<Result<wire::WriteContentResponse, Status>>;

    async fn info(
        &self,
        request: Request<wire::InfoRequest>,
    ) -> Result<Response<wire::InfoResponse>, Status> {
        let digest = &request.get_ref().digest;
        let (_, size) = self.open(request.metadata(), digest).await?;
        let size = i64::try_from(size).map_err(|_| Status::out_of_range("blob too large"))?;
        let info = wire::Info { digest: digest.clone(), size, ..Default::default() };
        Ok(Response::new(wire::InfoResponse { info: Some(info) }))
    }

    async fn read(
        &self,
        request: Request<wire::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let wire::ReadContentRequest { digest, offset, size } = request.get_ref();
        let (mut file, total) = self.open(request.metadata(), digest).await?;
        let start = u64::try_from(*offset).ok().filter(|start| *start <= total);
        let start = start.ok_or_else(|| Status::out_of_range(format!("invalid offset {offset}")))?;
        let length = match u64::try_from(*size) {
            Ok(0) => total - start,
            Ok(size) if size <= total - start => size,
            _ => return Err(Status::out_of_range(format!("invalid size {size}"))),
        };
        file.seek(SeekFrom::Start(start)).await.map_err(|e| Status::unknown(e.to_string()))?;
        let mut at = *offset;
        let chunks = ReaderStream::with_capacity(file.take(length), CHUNK);
        let messages = chunks.map_ok(move |data| {
            let message = wire::ReadContentResponse { offset: at, data };
            at += message.data.len() as i64;
            message
        });
        Ok(Response::new(messages.map_err(|e| Status::unknown(e.to_string())).boxed()))
    }

    async fn update(
        &self,
        _: Request<wire::UpdateRequest>,
    ) -> Result<Response<wire::UpdateResponse>, Status> {
        Err(read_only())
    }

    async fn list(&self, _: Request<wire::ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("blobs are not listed"))
    }

    async fn delete(&self, _: Request<wire::DeleteContentRequest>) -> Result<Response<()>, Status> {
        Err(read_only())
    }

    async fn status(
        &self,
        _: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        Err(Status::not_found("nothing is being written"))
    }

    async fn list_statuses(
        &self,
        _: Request<wire::ListStatusesRequest>,
    ) -> Result<Response<wire::ListStatusesResponse>, Status> {
        Ok(Response::new(wire::ListStatusesResponse::default()))
    }

    async fn write(
        &self,
        _: Request<Streaming<wire::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        Err(read_only())
    }

    async fn abort(&self, _: Request<wire::AbortRequest>) -> Result<Response<()>, Status> {
        Err(read_only())
    }
}

fn read_only() -> Status {
    Status::failed_precondition("this store is read only")
}
