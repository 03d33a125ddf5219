//! A byte stream inside a gRPC stream of `BytesMessage`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{SinkExt, Stream, TryStreamExt};
use proto::control::BytesMessage;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use tokio_util::sync::{CancellationToken, PollSender, WaitForCancellationFutureOwned};
use tonic::Status;

/// Joins both directions of a Control.Session call to one connection. It ends when `incoming` does; shutting it down
/// ends `outgoing`.
pub fn tunnel(
    incoming: impl Stream<Item = Result<BytesMessage, Status>> + Send + Unpin + 'static,
    outgoing: mpsc::Sender<BytesMessage>,
) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
    join(incoming.map_ok(|m| m.data), outgoing, |data| BytesMessage { data })
}

/// The same for any message that holds bytes; `wrap` makes one.
pub(crate) fn join<M: Send + 'static>(
    incoming: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
    outgoing: mpsc::Sender<M>,
    wrap: fn(Bytes) -> M,
) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
    let reader = StreamReader::new(incoming.map_err(io::Error::other));
    let sink = PollSender::new(outgoing).sink_map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    let sink = sink.with(move |data| std::future::ready(Ok::<_, io::Error>(wrap(data))));
    tokio::io::join(reader, SinkWriter::new(CopyToBytes::new(sink)))
}

/// A connection that tells when it ends, and that ends when told.
pub(crate) struct Watched<Io> {
    io: Io,
    closed: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<Io> Watched<Io> {
    /// `closed` is cancelled at the end of `io`, and ends it when somebody else cancels it.
    pub(crate) fn new(io: Io, closed: CancellationToken) -> Self {
        let cancelled = Box::pin(closed.clone().cancelled_owned());
        Watched { io, closed, cancelled }
    }
}

impl<Io> Drop for Watched<Io> {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {}
            Poll::Ready(_) => self.closed.cancel(),
            Poll::Pending => {}
        }
        polled
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
