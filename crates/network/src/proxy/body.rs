//! The body of an answer on its way, and what is written down of it.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use oci::DigestWriter;

use super::traffic::{Material, Missing, Recorder};

/// What a body is of.
pub struct Of {
    pub method: String,
    pub url: String,
    /// Why it is no material, whatever it holds.
    pub unfit: Option<&'static str>,
    /// The answer was one of success: others are no material either, and no loss.
    pub success: bool,
}

/// A body whose bytes are hashed. What comes of it is written down once, before the last of them are handed on.
pub struct Watched {
    body: Incoming,
    hash: DigestWriter,
    /// What is still to be written down.
    of: Option<Of>,
    recorder: Arc<Recorder>,
}

impl Watched {
    pub fn new(body: Incoming, of: Of, recorder: Arc<Recorder>) -> Self {
        let mut watched = Watched { body, hash: DigestWriter::default(), of: Some(of), recorder };
        if watched.body.is_end_stream() {
            watched.conclude(true);
        }
        watched
    }

    fn conclude(&mut self, whole: bool) {
        let Some(Of { method, url, unfit, success }) = self.of.take() else { return };
        match unfit.or((!whole).then_some("body_read_failed")) {
            Some(reason) => self.recorder.missing(Missing { method, url, reason }),
            None if success => {
                let digest = std::mem::take(&mut self.hash).finish();
                self.recorder.material(Material { url, digest });
            }
            None => {}
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    // It cannot fail.
                    let _ = self.hash.write_all(data);
                }
                if self.body.is_end_stream() {
                    self.conclude(true);
                }
            }
            Some(Err(_)) => self.conclude(false),
            None => self.conclude(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Nobody took the rest.
        self.conclude(false);
    }
}
