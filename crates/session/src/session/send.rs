//! Outputs that go to the client: one stream of bytes, or a tree of files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use errdefs::{Error, Result, ResultExt as _};
use futures_util::{StreamExt, TryFutureExt};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use proto::filesend::file_send_client::FileSendClient;
use proto::fsutil::Packet;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::{Request, Status};

use crate::files::{self, Tree};
use crate::grpcerr;
use crate::session::{SEND, Session};

pub(crate) const EXPORTER_ID: &str = "buildkit-attachable-exporter-id";
pub(crate) const EXPORTER_MD: &str = "exporter-md-";
/// Attribute of an image: the diff ids of its layers, lowest first, with commas. Only Kiln's own client is told.
pub(crate) const LAYERS: &str = "kiln-layers";
/// In its answer: how many of these it has, from the lowest up.
pub(crate) const KNOWN_LAYERS: &str = "kiln-known-layers";
/// Asks the client for its file, so that the engine writes it itself.
pub(crate) const WANTS_FILE: &str = "kiln-wants-file";
/// In its answer: under which number the client has it open.
pub(crate) const FILE: &str = "kiln-file";
pub(crate) const MULTI_PLATFORM: &str = "buildkit-exporter-multi-platform";

/// Most bytes in one message. Go peers take up to 4 MiB.
const CHUNK: usize = 1 << 20;
/// Bytes that are worth a write of their own to a file.
const LARGE: usize = 64 << 10;
/// Messages on their way to the client.
const QUEUE: usize = 4;
const PACKET_QUEUE: usize = 256;

impl Session {
    /// Opens output `exporter` of the client for one stream of bytes. `attributes` travel along, as
    /// `containerimage.digest`. When the client has the target already, an error with
    /// [`Code::AlreadyExists`](errdefs::Code) comes at the first write or at the end.
    pub async fn send_file(
        &self,
        exporter: u32,
        attributes: &BTreeMap<String, String>,
    ) -> Result<FileSender> {
        let Some(owner) = self.0.owner else { return self.send_file_with(exporter, attributes, None, false) };
        let (answered, answer) = oneshot::channel();
        let mut sender = self.send_file_with(exporter, attributes, Some(answered), true)?;
        match answer.await {
            Ok(head) => {
                let number = head.get(FILE).and_then(|number| number.to_str().ok()?.parse().ok());
                sender.file = number.and_then(|number| owner.file(number));
                Ok(sender)
            }
            Err(_) => Err(sender.failure().await),
        }
    }

    /// The same for an image with these layers, as diff ids, lowest first. Tells how many of the lowest ones the client has,
    /// so that they need not be sent. To be used with a client that asks for it.
    pub async fn send_image(
        &self,
        exporter: u32,
        attributes: &BTreeMap<String, String>,
        layers: &[String],
    ) -> Result<(FileSender, usize)> {
        let mut attributes = attributes.clone();
        attributes.insert(LAYERS.to_owned(), layers.join(","));
        let (answered, answer) = oneshot::channel();
        let mut sender = self.send_file_with(exporter, &attributes, Some(answered), false)?;
        match answer.await {
            Ok(head) => {
                let known = head.get(KNOWN_LAYERS).and_then(|known| known.to_str().ok()?.parse().ok());
                Ok((sender, known.unwrap_or(0).min(layers.len())))
            }
            Err(_) => Err(sender.failure().await),
        }
    }

    fn send_file_with(
        &self,
        exporter: u32,
        attributes: &BTreeMap<String, String>,
        answered: Option<oneshot::Sender<MetadataMap>>,
        wants_file: bool,
    ) -> Result<FileSender> {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let marks_end = answered.is_some();
        // A sender that is dropped must not look like one that is done: only `None` ends the stream. A call that was answered
        // is not broken off that way, there an empty message says that all has come.
        let messages = ReceiverStream::new(outgoing).chain(match marks_end {
            true => futures_util::stream::empty().left_stream(),
            false => futures_util::stream::pending().right_stream(),
        });
        let messages = messages.take_while(|m: &Option<Bytes>| std::future::ready(m.is_some()));
        let mut call = self.send_request(exporter, messages.filter_map(std::future::ready))?;
        for (key, value) in attributes {
            put(call.metadata_mut(), &format!("{EXPORTER_MD}{key}"), value);
        }
        if wants_file {
            put(call.metadata_mut(), WANTS_FILE, "1");
        }
        let mut client = proto::sized!(FileSendClient::new(self.channel()));
        // Most clients send nothing before the end, not even headers, so the call must not be waited for here.
        let call = tokio::spawn(async move {
            let (head, mut answer, _) = client.diff_copy(call).await?.into_parts();
            // Nobody may be waiting.
            let _ = answered.map(|answered| answered.send(head));
            while answer.message().await?.is_some() {}
            Ok(())
        });
        Ok(FileSender { queue, call, marks_end, file: None })
    }

