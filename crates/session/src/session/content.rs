//! Blobs that the client keeps, as the layers of an OCI layout.

use bytes::{Buf as _, Bytes};
use errdefs::{Code, Error, Result};
use futures_util::{Stream, StreamExt, TryStreamExt};
use oci::Digest;
use proto::content::content_client::ContentClient;
use proto::content::{
    InfoRequest, ReadContentRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::grpcerr;
use crate::session::{Session, none_if};

pub(crate) const STORE_ID: &str = "buildkit-attachable-store-id";

/// One of the client's stores. Whoever reads must check digests: the client is not trusted to.
#[derive(Clone)]
pub struct RemoteContent {
    session: Session,
    store: MetadataValue<tonic::metadata::Ascii>,
}

impl Session {
    /// Whether the client has stores at all that take blobs.
    pub fn takes_blobs(&self) -> bool {
        self.supports("/containerd.services.content.v1.Content/Write")
    }

    /// A store of the client by its id, as `oci:<name>` or `local:<dir>`.
    pub fn content(&self, store: &str) -> Result<RemoteContent> {
        let value = MetadataValue::try_from(store).ok();
        let value = value.filter(|_| store.bytes().all(|b| (b' '..=b'~').contains(&b)));
        let store = value.ok_or_else(|| {
            let message = format!(
                "the name of content store {store:?} contains value with non-printable ASCII characters"
            );
            Error::user(message)
        })?;
        Ok(RemoteContent { session: self.clone(), store })
    }
}

/// Bytes that go in one message.
const PIECE: usize = 1 << 20;

fn pieces(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!chunk.is_empty()).then(|| chunk.split_to(PIECE.min(chunk.len()))))
}

/// What the client says to one message.
async fn reply(replies: &mut Streaming<WriteContentResponse>) -> Result<WriteContentResponse> {
    let reply = replies.message().await.map_err(grpcerr::from_status)?;
    reply.ok_or_else(|| Error::environment("the client broke the write off"))
}

impl RemoteContent {
    /// The size of a blob in bytes; nothing when the store lacks it.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let request = self.request(InfoRequest { digest: digest.to_string() });
        let answer = self.client().info(request).await.map_err(grpcerr::from_status);
        let Some(answer) = none_if(answer, &[Code::NotFound])? else { return Ok(None) };
        let size = answer.into_inner().info.map_or(0, |info| info.size);
        u64::try_from(size).map(Some).map_err(|_| Error::environment("negative blob size from the client"))
    }

    /// The bytes of a blob from `offset` on.
    pub async fn read(
        &self,
        digest: &Digest,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let offset = i64::try_from(offset).map_err(|_| Error::user("offset too large"))?;
        let request = self.request(ReadContentRequest { digest: digest.to_string(), offset, size: 0 });
        let stream = self.client().read(request).await.map_err(grpcerr::from_status)?.into_inner();
        Ok(stream.map_ok(|m| m.data).map_err(grpcerr::from_status).boxed())
    }

    /// Stores a blob of which digest and size are known. One that is there already is left as it is, and not sent.
    pub async fn write(
        &self,
        digest: &Digest,
        size: u64,
        mut bytes: impl Stream<Item = Result<Bytes>> + Send + Unpin,
    ) -> Result<()> {
        let total = i64::try_from(size).map_err(|_| Error::user("blob too large"))?;
        let (messages, outgoing) = mpsc::channel(1);
        let message = |action: WriteAction, offset: i64, data: Bytes| WriteContentRequest {
            action: action.into(),
            r#ref: format!("kiln-{digest}"),
            total,
            expected: digest.to_string(),
            offset,
            data,
            ..Default::default()
        };
        let send = |message| async {
            messages.send(message).await.map_err(|_| Error::environment("the client is gone"))
        };
        send(message(WriteAction::Stat, 0, Bytes::new())).await?;
        let call = self.client().write(self.request(ReceiverStream::new(outgoing))).await;
        let mut replies = match none_if(call.map_err(grpcerr::from_status), &[Code::AlreadyExists])? {
            Some(replies) => replies.into_inner(),
            None => return Ok(()),
        };
        let Some(begun) = none_if(reply(&mut replies).await, &[Code::AlreadyExists])? else { return Ok(()) };
        let mut offset = 0;
        while let Some(mut chunk) = bytes.next().await.transpose()? {
            // A write that broke off has left a part.
            let there = usize::try_from(begun.offset - offset).unwrap_or(0).min(chunk.len());
            chunk.advance(there);
            offset += there as i64;
            for piece in pieces(chunk) {
                let length = piece.len() as i64;
                send(message(WriteAction::Write, offset, piece)).await?;
                reply(&mut replies).await?;
                offset += length;
            }
        }
        send(message(WriteAction::Commit, offset, Bytes::new())).await?;
        none_if(reply(&mut replies).await, &[Code::AlreadyExists]).map(drop)
    }

    fn client(&self) -> ContentClient<Channel> {
        proto::sized!(ContentClient::new(self.session.channel()))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(STORE_ID, self.store.clone());
        request
    }
}
