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
pub(super) struct LoadBody(mpsc::Receiver<Piece>);

/// How a load begins.
pub(super) enum Beginning {
    There,
    Image(Known),
}

enum Piece {
    /// Docker has the image, and nothing follows.
    There,
    Begin(Known),
    Data(Bytes),
    End,
}

/// What Docker has of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub layers: usize,
    /// None where nobody knows.
    pub of: usize,
}

pub(super) struct LoadWriter(PollSender<Piece>);

impl LoadBody {
    pub(super) fn new() -> (LoadWriter, LoadBody) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        (LoadWriter(PollSender::new(sender)), LoadBody(receiver))
    }

    /// Waits until it is known what is to come; `None` when nothing will.
    pub(super) async fn begun(&mut self) -> Option<Beginning> {
        match self.0.recv().await? {
            Piece::There => Some(Beginning::There),
            Piece::Begin(known) => Some(Beginning::Image(known)),
            Piece::Data(_) | Piece::End => None,
        }
    }
}

impl LoadWriter {
    /// Docker has the image.
    pub(super) async fn there(self) -> io::Result<()> {
        self.tell(Piece::There).await
    }

    /// The image follows, without the layers that are known.
    pub(super) async fn begin(&self, known: Known) -> io::Result<()> {
        self.tell(Piece::Begin(known)).await
    }

    async fn tell(&self, piece: Piece) -> io::Result<()> {
        let sender = self.0.get_ref().ok_or_else(gone)?;
        sender.send(piece).await.map_err(|_| gone())
    }
}

impl Body for LoadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.0.poll_recv(cx)) {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::End) => {
                self.0.close();
                None
            }
            None | Some(Piece::There | Piece::Begin(_)) => {
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
