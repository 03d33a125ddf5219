//! Sockets that the engine listens on.

mod connection;
mod inherited;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use errdefs::{Error, Result, ResultExt};
use futures_util::Stream;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub use connection::Connection;
use connection::Wire;
use inherited::inherited;

use crate::idle::Clients;

/// A client has this long to agree on encryption.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Connections that wait to be served.
const BACKLOG: usize = 64;
/// After a failure such as too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// What all listeners have in common.
#[derive(Clone, Default)]
pub struct Options {
    pub clients: Clients,
    /// For all that come over TCP.
    pub tls: Option<TlsAcceptor>,
    /// Whom socket files belong to.
    pub owner: Owner,
}

/// A user and a group by number; nothing leaves them as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A listening socket; a socket file that it made is removed when it is dropped.
pub struct Listener {
    socket: Socket,
    clients: Clients,
    made: Option<PathBuf>,
    /// Of TCP: the port may have been left to the kernel.
    address: Option<SocketAddr>,
}

enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
    /// Connections that have agreed on encryption. The task that accepts them ends with this end of the queue.
    Tls(mpsc::Receiver<io::Result<Wire>>),
}

/// Opens `unix://PATH`, `tcp://HOST:PORT`, or the sockets of `fd://`.
pub async fn listen(address: &str, options: &Options) -> Result<Vec<Listener>> {
    match address.split_once("://") {
        Some(("unix", path)) => Ok(vec![unix(Path::new(path), options)?]),
        Some(("tcp", host)) => Ok(vec![tcp(host, options).await?]),
        Some(("fd", which)) => inherited(which, options),
        Some(_) => Err(Error::user(format!("cannot listen on `{address}`"))
            .hint("write it as `unix://PATH`, `tcp://HOST:PORT` or `fd://`")),
        None => Err(Error::user(format!(
            "address {address} does not contain proto, you meant unix://{address} ?"
        ))),
    }
}

fn unix(path: &Path, options: &Options) -> Result<Listener> {
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
    std::os::unix::fs::chown(path, options.owner.uid, options.owner.gid).with_context(failed)?;
    Ok(Listener {
        socket: Socket::Unix(listener),
        clients: options.clients.clone(),
        made: Some(path.to_owned()),
        address: None,
    })
}

async fn tcp(host: &str, options: &Options) -> Result<Listener> {
    let listener = TcpListener::bind(host).await;
    let listener = listener.with_context(|| format!("failed to listen on `tcp://{host}`"))?;
    if options.tls.is_none() {
        tracing::warn!(
            "whoever reaches tcp://{host} can use this engine and all that it can: there is no TLS; give --tlscacert, \
             --tlscert and --tlskey"
        );
    }
    Ok(Listener::tcp(listener, options))
}

impl Listener {
    fn tcp(listener: TcpListener, options: &Options) -> Self {
        let address = listener.local_addr().ok();
        let socket = match &options.tls {
            None => Socket::Tcp(listener),
            Some(tls) => {
                let (agreed, connections) = mpsc::channel(BACKLOG);
                tokio::spawn(accept_tls(listener, tls.clone(), agreed));
                Socket::Tls(connections)
            }
        };
        Listener { socket, clients: options.clients.clone(), made: None, address }
    }

    /// Where it listens, as far as TCP is concerned.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// Lets clients agree on encryption side by side: a slow one keeps none of the others.
async fn accept_tls(listener: TcpListener, tls: TlsAcceptor, agreed: mpsc::Sender<io::Result<Wire>>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = agreed.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                let _nobody_listens = agreed.send(Err(e)).await;
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (tls, agreed) = (tls.clone(), agreed.clone());
        tokio::spawn(async move {
            let _slower_and_no_less_right = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _nobody_listens = agreed.send(Ok(Wire::of_anybody(stream))).await;
                }
                Ok(Err(e)) => tracing::warn!("{peer} was turned away: {e}"),
                Err(_) => tracing::warn!("{peer} was turned away: it did not agree on encryption in time"),
            }
        });
    }
}

impl Stream for Listener {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let wire = match &mut self.socket {
            Socket::Unix(listener) => ready!(listener.poll_accept(cx)).map(|(stream, _)| Wire::unix(stream)),
            Socket::Tcp(listener) => ready!(listener.poll_accept(cx)).map(|(stream, _)| {
                let _slower_and_no_less_right = stream.set_nodelay(true);
                Wire::of_anybody(stream)
            }),
            Socket::Tls(connections) => match ready!(connections.poll_recv(cx)) {
                Some(connection) => connection,
                None => return Poll::Ready(None),
            },
        };
        Poll::Ready(Some(wire.map(|wire| Connection::new(wire, self.clients.enter()))))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses() {
        let check = async |address: &str, expect: &str| {
            let told = match listen(address, &Options::default()).await {
                Ok(listeners) => listeners.len().to_string(),
                Err(e) => e.to_string(),
            };
            assert!(told.starts_with(expect), "{address}: {told}");
        };
        let dir = tempfile::tempdir().expect("a folder");
        check(&format!("unix://{}/x/a.sock", dir.path().display()), "1").await;
        check("tcp://127.0.0.1:0", "1").await;
        check("/run/x.sock", "address /run/x.sock does not contain proto, you meant unix:///run/x.sock ?")
            .await;
        check("npipe:////./pipe/x", "cannot listen on").await;
        check("tcp://nowhere", "failed to listen on `tcp://nowhere`").await;
        check("fd://", "no sockets were handed over").await;
    }
}
