//! The blobs that builds made, as containerd serves them: to be read, not written.

use std::io::SeekFrom;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use engine::Engine;
use errdefs::Result;
use futures_util::stream::Pending;
use futures_util::{Stream, StreamExt as _};
use oci::Digest;
use proto::content as wire;
use proto::content::content_server::Content;
use refs::{Filter, Refs};
use session::grpcerr;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, Take};
use tonic::{Request, Response, Status, Streaming};

/// Bytes of a message.
const CHUNK: usize = 1 << 20;
/// Blobs that are listed in one message.
const PAGE: usize = 100;

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
}

impl Service {
    async fn with_refs<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Refs) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let refs = self.engine.refs().clone();
        let done = tokio::task::spawn_blocking(move || work(&refs)).await;
        done.map_err(|e| Status::internal(e.to_string()))?.map_err(|e| grpcerr::to_status(&e))
    }
}

#[tonic::async_trait]
impl Content for Service {
    type ListStream = Messages<wire::ListContentResponse>;
    type ReadStream = Messages<wire::ReadContentResponse>;
    type WriteStream = Pending<Result<wire::WriteContentResponse, Status>>;

    async fn info(
        &self,
        request: Request<wire::InfoRequest>,
    ) -> Result<Response<wire::InfoResponse>, Status> {
        let digest = digest(&request.get_ref().digest)?;
        let info = self.with_refs(move |refs| info(refs, &digest)).await?;
        Ok(Response::new(wire::InfoResponse { info: Some(info) }))
    }

    /// All but those that are there for nothing but the name of an image: BuildKit keeps no images of its own, and its
    /// clients count what builds leave behind.
    async fn list(
        &self,
        request: Request<wire::ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let filter = Filter::parse(&request.get_ref().filters).map_err(|e| grpcerr::to_status(&e))?;
        let infos = self.with_refs(move |refs| list(refs, &filter)).await?;
        let pages: Vec<_> =
            infos.chunks(PAGE).map(|page| Ok(wire::ListContentResponse { info: page.to_vec() })).collect();
        Ok(Response::new(futures_util::stream::iter(pages).boxed()))
    }

    async fn read(
        &self,
        request: Request<wire::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let wire::ReadContentRequest { digest: text, offset, size } = request.into_inner();
        let blob = digest(&text)?;
        let file = self.with_refs(move |refs| refs.content().open_blob(&blob)).await?;
        let mut file = File::from_std(file);
        let unknown = |e: std::io::Error| Status::unknown(e.to_string());
        let total = file.metadata().await.map_err(unknown)?.len();
        let start = u64::try_from(offset).ok().filter(|start| *start <= total);
        let start = start.ok_or_else(|| Status::out_of_range(format!("invalid offset {offset}")))?;
        let length = match u64::try_from(size) {
            Ok(0) => total - start,
            Ok(size) if size <= total - start => size,
            _ => return Err(Status::out_of_range(format!("invalid size {size}"))),
        };
        file.seek(SeekFrom::Start(start)).await.map_err(unknown)?;
        let messages =
            futures_util::stream::unfold((file.take(length), offset), |(mut file, at)| async move {
                match chunk(&mut file).await {
                    Ok(data) if data.is_empty() => None,
                    Ok(data) => {
                        let next = at + i64::try_from(data.len()).unwrap_or_default();
                        Some((Ok(wire::ReadContentResponse { offset: at, data }), (file, next)))
                    }
                    Err(e) => Some((Err(Status::unknown(e.to_string())), (file.into_inner().take(0), at))),
                }
            });
        Ok(Response::new(messages.boxed()))
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        Err(Status::not_found(format!("ref {}: not found", request.get_ref().r#ref)))
    }

    async fn list_statuses(
        &self,
        _: Request<wire::ListStatusesRequest>,
    ) -> Result<Response<wire::ListStatusesResponse>, Status> {
        Ok(Response::new(wire::ListStatusesResponse::default()))
    }

    async fn update(
        &self,
        _: Request<wire::UpdateRequest>,
    ) -> Result<Response<wire::UpdateResponse>, Status> {
        Err(read_only())
    }

    async fn delete(&self, _: Request<wire::DeleteContentRequest>) -> Result<Response<()>, Status> {
        Err(read_only())
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

/// The next bytes; none at the end.
async fn chunk(file: &mut Take<File>) -> std::io::Result<Bytes> {
    let mut data = BytesMut::with_capacity(CHUNK.min(usize::try_from(file.limit()).unwrap_or(CHUNK)));
    while data.len() < CHUNK && file.read_buf(&mut data).await? != 0 {}
    Ok(data.freeze())
}

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|_| Status::invalid_argument(format!("invalid digest `{text}`")))
}

fn info(refs: &Refs, digest: &Digest) -> Result<wire::Info> {
    let size = i64::try_from(refs.content().size(digest)?).unwrap_or(i64::MAX);
    let labels = refs.content().labels(digest)?;
    Ok(wire::Info { digest: digest.to_string(), size, labels, ..wire::Info::default() })
}

fn list(refs: &Refs, filter: &Filter) -> Result<Vec<wire::Info>> {
    let images = refs.blobs_of_images_alone()?;
    let mut infos = Vec::new();
    refs.content().walk(|digest, _| {
        if images.contains(&digest) {
            return Ok(());
        }
        // One that went meanwhile is not listed.
        if let Ok(info) = info(refs, &digest)
            && filter.matches_fields(&|field| value(&info, field))
        {
            infos.push(info);
        }
        Ok(())
    })?;
    Ok(infos)
}

fn value(info: &wire::Info, field: &str) -> Option<String> {
    match field {
        "digest" => Some(info.digest.clone()),
        "size" => Some(info.size.to_string()),
        _ => info.labels.get(field.strip_prefix("labels.")?).cloned(),
    }
}

fn read_only() -> Status {
    Status::failed_precondition("the blobs of the engine are read only")
}
