//! Connections to engines.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};
use hickory_resolver::TokioResolver;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::Address;
use crate::helper::Helper;
use crate::tls::Tls;

/// How much of what a program says of its troubles is kept.
const SAID: usize = 4096;
/// A program that ends tells why within this time.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What the program between here and the engine says on stderr.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<String>>);

impl Said {
    /// The words of a program that has just failed; it may still be about to tell.
    pub async fn last_words(&self) -> String {
        tokio::time::sleep(LAST_WORDS).await;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }

    async fn listen(self, mut stderr: ChildStderr) {
        let mut piece = [0; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut piece).await {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() < SAID {
                said.push_str(&String::from_utf8_lossy(&piece[..n]));
            }
        }
    }
}

/// Connects to an address.
pub async fn dial(address: &Address, tls: &Tls, said: &Said) -> Result<Connection> {
    match address {
        Address::Unix(path) => Ok(Connection::Unix(UnixStream::connect(path).await?)),
        Address::Program(helper) => start(helper, said),
        Address::Tcp(host) => {
            let stream = tcp(host).await?;
            if !tls.is_wanted() {
                return Ok(Connection::Tcp(stream));
            }
            let name = tls.name(address.host_name().unwrap_or_default())?;
            let connector = TlsConnector::from(Arc::new(tls.config()?));
            Ok(Connection::Tls(Box::new(connector.connect(name, stream).await?)))
        }
    }
}

async fn tcp(host: &str) -> Result<TcpStream> {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let port: u16 = port.parse().map_err(|_| Error::user(format!("`{host}` has no port")))?;
    let mut failed = None;
    for ip in addresses(name.trim_matches(['[', ']'])).await? {
        match TcpStream::connect(SocketAddr::new(ip, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(e) => failed = Some(e),
        }
    }
    Err(failed.map_or_else(|| Error::environment(format!("`{name}` has no address")), Error::from))
}

async fn addresses(name: &str) -> Result<Vec<IpAddr>> {
    if let Ok(ip) = name.parse() {
        return Ok(vec![ip]);
    }
    if name.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let unknown =
        |e: hickory_resolver::net::NetError| Error::environment(format!("`{name}` is not found: {e}"));
    let resolver = TokioResolver::builder_tokio().and_then(|b| b.build()).map_err(unknown)?;
    Ok(resolver.lookup_ip(name).await.map_err(unknown)?.iter().collect())
}

fn start(helper: &Helper, said: &Said) -> Result<Connection> {
    let (program, args) = helper.command();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A key press that ends the client is the client's to handle.
    command.process_group(0);
    let mut child = command.spawn().with_context(|| format!("failed to start `{program}`"))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::internal("a program was started without pipes"));
    };
    tokio::spawn(said.clone().listen(stderr));
    Ok(Connection::Program(Box::new(Pipes { stdin, stdout, _child: child })))
}

/// Any kind of connection.
pub enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Program(Box<Pipes>),
}

/// A program, ended with the connection.
pub struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    _child: Child,
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Connection::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Connection::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Connection::Program(p) => Pin::new(&mut p.stdout).poll_read(cx, buf),
        }
    }
}

impl Connection {
    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Connection::Unix(s) => Pin::new(s),
            Connection::Tcp(s) => Pin::new(s),
            Connection::Tls(s) => Pin::new(s),
            Connection::Program(p) => Pin::new(&mut p.stdin),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().writer().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writer().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Connection::Unix(s) => s.is_write_vectored(),
            Connection::Tcp(s) => s.is_write_vectored(),
            Connection::Tls(s) => s.is_write_vectored(),
            Connection::Program(p) => p.stdin.is_write_vectored(),
        }
    }
}
