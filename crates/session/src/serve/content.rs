use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{BoxStream, Pending};
use futures_util::{StreamExt, TryStreamExt};
use oci::Digest;
use proto::content as wire;
use proto::content::content_server::Content;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::ReaderStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::store;
use crate::metadata;
use crate::offer::Store;
use crate::session::STORE_ID;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// Stores by id.
pub(super) struct Stores(pub Arc<BTreeMap<String, Store>>);

impl Stores {
    fn find(&self, md: &MetadataMap) -> Result<&Store, Status> {
        let store = metadata::get_one(md, STORE_ID);
        self.0.get(&store).ok_or_else(|| Status::not_found(format!("unknown store {store}")))
    }
}

async fn open(root: &Path, digest: &str) -> Result<(File, u64), Status> {
    let digest: Digest =
        digest.parse().map_err(|_| Status::invalid_argument(format!("invalid digest `{digest}`")))?;
    let path = blob_path(root, &digest);
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

/// Where a layout keeps a blob.
pub(super) fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs").join(digest.algorithm()).join(digest.hex())
}

#[tonic::async_trait]
impl Content for Stores {
    type ListStream = Pending<Result<wire::ListContentResponse, Status>>;
    type ReadStream = BoxStream<'static, Result<wire::ReadContentResponse, Status>>;
    type WriteStream = BoxStream<'static, Result<wire::WriteContentResponse, Status>>;

    async fn info(
        &self,
        request: Request<wire::InfoRequest>,
    ) -> Result<Response<wire::InfoResponse>, Status> {
        let digest = &request.get_ref().digest;
        let root = match self.find(request.metadata())? {
            Store::Folder { path, .. } => path,
            Store::Elsewhere(store) => {
                return store.blobs().info(store.request(request.get_ref().clone())).await;
            }
        };
        let (_, size) = open(root, digest).await?;
        let size = i64::try_from(size).map_err(|_| Status::out_of_range("blob too large"))?;
        let info = wire::Info { digest: digest.clone(), size, ..Default::default() };
        Ok(Response::new(wire::InfoResponse { info: Some(info) }))
    }

    async fn read(
        &self,
        request: Request<wire::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let wire::ReadContentRequest { digest, offset, size } = request.get_ref();
        let root = match self.find(request.metadata())? {
            Store::Folder { path, .. } => path,
            Store::Elsewhere(store) => {
                let answer = store.blobs().read(store.request(request.get_ref().clone())).await?;
                return Ok(answer.map(StreamExt::boxed));
            }
        };
        let (mut file, total) = open(root, digest).await?;
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
        request: Request<Streaming<wire::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let root = match self.find(request.metadata())? {
            Store::Folder { path, writable: true } => path.clone(),
            Store::Folder { writable: false, .. } => return Err(read_only()),
            Store::Elsewhere(store) => {
                // Where the engine breaks off, the write ends without a commit.
                let messages = request
                    .into_inner()
                    .take_while(|message| std::future::ready(message.is_ok()))
                    .filter_map(|message| std::future::ready(message.ok()));
                return Ok(store.blobs().write(store.request(messages)).await?.map(StreamExt::boxed));
            }
        };
        let (replies, stream) = mpsc::channel(1);
        let messages = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = store::take(&root, messages, &replies).await {
                let _nobody_listens = replies.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn abort(&self, _: Request<wire::AbortRequest>) -> Result<Response<()>, Status> {
        Err(read_only())
    }
}

fn read_only() -> Status {
    Status::failed_precondition("this store is read only")
}
