//! Blobs that the client keeps, as the layers of an OCI layout.

use bytes::Bytes;
use errdefs::{Code, Error, Result};
use futures_util::{Stream, StreamExt, TryStreamExt};
use oci::Digest;
use proto::content::content_client::ContentClient;
use proto::content::{InfoRequest, ReadContentRequest};
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

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
    /// A store of the client by its id, as `oci:<name>` or `local:<dir>`.
    pub fn content(&self, store: &str) -> Result<RemoteContent> {
        let store = MetadataValue::try_from(store)
            .map_err(|_| Error::user(format!("invalid content store `{}`", store.escape_default())))?;
        Ok(RemoteContent { session: self.clone(), store })
    }
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

    fn client(&self) -> ContentClient<Channel> {
        proto::sized!(ContentClient::new(self.session.channel()))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(STORE_ID, self.store.clone());
        request
    }
}
