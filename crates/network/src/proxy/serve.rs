//! From a request of a step to its answer.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use errdefs::Result;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority as HostPort, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::authority::Authority;
use super::body::{Of, Watched};
use super::egress::Egress;
use super::traffic::{self, Recorder};
use super::{Judge, Judgement};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// How long nobody is let in when that has failed.
const BREAK: Duration = Duration::from_millis(50);

/// Of one connection only, or for the proxy itself.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

type Body = Either<Full<Bytes>, Watched>;

/// Serves one container. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    client: Client<HttpsConnector<Egress>, Incoming>,
    judge: Arc<dyn Judge>,
    authority: Authority,
    recorder: Arc<Recorder>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    pub fn new(
        egress: Egress,
        judge: Arc<dyn Judge>,
        authority: Authority,
        recorder: Arc<Recorder>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self> {
        let client = Client::builder(TokioExecutor::new()).build(egress.with_tls()?);
        Ok(Server(Arc::new(Inner { client, judge, authority, recorder, tasks, stop })))
    }

    /// Lets clients in until it is told to stop.
    pub async fn run(self, listener: TcpListener) {
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => self.spawn(self.clone().plain(stream)),
                    // One that left again, or no descriptors: that passes.
                    Err(_) => tokio::time::sleep(BREAK).await,
                }
            }
        };
        self.0.stop.run_until_cancelled(accepting).await;
    }

    /// A connection ends with the proxy. How it ends is the client's matter: it has seen it.
    fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move { stop.run_until_cancelled(connection).await });
    }

    async fn plain(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let this = self.clone();
            async move { Ok::<_, Infallible>(this.proxied(request).await) }
        });
        let _ends = http().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }

    async fn proxied(&self, mut request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::CONNECT {
            let Some(to) = request.uri().authority().cloned() else {
                return said(StatusCode::BAD_REQUEST, "no host");
            };
            let upgrade = hyper::upgrade::on(&mut request);
            let this = self.clone();
            self.spawn(async move {
                if let Ok(stream) = upgrade.await {
                    let _ends = this.tunnel(to, TokioIo::new(stream)).await;
                }
            });
            return Response::new(Either::Left(Full::default()));
        }
        let uri = match request.uri().authority() {
            Some(_) => Some(request.uri().clone()),
            None => host_of(&request).and_then(|to| absolute(Scheme::HTTP, to, request.uri())),
        };
        self.answer(request, uri).await
    }

    /// What was meant to be a tunnel.
    async fn tunnel(
        self,
        to: HostPort,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    ) -> io::Result<()> {
        let host = to.host().trim_matches(['[', ']']);
        let config = self.0.authority.server(host).map_err(io::Error::other)?;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let service = service_fn(move |request: Request<Incoming>| {
            let (this, to) = (self.clone(), to.clone());
            async move {
                let uri = absolute(Scheme::HTTPS, to, request.uri());
                Ok::<_, Infallible>(this.answer(request, uri).await)
            }
        });
        http().serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
    }

    /// Makes a request, if it may be made.
    async fn answer(&self, mut request: Request<Incoming>, uri: Option<Uri>) -> Response<Body> {
        let url = uri.as_ref().and_then(|uri| Url::parse(&uri.to_string()).ok());
        let Some((uri, url)) = uri.zip(url) else { return said(StatusCode::BAD_REQUEST, "no valid address") };
        let (method, mut shown) = (request.method().clone(), provenance::without_login(url.as_str()));
        let uri = match self.judged(&method, &shown).await {
            Ok(None) => uri,
            Ok(Some((other, url))) => {
                shown = url;
                other
            }
            Err(why) => {
                self.record(&method, &shown, StatusCode::FORBIDDEN, None, Some(why));
                return said(StatusCode::FORBIDDEN, "Forbidden");
            }
        };
        let is_part = request.headers().contains_key(header::RANGE);
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        without_hops(request.headers_mut());
        // The client says the host of the address again: what was judged is what is asked for.
        request.headers_mut().remove(header::HOST);
        // What is hashed is what is there, not how it was packed on the way.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let mut response = match self.0.client.request(request).await {
            Ok(response) => response,
            Err(e) => {
                self.record(&method, &shown, StatusCode::BAD_GATEWAY, None, None);
                let method = method.to_string();
                self.0.recorder.missing(traffic::Missing { method, url: shown, reason: "upstream_error" });
                return said(StatusCode::BAD_GATEWAY, &with_causes(&e));
            }
        };
        let status = response.status();
        self.record(&method, &shown, status, redirect(&shown, response.headers()), None);
        without_hops(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        let of = Of {
            unfit: unfit(&method, status, is_part),
            success: status.is_success(),
            method: method.to_string(),
            url: shown,
        };
        response.map(|body| Either::Right(Watched::new(body, of, Arc::clone(&self.0.recorder))))
    }

    /// Another address, with its text, where a policy has put one in the place of this. Err tells why there is none.
    async fn judged(&self, method: &Method, url: &str) -> Result<Option<(Uri, String)>, String> {
        let other = match self.0.judge.judge(url).await {
            Judgement::Allowed => return Ok(None),
            Judgement::Denied(why) => return Err(why),
            Judgement::Replaced(other) => other,
        };
        if method != Method::GET {
            return Err(format!("a policy puts `{other}` in its place, which is for GET only"));
        }
        let wrong = || format!("a policy puts `{other}` in its place, which is no address of a page");
        let parsed = Url::parse(&other).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let text = parsed.as_ref().map(Url::as_str).ok_or_else(wrong)?;
        let uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| wrong())?;
        Ok(Some((uri, provenance::without_login(text))))
    }

    fn record(
        &self,
        method: &Method,
        url: &str,
        status: StatusCode,
        redirect: Option<String>,
        denied: Option<String>,
    ) {
        let (method, status) = (method.to_string(), status.as_u16());
        self.0.recorder.request(traffic::Request { method, url: url.to_owned(), status, redirect, denied });
    }
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Some clients, as busybox's wget, say that they are done when they have asked.
    builder.half_close(true);
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).auto_date_header(false);
    builder
}

fn host_of(request: &Request<Incoming>) -> Option<HostPort> {
    request.headers().get(header::HOST)?.to_str().ok()?.parse().ok()
}

fn absolute(scheme: Scheme, to: HostPort, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().scheme(scheme).authority(to).path_and_query(path).build().ok()
}

fn without_hops(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("proxy-connection");
}

/// Why an answer cannot be told of by its digest, in a word of BuildKit's.
fn unfit(method: &Method, status: StatusCode, is_part: bool) -> Option<&'static str> {
    match () {
        () if method != Method::GET => Some("method_not_materializable"),
        () if is_part || status == StatusCode::PARTIAL_CONTENT => Some("partial_response"),
        () if status.as_u16() >= 400 => Some("unsuccessful_response"),
        () => None,
    }
}

/// Where an answer leads to.
fn redirect(from: &str, headers: &HeaderMap) -> Option<String> {
    let to = headers.get(header::LOCATION)?.to_str().ok()?;
    let to = Url::parse(from).ok()?.join(to).ok()?;
    Some(provenance::without_login(to.as_str()))
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// An error with what lies behind it: the outermost says the least.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
