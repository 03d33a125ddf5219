//! Uploads that break, to a registry that does as the specification says (distribution-spec, "Pushing a blob in chunks").

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use errdefs::Code;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oci::Digest;
use registry::{Anonymous, Pushed, Registry};

use crate::{config, noise, push, reference};

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// All is done, but the answer does not come.
    Lost,
    /// So many bytes are read, then none.
    Hangs(usize),
    /// A pause before each stretch of the body is read.
    Slow(Duration),
    Answers(u16),
    /// As long as a token is not shown that was given after this.
    Expires,
}

#[derive(Default)]
struct State {
    upload: Vec<u8>,
    blob: Option<Vec<u8>>,
    /// Method, `Content-Range`, and bytes that came.
    seen: Vec<(String, String, usize)>,
    expired: bool,
    tokens: usize,
}

struct Spec {
    host: String,
    state: Arc<Mutex<State>>,
}

/// What the registry wants of pieces.
#[derive(Clone, Copy, Default)]
struct Wants {
    least: Option<u64>,
    most: Option<usize>,
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

fn broken() -> std::io::Error {
    std::io::Error::other("broken on purpose")
}

impl Spec {
    /// `fault` is given the method and how many of it came before.
    async fn start(wants: Wants, fault: impl Fn(&str, usize) -> Fault + Send + Sync + 'static) -> Spec {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("bound").to_string();
        let (state, fault): (Arc<Mutex<State>>, _) = (Arc::default(), Arc::new(fault));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, fault) = (shared.clone(), fault.clone());
                let service = service_fn(move |request| answer(request, state.clone(), fault.clone(), wants));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Spec { host, state }
    }

    async fn push(&self, blob: &[u8], patience: Duration) -> errdefs::Result<Pushed> {
        let mut config = config();
        config.retry.patience = patience;
        let registry = Registry::new(config, Arc::new(Anonymous));
        registry.push_blob(&push(&reference(&self.host, "a"), blob)).await
    }

    /// The requests that brought bytes or asked how far it is, one line each.
    fn lines(&self) -> Vec<String> {
        let state = self.state.lock().expect("not poisoned");
        let line = |(method, range, bytes): &(String, String, usize)| format!("{method} {range} {bytes}");
        state.seen.iter().filter(|(method, ..)| method != "HEAD").map(line).collect()
    }
}

