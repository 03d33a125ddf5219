//! Streams of blobs (distribution-spec, "Pulling blobs").

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use errdefs::{Class, Code, Error, Result};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use oci::{Descriptor, Digest, Reference, media};
use url::Url;

use crate::backoff::Backoff;
use crate::call::{Call, Reply};
use crate::endpoint::{Endpoint, scope};
use crate::registry::{Registry, url};

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Blobs of at least this size come in pieces side by side, where the server can do that.
const LARGE: u64 = 8 * PIECE;
const PIECE: u64 = 2 << 20;
const SIDE_BY_SIDE: usize = 4;
/// How long a stream may bring nothing.
const STALL: Duration = Duration::from_secs(60);
/// Most bytes of a blob that is held in memory.
const SMALL: u64 = 16 << 20;

/// A blob on a server that has it.
#[derive(Clone)]
struct Source {
    registry: Registry,
    endpoint: Endpoint,
    url: Url,
    scopes: Vec<String>,
    digest: Digest,
    size: u64,
    reference: String,
}

impl Registry {
    /// Opens a blob. A connection that breaks is taken up where it broke. The stream is as long as the descriptor says, or
    /// ends with an error; its digest is for the reader to check.
    pub async fn blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<ByteStream> {
        for foreign in descriptor.urls.iter().filter(|_| media::is_foreign(&descriptor.media_type)) {
            let Ok(url) = Url::parse(foreign) else { continue };
            let endpoint = self.push_endpoint(reference);
            let source = self.source(endpoint, url, reference, descriptor);
            if let Ok(Some(stream)) = source.open().await {
                return Ok(stream);
            }
        }
        let path = format!("blobs/{}", descriptor.digest);
        let opened = self.first(reference, |endpoint| {
            let address = url(&endpoint, reference, &path);
            let source = address.map(|url| self.source(endpoint, url, reference, descriptor));
            async move { source?.open().await }
        });
        opened.await.map_err(|e| missing(e, &descriptor.digest, reference))
    }

    /// The size of a blob of which the digest alone is known.
    pub async fn blob_size(&self, reference: &Reference, digest: &Digest) -> Result<u64> {
        let path = format!("blobs/{digest}");
        let asked = self.first(reference, |endpoint| {
            let address = url(&endpoint, reference, &path);
            async move {
                let reply =
                    self.send(&endpoint, Call::new(Method::HEAD, address?, vec![scope(reference, false)]));
                let reply = reply.await?;
                if reply.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let reply = reply.success().await?;
                let size = reply.header(CONTENT_LENGTH).and_then(|v| v.parse().ok());
                size.map(Some).ok_or_else(|| {
                    Error::environment(format!(
                        "a registry does not tell the size of {digest} of {reference}"
                    ))
                })
            }
        });
        asked.await.map_err(|e| missing(e, digest, reference))
    }

    /// The bytes of a small blob, as a config, checked.
    pub async fn small_blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Bytes> {
        if descriptor.size > SMALL {
            let (digest, size) = (&descriptor.digest, descriptor.size);
            return Err(Error::user(format!("blob {digest} of {reference} is too large: {size} bytes")));
        }
        let chunks: Vec<Bytes> = self.blob(reference, descriptor).await?.try_collect().await?;
        let bytes = Bytes::from(chunks.concat());
        let found = Digest::of(&bytes);
        if descriptor.digest.algorithm() == "sha256" && found != descriptor.digest {
            let expected = &descriptor.digest;
            return Err(damaged(format!("unexpected digest {found} of blob {expected} of {reference}")));
        }
        Ok(bytes)
    }

    fn source(&self, endpoint: Endpoint, url: Url, reference: &Reference, descriptor: &Descriptor) -> Source {
        Source {
            registry: self.clone(),
            endpoint,
            url,
            scopes: vec![scope(reference, false)],
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            reference: reference.to_string(),
        }
    }
}

