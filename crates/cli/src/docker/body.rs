use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// Pieces under way.
const DEPTH: usize = 8;

/// A request body that is written piece by piece. A writer that is dropped without being shut down breaks the request
/// off, so that half an image is never taken for a whole one.
pub(crate) struct LoadBody {
    first: Option<Piece>,
    rest: mpsc::Receiver<Piece>,
}

enum Piece {
    Data(Bytes),
    End,
}

pub(crate) struct LoadWriter(PollSender<Piece>);

impl LoadBody {
    pub(super) fn new() -> (LoadWriter, LoadBody) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        (LoadWriter(PollSender::new(sender)), LoadBody { first: None, rest: receiver })
    }

    /// Waits for the first piece. False when there will be none.
    pub(super) async fn begun(&mut self) -> bool {
        self.first = self.rest.recv().await;
        self.first.is_some()
    }
}

impl Body for LoadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.first.take() {
            Some(piece) => Some(piece),
            None => ready!(self.rest.poll_recv(cx)),
        };
        Poll::Ready(match piece {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::End) => {
                self.rest.close();
                None
            }
            None => {
                Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the image was not sent to its end")))
            }
        })
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "Docker ended the load")
}

impl AsyncWrite for LoadWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_reserve(cx)).map_err(|_| gone())?;
        self.0.send_item(Piece::Data(Bytes::copy_from_slice(buf))).map_err(|_| gone())?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.is_closed() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.0.poll_reserve(cx)).map_err(|_| gone())?;
        self.0.send_item(Piece::End).map_err(|_| gone())?;
        self.0.close();
        Poll::Ready(Ok(()))
    }
}
