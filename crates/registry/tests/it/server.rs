//! Servers to talk to.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// The real registry, on a port of its own, with its files in a folder of its own.
pub struct Debian {
    child: Child,
    pub host: String,
    _dir: tempfile::TempDir,
}

/// How it is set up.
#[derive(Default)]
pub struct Setup<'a> {
    /// Only `user` with `secret` may do anything.
    pub login: bool,
    /// Certificate and key.
    pub tls: Option<(&'a Path, &'a Path)>,
    /// Who has no certificate of this authority is refused.
    pub clients: Option<&'a Path>,
}

/// bcrypt of `secret`.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

impl Debian {
    pub fn start(setup: &Setup<'_>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let addr = free_port();
        let root = dir.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp:\n  addr: {addr}\n"
        );
        if let Some((cert, key)) = setup.tls {
            let clients =
                setup.clients.map(|ca| format!(", clientcas: [{}]", ca.display())).unwrap_or_default();
            config +=
                &format!("  tls: {{certificate: {}, key: {}{clients}}}\n", cert.display(), key.display());
        }
        if setup.login {
            std::fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("written");
            config += &format!("auth: {{htpasswd: {{realm: r, path: {root}/htpasswd}}}}\n");
        }
        let path = dir.path().join("config.yml");
        std::fs::write(&path, config).expect("written");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let server = Debian { child, host: addr.to_string(), _dir: dir };
        let patience = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < patience, "the registry does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

/// One request, as it came.
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Method and address, as `GET /v2/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.uri)
    }
}

/// A server that answers as it is told, and remembers what it was asked.
pub struct Told {
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub type Answer = Response<Full<Bytes>>;

impl Told {
    /// `answer` is given the request and how many came before it.
    pub async fn start(answer: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (log.clone(), answer.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (log, answer) = (log.clone(), answer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let (method, uri) = (head.method.to_string(), head.uri.to_string());
                        let seen = Seen { method, uri, headers: head.headers, body };
                        let mut log = log.lock().expect("not poisoned");
                        let answered = answer(&seen, log.len());
                        log.push(seen);
                        Ok::<_, hyper::Error>(answered)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Told { host, seen }
    }

    /// What came, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").iter().map(Seen::line).collect()
    }

    pub fn look<T>(&self, at: impl Fn(&Seen) -> T) -> Vec<T> {
        self.seen.lock().expect("not poisoned").iter().map(at).collect()
    }
}

pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).expect("valid")
}

/// A certificate for 127.0.0.1 and its key.
pub fn certificate(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl is installed").success());
    (cert, key)
}
