//! One upload: all at once, or in pieces where that did not work. What broke off goes on where it broke.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use errdefs::{Class, Code, Error, Result};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use url::Url;

use super::{PushBlob, check_digest};
use crate::backoff::Backoff;
use crate::call::{Call, Reply};
use crate::endpoint::{Endpoint, scope};
use crate::pull::ByteStream;
use crate::registry::{Registry, url};

/// Bytes of a piece, unless the registry wants more, or takes less.
const PIECE: u64 = 16 << 20;
/// Smaller pieces are not tried.
const SMALLEST: u64 = 256 << 10;
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
    Session(Session),
}

/// An upload that a registry waits for.
pub struct Session {
    url: Url,
    /// Where the next byte belongs.
    at: u64,
    /// Bytes that the registry wants a piece to have at least, but for the last.
    least: u64,
}

/// How the bytes are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    /// In pieces of so many bytes.
    Pieces(u64),
}

impl Way {
    fn in_pieces(self) -> Self {
        if self == Way::Whole { Way::Pieces(PIECE) } else { self }
    }

    /// What is tried where a body was too large.
    fn smaller(self) -> Option<Self> {
        match self {
            Way::Whole => Some(Way::Pieces(PIECE)),
            Way::Pieces(size) if size > SMALLEST => Some(Way::Pieces((size / 4).max(SMALLEST))),
            Way::Pieces(_) => None,
        }
    }
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
                let least = reply_min(&reply).unwrap_or(0);
                Ok(Started::Session(Session { url: location(&reply)?, at: 0, least }))
            }
            _ => Err(reply.into_error().await),
        }
    }

    /// Sends the blob. What breaks off goes on where it broke, or from the start where the registry knows nothing of it.
    pub async fn run(&self, mut session: Option<Session>) -> Result<()> {
        let mut backoff = Backoff::new(self.registry.retry());
        let mut way = Way::Whole;
        // How far the best try came, and whether bytes were wrong before.
        let (mut furthest, mut spoiled) = (0, false);
        loop {
            let mut opened = match session.take() {
                Some(session) => session,
                None => match self.start(None).await? {
                    Started::Session(session) => session,
                    Started::Mounted => return Ok(()),
                },
            };
            let Err(e) = self.go_on(&mut opened, way).await else { return Ok(()) };
            tracing::debug!(digest = %self.blob.descriptor.digest, at = opened.at, "an upload broke off: {e}");
            match e.code() {
                Code::OutOfRange => way = way.smaller().ok_or(e)?,
                // Bytes that were wrong on the way may be right the next time.
                Code::DataLoss if !spoiled => spoiled = true,
                Code::Unavailable => {
                    if opened.at > furthest {
                        furthest = opened.at;
                        backoff.reset();
                    }
                    if !backoff.pause().await {
                        return Err(e);
                    }
                    // All may be there, and the answer alone was lost.
                    if self.is_there().await? {
                        return Ok(());
                    }
                    way = way.in_pieces();
                    session = self.progress(&opened).await;
                }
                _ => return Err(e),
            }
        }
    }

    async fn go_on(&self, session: &mut Session, way: Way) -> Result<()> {
        match way {
            Way::Whole => self.whole(session).await,
            Way::Pieces(size) => self.pieces(session, size).await,
        }
    }

    async fn whole(&self, session: &Session) -> Result<()> {
        let (call, failed) =
            self.sending(Method::PUT, self.with_digest(&session.url), 0, self.size()).await?;
        self.finish(self.send(call, &failed).await?).await
    }

    async fn pieces(&self, session: &mut Session, piece: u64) -> Result<()> {
        while session.at < self.size() {
            let (at, length) = (session.at, piece.max(session.least).min(self.size() - session.at));
            let (call, failed) = self.sending(Method::PATCH, session.url.clone(), at, length).await?;
            let call = call.header(CONTENT_RANGE, &format!("{at}-{}", at + length - 1));
            let reply = self.send(call, &failed).await?;
            if !reply.status().is_success() {
                return Err(refused(reply).await);
            }
            session.url = location(&reply)?;
            session.at = at + length;
            session.least = session.least.max(reply_min(&reply).unwrap_or(0));
        }
        let call = Call::new(Method::PUT, self.with_digest(&session.url), self.scopes()).once();
        self.finish(self.registry.send(self.endpoint, call).await?).await
    }

    /// A request that brings some bytes of the blob. What is wrong with their source is found in the second value.
    async fn sending(&self, method: Method, to: Url, at: u64, length: u64) -> Result<(Call, Failure)> {
        let PushBlob { source, descriptor, on_bytes, .. } = self.blob;
        // To open it may take long: a layer may have to be fetched first. The server is not to wait for that.
        let opened = Arc::new(Mutex::new(Some(source.open(descriptor, at).await?)));
        let (source, descriptor, on_bytes) = (source.clone(), descriptor.clone(), on_bytes.clone());
        let failure = Failure::default();
        let noted = failure.clone();
        let body = move || {
            let (source, descriptor, on_bytes) = (source.clone(), descriptor.clone(), on_bytes.clone());
            let opened = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stream = stream::once(async move {
                match opened {
                    Some(stream) => Ok::<ByteStream, Error>(stream),
                    None => source.open(&descriptor, at).await,
                }
            });
            let (mut sent, noted) = (at, noted.clone());
            let frames = limited(Box::pin(stream.try_flatten()), length).map(move |chunk| {
                let chunk = chunk.inspect_err(|e| noted.note(e))?;
                sent += chunk.len() as u64;
                on_bytes(sent);
                Ok(Frame::data(chunk))
            });
            Ok(UnsyncBoxBody::new(StreamBody::new(frames)))
        };
        let call = Call::new(method, to, self.scopes())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, &length.to_string())
            .body(body)
            .once();
        Ok((call, failure))
    }

    /// An answer; what was wrong with the source of the bytes comes before what the connection says of it.
    async fn send(&self, call: Call, failure: &Failure) -> Result<Reply> {
        let sent = self.registry.send(self.endpoint, call).await;
        sent.map_err(|e| failure.take().unwrap_or(e))
    }

    /// How far the registry has come, where it tells that.
    async fn progress(&self, session: &Session) -> Option<Session> {
        let call = Call::new(Method::GET, session.url.clone(), self.scopes());
        let reply = self.registry.send(self.endpoint, call).await.ok()?.success().await.ok()?;
        let last: u64 = reply.header(RANGE)?.rsplit('-').next()?.trim().parse().ok()?;
        // `0-0` may stand for one byte or for none.
        let at = last.checked_add(1).filter(|at| (2..=self.size()).contains(at))?;
        let url = reply.header(LOCATION).and_then(|_| location(&reply).ok());
        Some(Session { url: url.unwrap_or(session.url.clone()), at, least: session.least })
    }

    async fn is_there(&self) -> Result<bool> {
        let path = format!("blobs/{}", self.blob.descriptor.digest);
        let found = self.registry.find(self.endpoint, &self.blob.reference, &path, "*/*").await;
        match found {
            Err(e) if e.code() == Code::Unavailable => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    async fn finish(&self, reply: Reply) -> Result<()> {
        match reply.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => {
                check_digest(reply.header("docker-content-digest"), &self.blob.descriptor.digest)
            }
            _ => Err(refused(reply).await),
        }
    }

    fn size(&self) -> u64 {
        self.blob.descriptor.size
    }

    fn scopes(&self) -> Vec<String> {
        vec![scope(&self.blob.reference, true)]
    }

    fn with_digest(&self, session: &Url) -> Url {
        let mut url = session.clone();
        url.query_pairs_mut().append_pair("digest", self.blob.descriptor.digest.as_str());
        url
    }
}

/// Why the bytes of a blob could not be read, once that is known.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn note(&self, e: &Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.clone());
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The first bytes of a stream, so many.
fn limited(stream: ByteStream, length: u64) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::try_unfold((stream, length), |(mut stream, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut chunk) = stream.next().await.transpose()? else {
            return Err(Error::internal(format!("a blob is {left} bytes shorter than it should be")));
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - chunk.len() as u64;
        Ok(Some((chunk, (stream, left))))
    })
}

/// The error of bytes that were not taken. Its code says what may help: `OutOfRange` smaller pieces, `DataLoss` to send them
/// anew, `Unavailable` to find out what became of them.
async fn refused(reply: Reply) -> Error {
    let code = match reply.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::OutOfRange,
        // A session that is not known any more, or another place than the registry expects.
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::RANGE_NOT_SATISFIABLE => Code::Unavailable,
        StatusCode::BAD_REQUEST => Code::DataLoss,
        _ => return reply.into_error().await,
    };
    reply.into_error().await.with_class(Class::Environment).with_code(code)
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
