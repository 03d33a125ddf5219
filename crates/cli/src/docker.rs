//! Loads images into a Docker engine (Engine API, "POST /images/load").

mod body;
pub(crate) mod contexts;
mod endpoint;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use progress::{Sink, Step};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use crate::environment::Environment;
use body::{LoadBody, LoadWriter};
use endpoint::Endpoint;

/// A Docker engine that is not busy answers a ping within this time.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a Docker engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Docker(Endpoint);

impl Docker {
    /// The engine of a Docker context, or of DOCKER_HOST and its kin.
    pub(crate) fn find(context: Option<&str>, env: &Environment) -> Result<Self> {
        Endpoint::find(context, env).map(Docker)
    }

    pub(crate) async fn ping(&self) -> Result<()> {
        let ask = async {
            let request = Request::get("/_ping").header("host", "docker").body(Empty::<Bytes>::new());
            let answer = self.send(request.expect("a fixed request")).await?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                status => Err(Error::environment(format!("Docker answered {status}"))),
            }
        };
        match tokio::time::timeout(PING_TIMEOUT, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::environment("Docker did not answer in time")),
        }
    }

    /// Makes a load ready: what is written goes into Docker, and counts once the writer was shut down. Docker is asked
    /// when there is something to send.
    pub(crate) fn load(&self, sink: Arc<dyn Sink>) -> (Load, LoadWriter) {
        let (writer, body) = LoadBody::new();
        let docker = self.clone();
        (Load(tokio::spawn(async move { docker.import(body, sink).await })), writer)
    }

    async fn import(&self, mut body: LoadBody, sink: Arc<dyn Sink>) -> Result<()> {
        if !body.begun().await {
            return Err(Error::internal("the engine sent no image for Docker"));
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri("/images/load?quiet=1")
            .header("host", "docker")
            .header("content-type", "application/x-tar")
            .body(body)
            .expect("a fixed request");
        let step = Step::start(sink, &format!("load {}", client::new_id()), "importing to docker");
        step.finish(self.post_image(request).await)
    }

    async fn post_image(&self, request: Request<LoadBody>) -> Result<()> {
        let answer = self.send(request).await?;
        let status = answer.status();
        let text =
            answer.into_body().collect().await.map_err(|e| Error::environment(e.to_string()))?.to_bytes();
        match failure(&text) {
            Some(message) => Err(Error::environment(format!("failed to load into Docker: {message}"))),
            None if status.is_success() => Ok(()),
            None => Err(Error::environment(format!("failed to load into Docker: {status}"))),
        }
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Response<hyper::body::Incoming>>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        match &self.0 {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.context("failed to reach Docker")?;
                exchange(TokioIo::new(stream), request).await
            }
            Endpoint::Tcp(host) => {
                let stream = TcpStream::connect(host).await.context("failed to reach Docker")?;
                exchange(TokioIo::new(stream), request).await
            }
        }
    }
}

impl fmt::Display for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// A load that is under way. Dropping it breaks it off.
pub(crate) struct Load(JoinHandle<Result<()>>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Load {
    /// Waits until Docker has the image.
    pub(crate) async fn finish(mut self) -> Result<()> {
        (&mut self.0).await.map_err(|e| Error::internal(e.to_string()))?
    }
}

async fn exchange<I, B>(io: I, request: Request<B>) -> Result<Response<hyper::body::Incoming>>
where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let failed = |e: hyper::Error| Error::environment(format!("failed to talk to Docker: {e}"));
    let (mut sender, connection) = http1::handshake(io).await.map_err(failed)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed)
}

/// The first error in a stream of JSON messages, or in an error answer.
fn failure(text: &[u8]) -> Option<String> {
    let messages = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    messages.map_while(std::result::Result::ok).find_map(|m| {
        let told = [&m["errorDetail"]["message"], &m["error"], &m["message"]];
        told.into_iter().find_map(|v| v.as_str()).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests;
