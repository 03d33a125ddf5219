use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use proto::upload::BytesMessage;
use proto::upload::upload_server::Upload;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};

use crate::metadata;
use crate::offer::UploadSource;
use crate::session::URL_PATH;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// Streams by key; each can be had once.
pub(super) struct Uploads(Mutex<BTreeMap<String, UploadSource>>);

impl Uploads {
    pub(super) fn new(uploads: BTreeMap<String, UploadSource>) -> Self {
        Uploads(Mutex::new(uploads))
    }
}

#[tonic::async_trait]
impl Upload for Uploads {
    type PullStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn pull(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let path = metadata::get_one(request.metadata(), URL_PATH);
        let key = path.rsplit('/').next().unwrap_or_default();
        let source = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        let source =
            source.ok_or_else(|| Status::not_found(format!("no http response from session for {key}")))?;
        let chunks = ReaderStream::with_capacity(source, CHUNK);
        let messages = chunks.map(|chunk| match chunk {
            Ok(data) => Ok(BytesMessage { data }),
            Err(e) => Err(Status::unknown(format!("failed to read the upload: {e}"))),
        });
        Ok(Response::new(messages.boxed()))
    }
}
