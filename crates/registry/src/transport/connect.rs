//! Connections, through a proxy where one is set.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::config::ProxyConfig;
use crate::transport::dns::Dns;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the other end may leave data unacknowledged.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector<Dns>,
    proxies: Arc<Matcher>,
}

impl Connector {
    pub fn new(proxy: &ProxyConfig) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Dns::default());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        tcp.set_tcp_user_timeout(Some(SILENCE));
        let proxies = Matcher::builder()
            .http(proxy.http.clone())
            .https(proxy.https.clone())
            .no(proxy.no.clone())
            .build();
        Connector { tcp, proxies: Arc::new(proxies) }
    }

    /// What a proxy for plain HTTP to this place wants to see.
    pub fn login(&self, to: &Uri) -> Option<HeaderValue> {
        self.proxy(to)?.basic_auth().cloned()
    }

    /// This machine itself is never reached through a proxy.
    fn proxy(&self, to: &Uri) -> Option<Intercept> {
        let local = to.host().is_some_and(crate::endpoint::is_local);
        if local { None } else { self.proxies.intercept(to) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let proxy = self.proxy(&to);
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return Ok(Stream { io: tcp.call(to).await?, proxied: false });
            };
            if to.scheme_str() == Some("https") {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(login) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(login.clone());
                }
                return Ok(Stream { io: tunnel.call(to).await?, proxied: false });
            }
            Ok(Stream { io: tcp.call(proxy.uri().clone()).await?, proxied: true })
        })
    }
}

/// A connection that knows whether a proxy reads the requests on it.
pub struct Stream {
    io: TokioIo<TcpStream>,
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
