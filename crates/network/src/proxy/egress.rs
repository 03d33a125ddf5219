//! Where the connections of a proxy start.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use errdefs::Result;
use executor::Namespace;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::rt::TokioIo;
use registry::transport::{Dns, Tls};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpSocket, TcpStream};
use tower::{BoxError, Service};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// Makes connections. Names are looked up as the engine does, wherever the connections start.
#[derive(Clone)]
pub struct Egress {
    /// None: where the engine is.
    namespace: Option<Arc<Namespace>>,
    dns: Dns,
}

impl Egress {
    pub fn new(namespace: Option<Arc<Namespace>>) -> Self {
        Egress { namespace, dns: Dns::default() }
    }

    /// Trusts whom this machine trusts.
    pub fn with_tls(self) -> Result<HttpsConnector<Egress>> {
        let tls = Tls::default().client_config()?;
        Ok(HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(self))
    }

    async fn connect(self, to: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = to.host().ok_or("no host in the address")?.trim_matches(['[', ']']).to_owned();
        let port = to.port_u16().unwrap_or(if to.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.dns.clone().lookup(host).await?,
        };
        let mut last = None;
        for address in addresses {
            match self.reach(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(TokioIo::new(stream)),
                Err(e) => last = Some(format!("dial tcp {address}:{port}: {e}")),
            }
        }
        Err(last.unwrap_or_else(|| "the name has no address".into()).into())
    }

    async fn reach(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket(address).await?;
        let connected = tokio::time::timeout(CONNECT, socket.connect(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A socket belongs to the network in which it was made, whoever connects it.
    async fn socket(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        let Some(namespace) = self.namespace.clone() else {
            return if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        };
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let make = move || Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?);
        let socket =
            tokio::task::spawn_blocking(move || namespace.enter(make)).await.map_err(io::Error::other)??;
        Ok(TcpSocket::from_std_stream(socket.into()))
    }
}

impl Service<Uri> for Egress {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}
