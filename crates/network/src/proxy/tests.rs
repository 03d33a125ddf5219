//! A proxy before a server on this machine, asked from its namespace.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use oci::Digest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;

/// Answers requests for a few pages until the test ends. Gives its address.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
    address
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut chunk)?;
        head.extend_from_slice(&chunk[..n]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(!head.to_lowercase().contains("accept-encoding"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {}\r\n", stream.local_addr()?)), "{head}");
    let status = match head.split(' ').nth(1) {
        Some("/page") => "200 OK",
        Some("/moved") => "302 Found\r\nLocation: /page",
        Some("/part") => "206 Partial Content",
        _ => "404 Not Found",
    };
    let body = if head.starts_with("HEAD") { "" } else { "page" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 4\r\nConnection: close\r\n\r\n{body}")
}

/// Judges by the last word of a path.
struct Rules {
    server: SocketAddr,
}

#[async_trait]
impl Judge for Rules {
    async fn judge(&self, url: &str) -> Judgement {
        // Long enough to see what else a client does.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        match url.rsplit('/').next() {
            Some("secret") => Judgement::Denied("it is secret".into()),
            Some("other") => Judgement::Replaced(format!("http://{}/page", self.server)),
            Some("odd") => Judgement::Replaced("ftp://host/page".into()),
            _ => Judgement::Allowed,
        }
    }
}

fn start() -> (Proxy, SocketAddr) {
    let server = serve();
    (Proxy::start(Egress::new(None), Arc::new(Rules { server })).expect("a proxy"), server)
}

/// Connects to the proxy, as a program in the container does.
fn connect(proxy: &Proxy) -> TcpStream {
    proxy.namespace().enter(|| TcpStream::connect(proxy.address)).expect("it listens")
}

/// The first line of the answer to a request with some more headers. It blocks: the proxy runs on other threads.
fn ask(proxy: &Proxy, method: &str, url: &str, headers: &str) -> String {
    let (mut stream, mut answer) = (connect(proxy), String::new());
    let head = format!("{method} {url} HTTP/1.1\r\nHost: elsewhere\r\nAccept-Encoding: gzip\r\n{headers}");
    write!(stream, "{head}Connection: close\r\n\r\n").expect("it reads");
    // Some clients say now that they are done. They want an answer all the same.
    stream.shutdown(Shutdown::Write).expect("a connection");
    stream.read_to_string(&mut answer).expect("it answers");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Asks once; says what is answered, and what is told of it: materials as `url digest`, and what is missing as `reason`.
async fn check(method: &str, path: &str, headers: &str, status: u16, told: &str) {
    let (proxy, server) = start();
    let url = format!("http://{server}{path}");
    let line = ask(&proxy, method, &url, headers);
    assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {line}");
    let traffic = proxy.stop().await;
    let [request] = &*traffic.requests else { panic!("{method} {path}: {:?}", traffic.requests) };
    assert_eq!((request.method.as_str(), request.status), (method, status));
    let name = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
    let page = Digest::of("page");
    let materials = traffic.materials.iter().map(|m| format!("{} {}", name(&m.url), m.digest == page));
    let missing = traffic.missing.iter().map(|m| m.reason.to_owned());
    let all: Vec<_> = materials.chain(missing).chain(request.denied.clone()).collect();
    assert_eq!(all.join(", "), told, "{method} {path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_through_is_told() {
    check("GET", "/page", "", 200, "page true").await;
    check("GET", "/page?a=b", "", 404, "unsuccessful_response").await;
    check("HEAD", "/page", "", 200, "method_not_materializable").await;
    check("POST", "/page", "Content-Length: 0\r\n", 200, "method_not_materializable").await;
    check("GET", "/page", "Range: bytes=0-1\r\n", 200, "partial_response").await;
    check("GET", "/part", "", 206, "partial_response").await;
    check("GET", "/none", "", 404, "unsuccessful_response").await;
    check("GET", "/moved", "", 302, "").await;
    check("GET", "/secret", "", 403, "it is secret").await;
    check("GET", "/other", "", 200, "page true").await;
    let get_only = "a policy puts `http";
    let (proxy, server) = start();
    let line = ask(&proxy, "POST", &format!("http://{server}/other"), "Content-Length: 0\r\n");
    assert!(line.contains(" 403 "), "{line}");
    let traffic = proxy.stop().await;
    assert!(traffic.requests[0].denied.as_ref().is_some_and(|why| why.starts_with(get_only)), "{traffic:?}");
    let odd = "a policy puts `ftp://host/page` in its place, which is no address of a page";
    check("GET", "/odd", "", 403, odd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_around_it() {
    let (proxy, server) = start();
    let direct = proxy.namespace().enter(|| TcpStream::connect(server));
    assert_eq!(direct.expect_err("not there").kind(), io::ErrorKind::ConnectionRefused);
    let beyond: SocketAddr = "192.0.2.1:80".parse().expect("an address");
    let direct = proxy.namespace().enter(|| TcpStream::connect(beyond));
    assert_eq!(direct.expect_err("no way").kind(), io::ErrorKind::NetworkUnreachable);
    assert_eq!(proxy.stop().await, Traffic::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told() {
    let (proxy, _server) = start();
    // Nobody listens at a port that was just given back.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let line = ask(&proxy, "GET", &format!("http://user:password@{free}/page"), "");
    assert!(line.contains(" 502 "), "{line}");
    let traffic = proxy.stop().await;
    assert_eq!(traffic.missing[0].reason, "upstream_error");
    assert!(!format!("{traffic:?}").contains("password"), "{traffic:?}");
}

/// The proxy shows a certificate for any host, which who trusts the proxy trusts too.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_opened() {
    let (proxy, _server) = start();
    let stream = connect(&proxy);
    stream.set_nonblocking(true).expect("set");
    let mut stream = tokio::net::TcpStream::from_std(stream).expect("a stream");
    stream
        .write_all(b"CONNECT nowhere.invalid:443 HTTP/1.1\r\nHost: nowhere.invalid\r\n\r\n")
        .await
        .expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(proxy.certificate().as_bytes()).expect("PEM")).expect("valid");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("nowhere.invalid").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("trusted");
    stream
        .write_all(b"GET /secret HTTP/1.1\r\nHost: nowhere.invalid\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = String::new();
    // It need not say goodbye in TLS.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    drop(stream);
    assert_eq!(proxy.stop().await.requests[0].url, "https://nowhere.invalid/secret");
}