async fn answer<F: Fn(&str, usize) -> Fault>(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    fault: Arc<F>,
    wants: Wants,
) -> Answer {
    let (head, mut body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (method, host) = (head.method.to_string(), header("host").to_owned());
    if head.uri.path() == "/token" {
        let mut state = state.lock().expect("not poisoned");
        (state.expired, state.tokens) = (false, state.tokens + 1);
        return reply(200, &[], r#"{"token":"good","expires_in":3600}"#);
    }
    let count = state.lock().expect("not poisoned").seen.iter().filter(|(m, ..)| *m == method).count();
    let fault = fault(&method, count);
    {
        let mut state = state.lock().expect("not poisoned");
        state.expired |= fault == Fault::Expires && state.tokens < 2;
        if state.expired {
            state.seen.push((method, "refused".into(), 0));
            let realm = format!("Bearer realm=\"http://{host}/token\",error=\"invalid_token\"");
            return reply(401, &[("www-authenticate", &realm)], "");
        }
    }
    let range = header("content-range").to_owned();
    let mut came = Vec::new();
    while let Some(frame) = body.frame().await {
        match fault {
            Fault::Cut(at) | Fault::Hangs(at) if came.len() >= at => break,
            Fault::Slow(pause) => tokio::time::sleep(pause).await,
            _ => {}
        }
        came.extend_from_slice(&frame.map_err(|_| broken())?.into_data().unwrap_or_default());
    }
    if let Fault::Cut(at) | Fault::Hangs(at) = fault {
        came.truncate(at);
    }
    let took = match wants.most {
        Some(most) if came.len() > most => 0,
        _ => came.len(),
    };
    let (answer, hangs) = {
        let mut state = state.lock().expect("not poisoned");
        state.seen.push((method.clone(), range.clone(), came.len()));
        if let Fault::Answers(status) = fault {
            return reply(status, &[], "");
        }
        if took < came.len() {
            return reply(413, &[], "");
        }
        (state.act(&method, &head.uri.to_string(), &range, &came, wants), matches!(fault, Fault::Hangs(_)))
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    match fault {
        Fault::Cut(_) | Fault::Lost => Err(broken()),
        _ => answer,
    }
}

impl State {
    fn act(&mut self, method: &str, uri: &str, range: &str, came: &[u8], wants: Wants) -> Answer {
        let end = format!("0-{}", self.upload.len().saturating_sub(1));
        match method {
            "HEAD" => reply(if self.blob.is_some() { 200 } else { 404 }, &[], ""),
            "POST" => {
                self.upload.clear();
                let least = wants.least.unwrap_or(0).to_string();
                reply(202, &[("location", "/up"), ("oci-chunk-min-length", &least)], "")
            }
            "GET" => reply(204, &[("range", &end), ("location", "/up")], ""),
            "PATCH" if range.split('-').next() != Some(&self.upload.len().to_string()) => {
                reply(416, &[("range", &end), ("location", "/up")], "")
            }
            "PATCH" => {
                self.upload.extend_from_slice(came);
                reply(202, &[("location", "/up")], "")
            }
            _ => {
                self.upload.extend_from_slice(came);
                let digest = Digest::of(&self.upload).to_string().replace(':', "%3A");
                match uri.ends_with(&format!("digest={digest}")) {
                    true => {
                        self.blob = Some(std::mem::take(&mut self.upload));
                        reply(201, &[], "")
                    }
                    false => reply(400, &[], r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#),
                }
            }
        }
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: &'static str) -> Answer {
    Ok(crate::server::answer(status, headers, body))
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(500);

/// Pushes a blob of this size, and looks at what the registry was sent and has in the end.
async fn check(
    size: usize,
    wants: Wants,
    patience: Duration,
    fault: impl Fn(&str, usize) -> Fault + Send + Sync + 'static,
    expected: &[&str],
) {
    let server = Spec::start(wants, fault).await;
    let blob = noise(size);
    let pushed = server.push(&blob, patience).await;
    assert_eq!(server.lines(), expected);
    assert_eq!(pushed.expect("pushed"), Pushed::Uploaded);
    assert!(server.state.lock().expect("not poisoned").blob.as_ref() == Some(&blob), "another blob is there");
}

#[tokio::test]
async fn an_upload_that_breaks_goes_on_where_it_broke() {
    let fault = |method: &str, n| match (method, n) {
        ("PUT", 0) => Fault::Cut(70_000),
        ("PATCH", 0) => Fault::Cut(50_000),
        _ => Fault::Nothing,
    };
    let expected = [
        "POST  0",
        "PUT  70000",
        "GET  0",
        "PATCH 70000-199999 50000",
        "GET  0",
        "PATCH 120000-199999 80000",
        "PUT  0",
    ];
    check(200_000, Wants::default(), LONG, fault, &expected).await;
}

#[tokio::test]
async fn answers_that_are_lost_send_nothing_twice() {
    let fault = |method: &str, n| if (method, n) == ("PUT", 0) { Fault::Lost } else { Fault::Nothing };
    check(100_000, Wants::default(), LONG, fault, &["POST  0", "PUT  100000"]).await;

    let fault = |method: &str, n| match (method, n) {
        ("PUT", 0) => Fault::Cut(10_000),
        ("PATCH", 0) | ("PUT", 1) => Fault::Lost,
        _ => Fault::Nothing,
    };
    let expected = ["POST  0", "PUT  10000", "GET  0", "PATCH 10000-99999 90000", "GET  0", "PUT  0"];
    check(100_000, Wants::default(), LONG, fault, &expected).await;
}

#[tokio::test]
async fn a_registry_that_forgets_an_upload_gets_it_from_the_start() {
    let fault = |method: &str, n| match (method, n) {
        ("PUT", 0) => Fault::Cut(10_000),
        ("GET", 0) => Fault::Answers(404),
        _ => Fault::Nothing,
    };
    let expected = ["POST  0", "PUT  10000", "GET  0", "POST  0", "PATCH 0-99999 100000", "PUT  0"];
    check(100_000, Wants::default(), LONG, fault, &expected).await;
}

#[tokio::test]
async fn bytes_that_were_wrong_on_the_way_are_sent_once_more() {
    let fault =
        |method: &str, n| if (method, n) == ("PUT", 0) { Fault::Answers(400) } else { Fault::Nothing };
    let expected = ["POST  0", "PUT  1000", "POST  0", "PUT  1000"];
    check(1000, Wants::default(), LONG, fault, &expected).await;

    let server = Spec::start(Wants::default(), |method, _| match method {
        "PUT" => Fault::Answers(400),
        _ => Fault::Nothing,
    });
    let server = server.await;
    let e = server.push(b"x", LONG).await.expect_err("never right");
    assert!(e.to_string().contains(&server.host) && e.to_string().contains("400 Bad Request"), "{e}");
    assert_eq!((server.lines().len(), e.code()), (4, Code::DataLoss));
}

#[tokio::test]
async fn pieces_are_as_large_as_the_registry_wants() {
    // As large as it says…
    let fault =
        |method: &str, n| if (method, n) == ("PUT", 0) { Fault::Answers(413) } else { Fault::Nothing };
    let least = Wants { least: Some(18 << 20), most: None };
    let expected = [
        "POST  0",
        "PUT  25165824",
        "POST  0",
        "PATCH 0-18874367 18874368",
        "PATCH 18874368-25165823 6291456",
        "PUT  0",
    ];
    check(24 << 20, least, LONG, fault, &expected).await;
    // … and as small as it takes.
    let most = Wants { least: None, most: Some(5 << 20) };
    let expected = [
        "POST  0",
        "PUT  6291456",
        "POST  0",
        "PATCH 0-6291455 6291456",
        "POST  0",
        "PATCH 0-4194303 4194304",
        "PATCH 4194304-6291455 2097152",
        "PUT  0",
    ];
    check(6 << 20, most, LONG, |_, _| Fault::Nothing, &expected).await;
}

#[tokio::test]
async fn a_token_that_expires_on_the_way_is_fetched_anew() {
    let fault = |method: &str, n| match (method, n) {
        ("HEAD", 0) | ("PATCH", 1) => Fault::Expires,
        ("PUT", 0) => Fault::Answers(413),
        _ => Fault::Nothing,
    };
    let expected = [
        "POST  0",
        "PUT  25165824",
        "POST  0",
        "PATCH 0-16777215 16777216",
        "PATCH refused 0",
        "PATCH 16777216-25165823 8388608",
        "PUT  0",
    ];
    check(24 << 20, Wants::default(), LONG, fault, &expected).await;
}

#[tokio::test]
async fn an_upload_that_hangs_is_broken_off_and_goes_on() {
    let fault =
        |method: &str, n| if (method, n) == ("PUT", 0) { Fault::Hangs(1 << 20) } else { Fault::Nothing };
    let server = Spec::start(Wants::default(), fault).await;
    let blob = noise(24 << 20);
    assert_eq!(server.push(&blob, SHORT).await.expect("pushed"), Pushed::Uploaded);
    let lines = server.lines();
    assert_eq!(lines[1..4], ["PUT  1048576", "GET  0", "PATCH 1048576-17825791 16777216"]);
}

#[tokio::test]
async fn an_upload_that_is_slow_goes_on() {
    // All of it takes longer than one that hangs may.
    let fault = |method: &str, _| match method {
        "PUT" => Fault::Slow(Duration::from_millis(10)),
        _ => Fault::Nothing,
    };
    check(24 << 20, Wants::default(), SHORT, fault, &["POST  0", "PUT  25165824"]).await;
}
