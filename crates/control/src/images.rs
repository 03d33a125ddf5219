//! The Images service: what Kiln's own store holds.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use engine::{Engine, Inspected, LoadOptions, SaveOptions, StoredImage};
use errdefs::{Error, Result};
use futures_util::{StreamExt as _, stream};
use oci::{Platform, Reference};
use proto::control::StatusResponse;
use proto::kiln::images_server::Images;
use proto::kiln::load_images_request::Part;
use proto::kiln::*;
use session::grpcerr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::convert;
use crate::service::Messages;

/// Bytes of a message that carries a part of an archive.
const PIECE: usize = 1 << 20;
/// Pieces on their way. When it is full, who makes them waits.
const QUEUE: usize = 4;

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
}

/// An answer as gRPC wants it.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|e| grpcerr::to_status(&e))
}

fn platform_of(text: &str) -> Result<Option<Platform>, Status> {
    convert::optional_platform(text).map_err(|e| grpcerr::to_status(&e))
}

#[tonic::async_trait]
impl Images for Service {
    type SaveStream = ReceiverStream<Result<ArchivePiece, Status>>;
    type ExportStream = ReceiverStream<Result<ArchivePiece, Status>>;
    type PushStream = Messages<StatusResponse>;

    async fn list(&self, _: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let images = self.engine.images().await;
        answer(images.map(|images| ListImagesResponse { images: images.into_iter().map(image).collect() }))
    }

    async fn inspect(
        &self,
        request: Request<InspectImageRequest>,
    ) -> Result<Response<InspectImageResponse>, Status> {
        let InspectImageRequest { image, platform } = request.into_inner();
        let platform = platform_of(&platform)?;
        answer(self.engine.inspect_image(&image, platform).await.map(inspected))
    }

    async fn tag(&self, request: Request<TagImageRequest>) -> Result<Response<TagImageResponse>, Status> {
        let TagImageRequest { image, name } = request.into_inner();
        answer(self.engine.tag_image(&image, &name).await.map(|name| TagImageResponse { name }))
    }

    async fn remove(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        let RemoveImageRequest { name, force } = request.into_inner();
        answer(self.engine.remove_image(&name, force).await.map(|names| RemoveImageResponse { names }))
    }

    async fn push(&self, request: Request<PushImageRequest>) -> Result<Response<Self::PushStream>, Status> {
        let PushImageRequest { name, platform, session } = request.into_inner();
        let platform = platform_of(&platform)?;
        let cancel = CancellationToken::new();
        let push = self.engine.push_image(name, platform, session, cancel.clone());
        // The stream that is dropped takes the push along.
        let messages = stream::unfold(Some((push, cancel.drop_guard())), |state| async {
            let (mut push, guard) = state?;
            if let Some(status) = push.log.next().await {
                return Some((Ok(convert::status_response(status)), Some((push, guard))));
            }
            let end = push
                .end
                .await
                .unwrap_or_else(|e| Err(Error::internal(format!("a push ended unexpectedly: {e}"))));
            Some((Err(grpcerr::to_status(&end.err()?)), None))
        });
        Ok(Response::new(messages.boxed()))
    }

    async fn save(&self, request: Request<SaveImagesRequest>) -> Result<Response<Self::SaveStream>, Status> {
        let SaveImagesRequest { images, platform, oci_only } = request.into_inner();
        let options = SaveOptions { images, platform: platform_of(&platform)?, oci_only };
        let engine = self.engine.clone();
        Ok(Response::new(pieces(|out| async move { engine.save_images(options, out).await })))
    }

    async fn export(
        &self,
        request: Request<ExportImageRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let ExportImageRequest { image, platform } = request.into_inner();
        let platform = platform_of(&platform)?;
        let engine = self.engine.clone();
        Ok(Response::new(pieces(|out| async move { engine.export_image(&image, platform, out).await })))
    }

    async fn load(
        &self,
        request: Request<Streaming<LoadImagesRequest>>,
    ) -> Result<Response<LoadImagesResponse>, Status> {
        answer(load(&self.engine, request.into_inner()).await)
    }
}

async fn load(engine: &Engine, mut parts: Streaming<LoadImagesRequest>) -> Result<LoadImagesResponse> {
    let first = parts.message().await.map_err(grpcerr::from_status)?.and_then(|message| message.part);
    let Some(Part::Options(options)) = first else {
        return Err(Error::user("a call of Load begins with the options"));
    };
    let options =
        LoadOptions { platform: convert::optional_platform(&options.platform)?, names: options.names };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let loading = engine.load_images(options, Inbox { pieces: receiver, current: Bytes::new() });
    let feeding = async {
        loop {
            let piece = match parts.message().await {
                Ok(None) => break,
                Ok(Some(message)) => match message.part {
                    Some(Part::Data(data)) => Ok(data),
                    _ => Err(io::Error::other("a call of Load has its options first, and once")),
                },
                Err(status) => Err(io::Error::other(grpcerr::from_status(status))),
            };
            // An archive that is refused is read no further.
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let (images, ()) = tokio::join!(loading, feeding);
    let images = images?.into_iter().map(|image| LoadedImage {
        names: image.names.iter().map(Reference::to_string).collect(),
        digest: image.target.digest.to_string(),
    });
    Ok(LoadImagesResponse { images: images.collect() })
}

/// What `work` writes, piece by piece; last the error, if there is one.
fn pieces<F>(work: impl FnOnce(Outbox) -> F + Send + 'static) -> ReceiverStream<Result<ArchivePiece, Status>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let out = Outbox { pieces: sender.clone(), current: Vec::with_capacity(PIECE) };
        if let Err(e) = work(out).await {
            let _nobody_listens = sender.send(Err(grpcerr::to_status(&e))).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// Cuts what is written into messages. Writing blocks while the client is behind, and fails once it is gone.
struct Outbox {
    pieces: mpsc::Sender<Result<ArchivePiece, Status>>,
    current: Vec<u8>,
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.current.len());
        self.current.extend_from_slice(&bytes[..taken]);
        if self.current.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let data = std::mem::replace(&mut self.current, Vec::with_capacity(PIECE)).into();
        let sent = self.pieces.blocking_send(Ok(ArchivePiece { data }));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone"))
    }
}

/// Reads messages as one stream of bytes. Reading blocks until there is one.
struct Inbox {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Inbox {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let n = into.len().min(self.current.len());
        self.current.copy_to_slice(&mut into[..n]);
        Ok(n)
    }
}

fn inspected(image: Inspected) -> InspectImageResponse {
    let blobs = image.blobs.into_iter().map(|(descriptor, data)| ImageBlob {
        media_type: descriptor.media_type,
        digest: descriptor.digest.to_string(),
        data: data.into(),
    });
    InspectImageResponse {
        names: image.names,
        manifest: image.manifest.to_string(),
        updated_at: image.updated_at.as_second(),
        blobs: blobs.collect(),
    }
}

fn image(image: StoredImage) -> Image {
    Image {
        name: image.name,
        digest: image.digest.to_string(),
        config_digest: image.config_digest.map(|d| d.to_string()).unwrap_or_default(),
        updated_at: image.updated_at.as_second(),
        size: image.size.cast_signed(),
        platforms: image.platforms.iter().map(Platform::to_string).collect(),
    }
}
