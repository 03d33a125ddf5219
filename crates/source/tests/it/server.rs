//! Servers to fetch from.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Debian's docker-registry, on a port of its own, with its files in a folder of its own.
pub struct Debian {
    child: Child,
    pub host: String,
    _dir: tempfile::TempDir,
}

impl Debian {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let path = dir.path().join("config.yml");
        let root = dir.path().join("data");
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}}}", root.display());
        std::fs::write(
            &path,
            format!("version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: \"{addr}\"}}\n"),
        )
        .expect("written");
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

pub type Answer = Response<Full<Bytes>>;

/// A web server that answers as it is told, and remembers what it was asked.
pub struct Web {
    pub host: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub async fn start(
        answer: impl Fn(&Request<hyper::body::Incoming>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (log.clone(), answer.clone());
                let service = service_fn(move |request| {
                    let answered = answer(&request);
                    let line = format!("{} {}", request.uri(), answered.status().as_u16());
                    log.lock().expect("not poisoned").push(line);
                    std::future::ready(Ok::<_, hyper::Error>(answered))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Web { host, seen }
    }

    /// What came and how it was answered.
    pub fn lines(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).expect("valid")
}
