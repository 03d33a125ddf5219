//! Sockets that the engine listens on.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use errdefs::{Error, Result, ResultExt};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::server::Connected;

use crate::idle::{Client, Clients};

/// A listening socket; a socket file that it made is removed when it is dropped.
pub struct Listener {
    listener: UnixListener,
    clients: Clients,
    made: Option<PathBuf>,
}

/// Opens `unix://PATH` or the sockets of `fd://`.
pub fn listen(address: &str, clients: &Clients) -> Result<Vec<Listener>> {
    if let Some(path) = address.strip_prefix("unix://") {
        return Ok(vec![unix(Path::new(path), clients)?]);
    }
    if address.starts_with("fd://") {
        return inherited(clients);
    }
    Err(Error::unimplemented(format!(
        "cannot listen on `{address}`: only unix:// and fd:// addresses are there yet"
    )))
}

fn unix(path: &Path, clients: &Clients) -> Result<Listener> {
    let failed = || format!("failed to listen on `{}`", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    // The store's lock is held: a socket file that is there has no engine behind it.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::from(e).context(failed())),
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(failed)?;
    Ok(Listener { listener, clients: clients.clone(), made: Some(path.to_owned()) })
}

/// Sockets handed over by systemd (sd_listen_fds): `LISTEN_FDS` of them from number 3 on.
fn inherited(clients: &Clients) -> Result<Vec<Listener>> {
    let count: i32 = std::env::var("LISTEN_FDS")
        .ok()
        .filter(|_| std::env::var("LISTEN_PID").is_ok_and(|p| p == std::process::id().to_string()))
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| Error::environment("no sockets were handed over (LISTEN_FDS)"))?;
    (3..3 + count)
        .map(|fd| {
            // SAFETY: by the protocol these descriptors are open and nobody else in this process owns them.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let socket = std::os::unix::net::UnixListener::from(fd);
            socket.set_nonblocking(true).context("failed to use a socket that was handed over")?;
            let listener =
                UnixListener::from_std(socket).context("failed to use a socket that was handed over")?;
            Ok(Listener { listener, clients: clients.clone(), made: None })
        })
        .collect()
}

impl Stream for Listener {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = std::task::ready!(self.listener.poll_accept(cx));
        Poll::Ready(Some(accepted.map(|(stream, _)| Connection { stream, _client: self.clients.enter() })))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// One client's connection, counted while it is open.
pub struct Connection {
    stream: UnixStream,
    _client: Client,
}

impl Connected for Connection {
    type ConnectInfo = <UnixStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
