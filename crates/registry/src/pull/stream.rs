//! One blob on its way.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf as _, Bytes};
use errdefs::{Class, Code, Error, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use oci::{Descriptor, Digest, Reference};
use url::Url;

use super::{ByteStream, wrong};
use crate::backoff::Backoff;
use crate::busy::span;
use crate::call::{Call, Reply};
use crate::endpoint::{Endpoint, scope};
use crate::registry::Registry;

/// Blobs of at least this size come in pieces side by side, where the server can do that.
const LARGE: u64 = 8 * PIECE;
const PIECE: u64 = 2 << 20;
const SIDE_BY_SIDE: usize = 4;
/// A try that brought so much went well for a while.
const WORTH_IT: u64 = 64 << 10;

/// A blob on a server.
#[derive(Clone)]
pub struct Place {
    pub endpoint: Endpoint,
    pub url: Url,
}

/// A blob, and who has it.
#[derive(Clone)]
pub struct Source(Arc<Blob>);

struct Blob {
    registry: Registry,
    /// In the order in which they are asked.
    places: Vec<Place>,
    /// The one that is asked now.
    current: AtomicUsize,
    scopes: Vec<String>,
    digest: Digest,
    size: u64,
    reference: String,
}

impl Source {
    pub fn new(
        registry: &Registry,
        reference: &Reference,
        descriptor: &Descriptor,
        places: Vec<Place>,
    ) -> Self {
        Source(Arc::new(Blob {
            registry: registry.clone(),
            places,
            current: AtomicUsize::new(0),
            scopes: vec![scope(reference, false)],
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            reference: reference.to_string(),
        }))
    }

    /// The stream, if the first of the servers has the blob.
    pub async fn open(self) -> Result<Option<ByteStream>> {
        let first = (self.0.size >= LARGE).then_some(0..PIECE);
        let reply = self.get(0, first.clone()).await?;
        let parts = match reply.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::PARTIAL_CONTENT if first.is_some() && starts_at(&reply, 0) => self.in_pieces(reply),
            StatusCode::PARTIAL_CONTENT => return Err(self.short(0, "the server gave another part")),
            status if status.is_success() => self.in_one(reply),
            _ => return Err(reply.into_error().await),
        };
        Ok(Some(parts))
    }

    async fn get(&self, place: usize, range: Option<Range<u64>>) -> Result<Reply> {
        let Blob { registry, places, scopes, digest, .. } = &*self.0;
        let Place { endpoint, url } = &places[place];
        let mut call = Call::new(Method::GET, url.clone(), scopes.clone());
        if let Some(range) = range {
            call = call.header(RANGE, &format!("bytes={}-{}", range.start, range.end - 1));
        }
        let reply = registry.send(endpoint, call).await?;
        reply.refuse_page()?;
        if reply.status().is_success() {
            registry.gave(&endpoint.host, digest);
        }
        Ok(reply)
    }

    fn in_one(&self, reply: Reply) -> ByteStream {
        let part = Part::new(self.clone(), 0..self.0.size, Some(reply.response.into_body()));
        Box::pin(stream::try_unfold(part, |mut part| async move {
            let chunk = part.next().await?;
            Ok(chunk.map(|chunk| (chunk, part)))
        }))
    }

    /// Several pieces are under way at once; they are given in order.
    fn in_pieces(&self, first: Reply) -> ByteStream {
        let size = self.0.size;
        let starts = (0..size).step_by(PIECE as usize);
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

    /// Asks the next server from now on, if one is left.
    fn pass_over(&self, place: usize) -> bool {
        let (current, next) = (&self.0.current, place + 1);
        // Another part may have done so.
        next < self.0.places.len()
            && (current.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                || current.load(Ordering::Relaxed) > place)
    }

    fn short(&self, at: u64, why: &str) -> Error {
        let Blob { digest, reference, size, places, .. } = &*self.0;
        let host = &places[self.0.current.load(Ordering::Relaxed)].endpoint.host;
        let message =
            format!("blob {digest} of {reference} ended after {at} of {size} bytes from `{host}`: {why}");
        Error::new(Class::Environment, Code::Unavailable, message)
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
    /// Where this try began.
    began: u64,
    place: usize,
    backoff: Backoff,
}

impl Part {
    fn new(source: Source, range: Range<u64>, body: Option<Incoming>) -> Self {
        let (backoff, at) = (Backoff::new(source.0.registry.retry()), range.start);
        Part { at, began: at, source, range, body, passed_over: 0, place: 0, backoff }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.body.is_none() {
                // The rest of a longer answer is of no use.
                if self.at == self.range.end {
                    return Ok(None);
                }
                if let Err(e) = self.reopen().await {
                    self.try_again(e).await?;
                    continue;
                }
            }
            match self.read().await? {
                Ok(Some(data)) if data.is_empty() => {}
                Ok(Some(data)) => return Ok(Some(data)),
                Ok(None) if self.at == self.range.end => return Ok(None),
                Ok(None) => self.break_off("the server ended it").await?,
                Err(why) => self.break_off(&why).await?,
            }
        }
    }

    /// What comes next; or why nothing does.
    async fn read(&mut self) -> Result<Result<Option<Bytes>, String>> {
        let Some(body) = &mut self.body else { return Ok(Ok(None)) };
        let patience = self.source.0.registry.retry().patience;
        match tokio::time::timeout(patience, body.frame()).await {
            Err(_) => Ok(Err(format!("nothing came for {}", span(patience)))),
            Ok(None) => Ok(Ok(None)),
            Ok(Some(Err(e))) => Ok(Err(e.to_string())),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(Ok(Some(self.take(data)?))),
                Err(_) => Ok(Ok(Some(Bytes::new()))),
            },
        }
    }

    fn take(&mut self, mut data: Bytes) -> Result<Bytes> {
        let old = self.passed_over.min(data.len() as u64);
        self.passed_over -= old;
        data.advance(old as usize);
        let left = self.range.end - self.at;
        if data.len() as u64 > left {
            let Blob { registry, digest, reference, size, .. } = &*self.source.0;
            let hosts = registry.came_wrong(digest).unwrap_or_default();
            let message =
                format!("blob {digest} of {reference} from {hosts} is longer than its {size} bytes");
            return Err(wrong(message));
        }
        self.at += data.len() as u64;
        Ok(data)
    }

    async fn break_off(&mut self, why: &str) -> Result<()> {
        self.body = None;
        self.try_again(self.source.short(self.at, why)).await
    }

    /// Waits before the next try, which may be at another server; gives the error back where there is none.
    async fn try_again(&mut self, error: Error) -> Result<()> {
        tracing::debug!(digest = %self.source.0.digest, at = self.at, "a blob broke off: {error}");
        if self.at - self.began >= WORTH_IT {
            self.backoff.reset();
        }
        self.began = self.at;
        if error.code() == Code::Unavailable && self.backoff.pause().await {
            return Ok(());
        }
        if error.is_canceled() || !self.source.pass_over(self.place) {
            return Err(error);
        }
        self.backoff.reset();
        Ok(())
    }

    /// Asks for what is missing.
    async fn reopen(&mut self) -> Result<()> {
        self.place = self.source.0.current.load(Ordering::Relaxed);
        let reply = self.source.get(self.place, Some(self.at..self.range.end)).await?;
        self.passed_over = 0;
        match reply.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&reply, self.at) => {}
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.useless("the server has no more")),
            // It gives all from the start again.
            StatusCode::OK if self.range.end == self.source.0.size => self.passed_over = self.at,
            status if status.is_success() => return Err(self.useless("the server gave another part")),
            _ => return Err(reply.into_error().await),
        }
        self.body = Some(reply.response.into_body());
        Ok(())
    }

    /// To ask the same server again would not help.
    fn useless(&self, why: &str) -> Error {
        self.source.short(self.at, why).with_code(Code::FailedPrecondition)
    }
}

fn starts_at(reply: &Reply, at: u64) -> bool {
    reply.header(CONTENT_RANGE).is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}
