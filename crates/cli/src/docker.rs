//! Loads images into a Docker engine (Engine API, "POST /images/load"), without what it has.

mod body;
pub(crate) mod contexts;
mod endpoint;
mod place;

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
use body::{Beginning, Known, LoadBody};
use endpoint::Endpoint;
use place::Place;

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

    /// Makes a load ready, with the place that takes the image. Docker is asked when there is something to send.
    pub(crate) fn load(&self, sink: Arc<dyn Sink>) -> (Load, Place) {
        let (writer, body) = LoadBody::new();
        let docker = self.clone();
        let load = Load(tokio::spawn(async move { docker.import(body, sink).await }));
        (load, Place::new(self.clone(), writer))
    }

    async fn import(&self, mut body: LoadBody, sink: Arc<dyn Sink>) -> Result<()> {
        let id = format!("load {}", client::new_id());
        let known = match body.begun().await {
            None => return Err(Error::internal("the engine sent no image for Docker")),
            Some(Beginning::There) => {
                return Step::start(sink, &id, "importing to docker: it has the image").finish(Ok(()));
            }
            Some(Beginning::Image(known)) => known,
        };
        let name = match known {
            Known { layers: 0, .. } => "importing to docker".to_owned(),
            Known { layers, of } => format!("importing to docker, which has {layers} of {of} layers"),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri("/images/load?quiet=1")
            .header("host", "docker")
            .header("content-type", "application/x-tar")
            .body(body)
            .expect("a fixed request");
        let step = Step::start(sink, &id, &name);
        let loaded = self.post_image(request).await;
        // What it has may go at any time.
        let loaded = loaded.map_err(|e| match known.layers {
            0 => e,
            _ => e.hint("if a layer was removed from Docker meanwhile, build once more"),
        });
        step.finish(loaded)
    }

    /// What Docker says of an image, by name or id; nothing where it has none.
    async fn image(&self, name: &str) -> Result<Option<Value>> {
        match self.get(&format!("/images/{name}/json")).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (_, answer) => Ok(Some(answer)),
        }
    }

    /// Ids of all images, the latest first.
    async fn ids(&self) -> Result<Vec<String>> {
        let (_, images) = self.get("/images/json").await?;
        let id = |image: &Value| image["Id"].as_str().map(str::to_owned);
        Ok(images.as_array().into_iter().flatten().filter_map(id).collect())
    }

    /// Gives an image one more name.
    async fn tag(&self, id: &str, repository: &str, tag: &str) -> Result<()> {
        let request = Request::post(format!("/images/{id}/tag?repo={repository}&tag={tag}"));
        let request = request.header("host", "docker").body(Empty::<Bytes>::new());
        let request = request.map_err(|e| Error::user(format!("no name for Docker: {e}")))?;
        answer(self.send(request).await?, "name an image in").await.map(drop)
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let request = Request::get(path).header("host", "docker").body(Empty::<Bytes>::new());
        let request = request.map_err(|e| Error::user(format!("no question for Docker: {e}")))?;
        let (status, text) = answer(self.send(request).await?, "look into").await?;
        let json = serde_json::from_slice(&text);
        Ok((status, json.map_err(|e| Error::environment(format!("Docker answered no JSON: {e}")))?))
    }

    async fn post_image(&self, request: Request<LoadBody>) -> Result<()> {
        answer(self.send(request).await?, "load into").await.map(drop)
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

/// The whole answer. What does not exist is no error.
async fn answer(given: Response<hyper::body::Incoming>, what: &str) -> Result<(StatusCode, Bytes)> {
    let status = given.status();
    let text = given.into_body().collect().await.map_err(|e| Error::environment(e.to_string()))?.to_bytes();
    let fits = status.is_success() || status == StatusCode::NOT_FOUND;
    match failure(&text).filter(|_| status != StatusCode::NOT_FOUND) {
        Some(message) => Err(Error::environment(format!("failed to {what} Docker: {message}"))),
        None if fits => Ok((status, text)),
        None => Err(Error::environment(format!("failed to {what} Docker: {status}"))),
    }
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
