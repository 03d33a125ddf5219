//! One upload: all at once, or in pieces where that did not work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use errdefs::{Class, Code, Error, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use url::Url;

use super::{PushBlob, check_digest};
use crate::backoff::Backoff;
use crate::call::{Call, Caller, Reply};
use crate::endpoint::{Endpoint, scope};
use crate::registry::{Registry, url};

/// Bytes of a piece, unless the registry wants more.
const PIECE: u64 = 16 << 20;
/// What registries say when they want pieces to be larger.
const MIN_LENGTH: &str = "oci-chunk-min-length";

pub struct Upload<'a> {
    pub registry: &'a Registry,
    pub endpoint: &'a Endpoint,
    pub blob: &'a PushBlob,
}

/// What a registry makes of the wish to upload.
pub enum Started {
    Mounted,
    Session(Url),
}

/// How the bytes are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    Pieces,
}

impl Upload<'_> {
    /// Opens an upload, or has the blob mounted from another repository.
    pub async fn start(&self, mount_from: Option<&str>) -> Result<Started> {
        let mut address = url(self.endpoint, &self.blob.reference, "blobs/uploads/")?;
        let mut scopes = self.scopes();
        if let Some(from) = mount_from {
            let digest = self.blob.descriptor.digest.as_str();
            address.query_pairs_mut().append_pair("mount", digest).append_pair("from", from);
            scopes.push(format!("repository:{from}:pull"));
            scopes.sort();
        }
        let reply = self.registry.send(self.endpoint, Call::new(Method::POST, address, scopes)).await?;
        match reply.status() {
            StatusCode::CREATED => Ok(Started::Mounted),
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                Ok(Started::Session(location(&reply)?))
            }
            _ => Err(reply.into_error().await),
        }
    }

    /// Sends the blob. What fails for a while is tried again, in pieces.
    pub async fn run(&self, mut session: Option<Url>) -> Result<()> {
        let mut backoff = Backoff::new(self.registry.retry());
        let mut way = Way::Whole;
        loop {
            let opened = match session.take() {
                Some(url) => url,
                None => match self.start(None).await? {
                    Started::Session(url) => url,
                    Started::Mounted => return Ok(()),
                },
            };
            let result = match way {
                Way::Whole => self.whole(opened).await,
                Way::Pieces => self.pieces(opened).await,
            };
            match result {
                Err(e) if e.code() == Code::Unavailable && backoff.pause(None).await => way = Way::Pieces,
                Err(e) if e.code() == Code::OutOfRange && way == Way::Whole => way = Way::Pieces,
                other => return other,
            }
        }
    }

    async fn whole(&self, session: Url) -> Result<()> {
        let size = self.blob.descriptor.size;
        let call = Call::new(Method::PUT, self.with_digest(session), self.scopes())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, &size.to_string());
        let (source, descriptor) = (self.blob.source.clone(), self.blob.descriptor.clone());
        let on_bytes = self.blob.on_bytes.clone();
        let call = call.body(move || {
            let (source, descriptor, on_bytes) = (source.clone(), descriptor.clone(), on_bytes.clone());
            let sent = Arc::new(AtomicU64::new(0));
            let opened = stream::once(async move { source.open(&descriptor, 0).await }).try_flatten();
            let frames = opened.map_ok(move |chunk: Bytes| {
                on_bytes(sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64);
                Frame::data(chunk)
            });
            Ok(UnsyncBoxBody::new(StreamBody::new(frames)))
        });
        self.finish(self.send_once(call).await?).await
    }

    async fn pieces(&self, mut session: Url) -> Result<()> {
        let size = self.blob.descriptor.size;
        let mut at = 0;
        let mut piece = PIECE;
        while at < size {
            let bytes = self.read(at, piece.min(size - at)).await?;
            let end = at + bytes.len() as u64;
            let call = Call::new(Method::PATCH, session.clone(), self.scopes())
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, &format!("{at}-{}", end - 1))
                .bytes(bytes);
            let reply = self.registry.send(self.endpoint, call).await?;
            let (done, next) = match reply.status() {
                StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => {
                    (end, location(&reply)?)
                }
                // A piece had got through though its answer had not.
                StatusCode::RANGE_NOT_SATISFIABLE => self.progress(&session).await?,
                _ => return Err(reply.into_error().await),
            };
            if let Some(wanted) = reply_min(&reply) {
                piece = piece.max(wanted);
            }
            (at, session) = (done, next);
            (self.blob.on_bytes)(at);
        }
        let call = Call::new(Method::PUT, self.with_digest(session), self.scopes());
        self.finish(self.registry.send(self.endpoint, call).await?).await
    }

    /// How far the registry has come.
    async fn progress(&self, session: &Url) -> Result<(u64, Url)> {
        let call = Call::new(Method::GET, session.clone(), self.scopes());
        let reply = self.registry.send(self.endpoint, call).await?.success().await?;
        let last = reply.header(RANGE).and_then(|r| r.rsplit('-').next()?.parse::<u64>().ok());
        Ok((last.map_or(0, |last| last + 1), location(&reply)?))
    }

    async fn read(&self, at: u64, length: u64) -> Result<Bytes> {
        let mut stream = self.blob.source.open(&self.blob.descriptor, at).await?;
        let mut piece = BytesMut::new();
        while (piece.len() as u64) < length {
            match stream.next().await.transpose()? {
                Some(chunk) => piece.extend_from_slice(&chunk),
                None => {
                    let (digest, size) = (&self.blob.descriptor.digest, self.blob.descriptor.size);
                    return Err(Error::internal(format!("blob {digest} is shorter than its {size} bytes")));
                }
            }
        }
        piece.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(piece.freeze())
    }

    /// The session is spent after one try.
    async fn send_once(&self, call: Call) -> Result<Reply> {
        let mut retry = self.registry.retry();
        retry.attempts = 1;
        let (transport, auth) = (self.registry.transport(), self.registry.auth());
        Caller { transport, auth, endpoint: self.endpoint, retry }.send(call).await
    }

    async fn finish(&self, reply: Reply) -> Result<()> {
        match reply.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => {
                check_digest(reply.header("docker-content-digest"), &self.blob.descriptor.digest)
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                Err(reply.into_error().await.with_class(Class::Environment).with_code(Code::OutOfRange))
            }
            _ => Err(reply.into_error().await),
        }
    }

    fn scopes(&self) -> Vec<String> {
        vec![scope(&self.blob.reference, true)]
    }

    fn with_digest(&self, mut session: Url) -> Url {
        session.query_pairs_mut().append_pair("digest", self.blob.descriptor.digest.as_str());
        session
    }
}

fn reply_min(reply: &Reply) -> Option<u64> {
    reply.header(MIN_LENGTH)?.parse().ok()
}

/// Where the upload goes on.
fn location(reply: &Reply) -> Result<Url> {
    let location = reply.header(LOCATION).unwrap_or_default();
    reply.url.join(location).map_err(|e| {
        Error::environment(format!("the registry gave an invalid upload address `{location}`: {e}"))
    })
}
