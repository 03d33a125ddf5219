use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use prost::Message;
use proto::filesend::file_send_server::FileSend;
use proto::filesync::BytesMessage;
use proto::fsutil::Packet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{AsciiMetadataValue, KeyAndValueRef, MetadataMap};
use tonic::{Request, Response, Status, Streaming};

use crate::files;
use crate::outputs::{DirMode, DirWriter, FileWriter, Lack, Output};
use crate::session::{EXPORTER_ID, EXPORTER_MD, FILE, KNOWN_LAYERS, LAYERS, MULTI_PLATFORM, WANTS_FILE};
use crate::{grpcerr, metadata};

type Messages = BoxStream<'static, Result<Bytes, Status>>;

/// Where the engine's exporters put things.
pub(super) struct Outputs(Mutex<BTreeMap<u32, Output>>);

impl Outputs {
    pub(super) fn new(outputs: BTreeMap<u32, Output>) -> Self {
        Outputs(Mutex::new(outputs))
    }

    /// A folder may be sent in several goes, one for each platform; anything else only once.
    fn take(&self, id: u32) -> Option<Output> {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outputs.get(&id)? {
            Output::Dir { path, mode } => Some(Output::Dir { path: path.clone(), mode: *mode }),
            _ => outputs.remove(&id),
        }
    }
}

#[tonic::async_trait]
impl FileSend for Outputs {
    type DiffCopyStream = Messages;

    async fn diff_copy(&self, request: Request<Streaming<Bytes>>) -> Result<Response<Messages>, Status> {
        let id = exporter_id(request.metadata());
        let output = self.take(id).ok_or_else(|| Status::unknown(format!("exporter {id} not found")))?;
        let multi_platform = metadata::get_list(request.metadata(), MULTI_PLATFORM).iter().any(|v| v == "1");
        let (head, _, messages) = request.into_parts();
        match output {
            Output::Dir { mode: DirMode::Mirror, .. } if !multi_platform => Err(Status::unknown(
                "local exporter mode=delete requires a BuildKit daemon with multi-platform local export support",
            )),
            Output::Dir { path, mode } => {
                let writer = tokio::task::spawn_blocking(move || DirWriter::open(&path, mode)).await;
                let writer = writer.map_err(|e| Status::internal(e.to_string()))?;
                Ok(Response::new(receive_dir(messages, writer.map_err(|e| grpcerr::to_status(&e))?)))
            }
            Output::File(path) => {
                let writer = FileWriter::create(&path).await.map_err(|e| grpcerr::to_status(&e))?;
                take_file(&head, messages, writer).await
            }
            Output::Stream(stream) => take_file(&head, messages, FileWriter::stream(stream)).await,
            Output::Place(place) => {
                let mut offered = attributes(&head);
                let layers = offered.remove(LAYERS).unwrap_or_default();
                let layers = Vec::from_iter(layers.split(',').filter(|l| !l.is_empty()).map(str::to_owned));
                match place.lacks(&offered, &layers).await.map_err(|e| grpcerr::to_status(&e))? {
                    Lack::Nothing => Err(Status::already_exists("the image is there")),
                    Lack::Layers { known, to } => Ok(receive_answered(
                        messages,
                        FileWriter::stream(to),
                        KNOWN_LAYERS,
                        Some(known.into()),
                    )),
                }
            }
        }
    }
}

/// What the engine tells of what it sends.
fn attributes(head: &MetadataMap) -> BTreeMap<String, String> {
    let told = head.iter().filter_map(|entry| match entry {
        KeyAndValueRef::Ascii(key, value) => {
            Some((key.as_str().strip_prefix(EXPORTER_MD)?.to_owned(), value.to_str().ok()?.to_owned()))
        }
        KeyAndValueRef::Binary(..) => None,
    });
    told.collect()
}

/// Keeps what comes; tells an engine that asks where the file is, so that it writes that itself.
async fn take_file(
    head: &MetadataMap,
    messages: Streaming<Bytes>,
    writer: FileWriter,
) -> Result<Response<Messages>, Status> {
    if !head.contains_key(WANTS_FILE) {
        return receive_file(messages, writer).await;
    }
    let number = writer.number().map(AsciiMetadataValue::from);
    Ok(receive_answered(messages, writer, FILE, number))
}

/// Keeps what comes, and tells at once how it is to come.
fn receive_answered(
    messages: Streaming<Bytes>,
    writer: FileWriter,
    key: &'static str,
    value: Option<AsciiMetadataValue>,
) -> Response<Messages> {
    let received = futures_util::stream::once(receive_marked(messages, writer));
    let mut response = Response::new(received.filter_map(|r| std::future::ready(r.err().map(Err))).boxed());
    if let Some(value) = value {
        response.metadata_mut().insert(key, value);
    }
    response
}

fn exporter_id(md: &MetadataMap) -> u32 {
    metadata::get_one(md, EXPORTER_ID).parse().unwrap_or_default()
}

fn receive_dir(
    messages: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
    writer: DirWriter,
) -> Messages {
    let (replies, outgoing) = mpsc::unbounded_channel::<Packet>();
    let packets = messages.map(|m| Packet::decode(m?).map_err(|e| Status::invalid_argument(e.to_string())));
    let receiving = tokio::spawn(async move { files::receive(packets, replies, writer, &mut |_| {}).await });
    let outcome = futures_util::stream::once(receiving).filter_map(|ended| {
        std::future::ready(match ended {
            Ok(Ok(_)) => None,
            Ok(Err(e)) => Some(Err(grpcerr::to_status(&e))),
            Err(e) => Some(Err(Status::internal(e.to_string()))),
        })
    });
    let replies = UnboundedReceiverStream::new(outgoing);
    replies.map(|p| Ok(Bytes::from(p.encode_to_vec()))).chain(outcome).boxed()
}

/// Keeps the file only when the stream ended well.
async fn receive_file(
    mut messages: Streaming<Bytes>,
    mut writer: FileWriter,
) -> Result<Response<Messages>, Status> {
    while let Some(data) = next(&mut messages).await? {
        writer.write(&data).await.map_err(|e| grpcerr::to_status(&e))?;
    }
    writer.finish().await.map_err(|e| grpcerr::to_status(&e))?;
    Ok(Response::new(futures_util::stream::empty().boxed()))
}

/// The same where the last message is empty: the end alone says nothing.
async fn receive_marked(mut messages: Streaming<Bytes>, mut writer: FileWriter) -> Result<(), Status> {
    while let Some(data) = next(&mut messages).await? {
        if data.is_empty() {
            return writer.finish().await.map_err(|e| grpcerr::to_status(&e));
        }
        writer.write(&data).await.map_err(|e| grpcerr::to_status(&e))?;
    }
    Err(Status::cancelled("the engine broke the output off"))
}

async fn next(messages: &mut Streaming<Bytes>) -> Result<Option<Bytes>, Status> {
    let Some(message) = messages.message().await? else { return Ok(None) };
    let message = BytesMessage::decode(message).map_err(|e| Status::invalid_argument(e.to_string()))?;
    Ok(Some(message.data))
}
