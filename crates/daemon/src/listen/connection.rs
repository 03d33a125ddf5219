use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

use crate::idle::Client;

/// What is read of a socket at once. HTTP/2 by itself asks for one frame at a time, of 16 KB at most.
const READ: usize = 64 << 10;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// What carries the bytes, and who is at its other end.
pub struct Wire {
    bytes: BufReader<Box<dyn Bytes>>,
    peer: UdsConnectInfo,
}

impl Wire {
    /// Only the kernel's word tells who is at the other end, and only of a unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        let peer = stream.connect_info();
        Wire { peer, ..Wire::of_anybody(stream) }
    }

    pub fn of_anybody(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let peer = UdsConnectInfo { peer_addr: None, peer_cred: None };
        Wire { bytes: BufReader::with_capacity(READ, Box::new(stream)), peer }
    }
}

/// One client's connection, counted while it is open.
pub struct Connection {
    wire: Wire,
    _client: Client,
}

impl Connection {
    pub fn new(wire: Wire, client: Client) -> Self {
        Connection { wire, _client: client }
    }
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.wire.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.bytes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire.bytes).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.bytes).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire.bytes).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.bytes.is_write_vectored()
    }
}