impl Source {
    /// The stream, if the server has the blob.
    async fn open(self) -> Result<Option<ByteStream>> {
        let first = (self.size >= LARGE).then_some(0..PIECE);
        let reply = self.get(first.clone()).await?;
        match reply.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::PARTIAL_CONTENT if first.is_some() => Ok(Some(self.in_pieces(reply))),
            status if status.is_success() => Ok(Some(self.in_one(reply))),
            _ => Err(reply.into_error().await),
        }
    }

    async fn get(&self, range: Option<Range<u64>>) -> Result<Reply> {
        let mut call = Call::new(Method::GET, self.url.clone(), self.scopes.clone());
        if let Some(range) = range {
            call = call.header(RANGE, &format!("bytes={}-{}", range.start, range.end - 1));
        }
        self.registry.send(&self.endpoint, call).await
    }

    fn in_one(self, reply: Reply) -> ByteStream {
        let part = Part::new(self.clone(), 0..self.size, Some(reply.response.into_body()));
        Box::pin(stream::try_unfold(part, |mut part| async move {
            let chunk = part.next().await?;
            Ok(chunk.map(|chunk| (chunk, part)))
        }))
    }

    /// Several pieces are under way at once; they are given in order.
    fn in_pieces(self, first: Reply) -> ByteStream {
        let starts = (0..self.size).step_by(PIECE as usize);
        let size = self.size;
        let mut body = Some(first.response.into_body());
        let parts: VecDeque<_> =
            starts.map(|at| Part::new(self.clone(), at..(at + PIECE).min(size), body.take())).collect();
        let pieces = stream::iter(parts).map(|mut part| async move {
            let mut chunks = Vec::new();
            while let Some(chunk) = part.next().await? {
                chunks.push(Ok(chunk));
            }
            Ok::<_, Error>(stream::iter(chunks))
        });
        Box::pin(pieces.buffered(SIDE_BY_SIDE).try_flatten())
    }
}

/// A stretch of a blob on its way.
struct Part {
    source: Source,
    range: Range<u64>,
    /// Where the next byte belongs.
    at: u64,
    body: Option<Incoming>,
    /// Bytes of the answer that are here already, and are passed over.
    passed_over: u64,
    backoff: Backoff,
}

impl Part {
    fn new(source: Source, range: Range<u64>, body: Option<Incoming>) -> Self {
        let backoff = Backoff::new(source.registry.retry());
        Part { at: range.start, source, range, body, passed_over: 0, backoff }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                // The rest of a longer answer is of no use.
                None if self.at == self.range.end => return Ok(None),
                None => self.reopen().await?,
            };
            let why = match tokio::time::timeout(STALL, body.frame()).await {
                Err(_) => String::from("nothing came for a minute"),
                Ok(Some(Err(e))) => e.to_string(),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match self.take(data)? {
                        data if data.is_empty() => continue,
                        data => return Ok(Some(data)),
                    },
                    Err(_) => continue,
                },
                Ok(None) if self.at == self.range.end => return Ok(None),
                Ok(None) => String::from("the server ended it"),
            };
            self.body = None;
            tracing::debug!(digest = %self.source.digest, at = self.at, "a blob broke off: {why}");
            if !self.backoff.pause(None).await {
                return Err(self.short(&why));
            }
        }
    }

    fn take(&mut self, mut data: Bytes) -> Result<Bytes> {
        let old = self.passed_over.min(data.len() as u64);
        self.passed_over -= old;
        data.advance(old as usize);
        let left = self.range.end - self.at;
        if data.len() as u64 > left {
            let Source { digest, reference, size, .. } = &self.source;
            let message = format!("blob {digest} of {reference} is longer than its {size} bytes");
            return Err(damaged(message));
        }
        self.at += data.len() as u64;
        Ok(data)
    }

    /// Asks for what is missing.
    async fn reopen(&mut self) -> Result<&mut Incoming> {
        let reply = self.source.get(Some(self.at..self.range.end)).await?;
        self.passed_over = 0;
        let starts =
            reply.header(CONTENT_RANGE).is_some_and(|r| r.starts_with(&format!("bytes {}-", self.at)));
        match reply.status() {
            StatusCode::PARTIAL_CONTENT if starts => {}
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.short("the server has no more")),
            // It gives all from the start again.
            StatusCode::OK if self.range.end == self.source.size => self.passed_over = self.at,
            _ if reply.status().is_success() => return Err(self.short("the server gave another part")),
            _ => return Err(reply.into_error().await),
        }
        Ok(self.body.insert(reply.response.into_body()))
    }

    fn short(&self, why: &str) -> Error {
        let Source { digest, reference, size, .. } = &self.source;
        let message = format!("blob {digest} of {reference} ended after {} of {size} bytes: {why}", self.at);
        Error::new(Class::Environment, Code::Unavailable, message)
    }
}

fn missing(error: Error, digest: &Digest, reference: &Reference) -> Error {
    match error.is_not_found() {
        true => Error::not_found(format!("blob {digest} of {reference}: not found")),
        false => error,
    }
}

fn damaged(message: String) -> Error {
    Error::new(Class::Environment, Code::FailedPrecondition, message)
        .hint("try again, or ask another registry")
}
