use std::collections::BTreeMap;
use std::convert::Infallible;

use http_body_util::Full;
use hyper::service::service_fn;
use session::{ImagePlace as _, Lack};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::*;

/// A Docker engine that tells what it was given, and answers a load with `reply`.
fn fake(listener: UnixListener, reply: &'static str) -> mpsc::UnboundedReceiver<Option<Bytes>> {
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let tell = tell.clone();
                async move {
                    if request.uri().path() == "/images/load" {
                        let body = request.into_body().collect().await.ok().map(|b| b.to_bytes());
                        let _ = tell.send(body);
                        return Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(reply)));
                    }
                    Ok(Response::new(Full::from("OK")))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    told
}

fn docker(dir: &tempfile::TempDir, reply: &'static str) -> (Docker, mpsc::UnboundedReceiver<Option<Bytes>>) {
    let path = dir.path().join("docker.sock");
    let told = fake(UnixListener::bind(&path).expect("bound"), reply);
    (Docker(Endpoint::Unix(path)), told)
}

/// Begins a load of an image that Docker knows nothing of.
async fn begin(docker: &Docker) -> (Load, Box<dyn tokio::io::AsyncWrite + Send + Unpin>) {
    let (load, place) = docker.load(progress::discard());
    match place.lacks(&BTreeMap::new(), &[]).await.expect("asked") {
        Lack::Layers { known: 0, to } => (load, to),
        _ => panic!("Docker knows nothing"),
    }
}

#[tokio::test]
async fn an_image_arrives_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let (docker, mut told) = docker(&dir, r#"{"stream":"Loaded image: app:latest\n"}"#);
    docker.ping().await.expect("it answers");
    let (load, mut writer) = begin(&docker).await;
    writer.write_all(b"image ").await.expect("taken");
    writer.write_all(b"bytes").await.expect("taken");
    writer.shutdown().await.expect("ended");
    load.finish().await.expect("loaded");
    assert_eq!(told.recv().await.flatten().as_deref(), Some(&b"image bytes"[..]));
}

#[tokio::test]
async fn half_an_image_is_broken_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let (docker, mut told) = docker(&dir, "{}");
    let (load, mut writer) = begin(&docker).await;
    writer.write_all(b"half").await.expect("taken");
    drop(writer);
    assert!(load.finish().await.is_err());
    assert!(!matches!(told.try_recv(), Ok(Some(_))), "half was taken for a whole");
}

#[tokio::test]
async fn what_docker_refuses_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (docker, _told) =
        docker(&dir, r#"{"stream":"x"}{"errorDetail":{"message":"no space"},"error":"no space"}"#);
    let (load, mut writer) = begin(&docker).await;
    writer.shutdown().await.expect("ended");
    assert_eq!(load.finish().await.expect_err("refused").to_string(), "failed to load into Docker: no space");
}

#[tokio::test]
async fn no_docker_is_no_answer() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(Docker(Endpoint::Unix(dir.path().join("none.sock"))).ping().await.is_err());
}

#[tokio::test]
async fn nothing_sent_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (docker, mut told) = docker(&dir, "{}");
    let (load, place) = docker.load(progress::discard());
    drop(place);
    assert!(load.finish().await.is_err());
    assert!(told.try_recv().is_err(), "Docker was not asked");
}