    /// Sends a tree to output `exporter` of the client. `multi_platform` says that one transfer holds all platforms,
    /// which a client must know before it deletes what was not sent.
    pub async fn send_dir(&self, exporter: u32, tree: Arc<dyn Tree>, multi_platform: bool) -> Result<()> {
        let (queue, outgoing) = mpsc::channel::<Packet>(PACKET_QUEUE);
        let messages = ReceiverStream::new(outgoing).map(|p| Bytes::from(p.encode_to_vec()));
        let mut call = self.send_request(exporter, messages)?;
        if multi_platform {
            put(call.metadata_mut(), MULTI_PLATFORM, "1");
        }
        let mut client = proto::sized!(FileSendClient::new(self.channel()));
        let answer = async move { client.diff_copy(call).await };
        let packets = answer.map_ok(tonic::Response::into_inner).try_flatten_stream().map(decode);
        files::send(tree, Box::pin(packets), queue).await
    }

    fn send_request<S>(&self, exporter: u32, messages: S) -> Result<Request<S>> {
        if !self.supports(SEND) {
            return Err(Error::user(format!("method {SEND} not supported by the client")));
        }
        let mut call = Request::new(messages);
        put(call.metadata_mut(), EXPORTER_ID, &exporter.to_string());
        Ok(call)
    }
}

fn decode(message: Result<Bytes, Status>) -> Result<Packet, Status> {
    Packet::decode(message?).map_err(|e| Status::invalid_argument(e.to_string()))
}

/// What no header can carry is left out: attributes are for information.
fn put(metadata: &mut MetadataMap, key: &str, value: &str) {
    if let Ok(key) = MetadataKey::<Ascii>::from_bytes(key.to_ascii_lowercase().as_bytes())
        && let Ok(value) = MetadataValue::try_from(value)
    {
        metadata.insert(key, value);
    }
}

/// Writes one output of the client. Dropping it without [`finish`](Self::finish) breaks the transfer off, and the
/// client keeps nothing.
#[must_use]
pub struct FileSender {
    queue: mpsc::Sender<Option<Bytes>>,
    call: JoinHandle<Result<(), Status>>,
    /// Whether the client waits for a message that is empty.
    marks_end: bool,
    /// The client's file itself.
    file: Option<File>,
}

impl FileSender {
    pub async fn write(&mut self, data: &[u8]) -> Result<()> {
        if let Some(file) = &mut self.file {
            return file.write_all(data).context("failed to write the output");
        }
        for chunk in data.chunks(CHUNK) {
            if self.queue.send(Some(message(chunk))).await.is_err() {
                return Err(self.failure().await);
            }
        }
        Ok(())
    }

    /// Ends the stream and waits until the client has kept it.
    pub async fn finish(mut self) -> Result<()> {
        // What goes wrong here the call knows better.
        if self.marks_end {
            let _ = self.queue.send(Some(message(&[]))).await;
        }
        let _ = self.queue.send(None).await;
        joined((&mut self.call).await)
    }

    /// The same, for code that writes from a thread that may block. To be called inside the runtime.
    pub fn into_blocking(self) -> BlockingFileSender {
        BlockingFileSender {
            sender: self,
            buffer: BytesMut::with_capacity(CHUNK),
            runtime: Handle::current(),
        }
    }

    async fn failure(&mut self) -> Error {
        match joined((&mut self.call).await) {
            Err(e) => e,
            Ok(()) => Error::environment("the client closed the output early"),
        }
    }
}

impl Drop for FileSender {
    fn drop(&mut self) {
        self.call.abort();
    }
}

fn joined(ended: Result<Result<(), Status>, tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok(result) => result.map_err(grpcerr::from_status),
        Err(e) if e.is_cancelled() => Err(Error::canceled()),
        Err(e) => Err(Error::internal(format!("output sender ended: {e}"))),
    }
}

/// `chunk` as an encoded BytesMessage, in one copy.
fn message(chunk: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(chunk.len() + 11);
    encode_key(1, WireType::LengthDelimited, &mut out);
    encode_varint(chunk.len() as u64, &mut out);
    out.put_slice(chunk);
    out.freeze()
}

/// A [`FileSender`] behind [`io::Write`].
#[must_use]
pub struct BlockingFileSender {
    sender: FileSender,
    buffer: BytesMut,
    runtime: Handle,
}

impl BlockingFileSender {
    /// As [`FileSender::finish`].
    pub fn finish(mut self) -> Result<()> {
        self.send()?;
        self.runtime.block_on(self.sender.finish())
    }

    fn send(&mut self) -> Result<()> {
        let result = self.runtime.block_on(self.sender.write(&self.buffer));
        self.buffer.clear();
        result
    }
}

impl io::Write for BlockingFileSender {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() >= LARGE && self.sender.file.is_some() {
            self.flush()?;
            return self.sender.file.as_mut().map_or(Ok(0), |file| file.write(data));
        }
        if self.buffer.len() == CHUNK {
            self.send().map_err(io::Error::other)?;
        }
        let taken = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}
