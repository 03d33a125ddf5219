use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use client::{SolveRequest, new_id};
use errdefs::{Class, Detail, Error, Range, Result, SourceInfo, SourceLocation};
use proto::control as pb;
use session::{Attachables, SecretStore};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::{Script, start};

struct OneSecret;

#[async_trait]
impl SecretStore for OneSecret {
    async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        Ok((id == "token").then(|| b"abc".to_vec()))
    }
}

fn request() -> SolveRequest {
    SolveRequest { id: new_id(), frontend: "dockerfile.v0".into(), ..SolveRequest::default() }
}

fn step(name: &str) -> pb::StatusResponse {
    let digest = oci::Digest::of(name).to_string();
    pb::StatusResponse {
        vertexes: vec![pb::Vertex { digest, name: name.into(), ..pb::Vertex::default() }],
        ..pb::StatusResponse::default()
    }
}

#[tokio::test]
async fn the_engine_reaches_the_client_and_all_it_tells_arrives() {
    let script: Script = Arc::new(|request, session, tell| {
        Box::pin(async move {
            let _ = tell.send(step("first"));
            let secret = session.secret("token").await?.expect("the client has it");
            let _ = tell.send(step("last"));
            Ok(BTreeMap::from([
                ("frontend".to_owned(), request.frontend),
                ("secret".to_owned(), String::from_utf8_lossy(&secret).into_owned()),
            ]))
        })
    });
    let (client, _, _dir) = start(script).await;
    let (sender, mut told) = mpsc::channel(8);
    let attachables = Attachables::new().secrets(Arc::new(OneSecret));
    let answer =
        client.solve(&request(), attachables, sender, &CancellationToken::new()).await.expect("built");
    assert_eq!(answer.exporter_response["secret"], "abc");
    assert_eq!(answer.exporter_response["frontend"], "dockerfile.v0");
    let mut names = Vec::new();
    while let Some(status) = told.recv().await {
        names.extend(status.vertexes.into_iter().map(|v| v.name));
    }
    assert_eq!(names, ["first", "last"]);
}

#[tokio::test]
async fn an_error_keeps_its_place_and_its_hints() {
    let script: Script = Arc::new(|_, _, _| {
        Box::pin(async {
            let info =
                SourceInfo { filename: "Dockerfile".into(), data: b"FROM x".to_vec(), ..Default::default() };
            let source = Detail::Source(SourceLocation { info, ranges: vec![Range::lines(1, 1)] });
            Err(Error::user("no such image").with_detail(source).hint("look again"))
        })
    });
    let (client, _, _dir) = start(script).await;
    let (sender, _told) = mpsc::channel(8);
    let answer = client.solve(&request(), Attachables::new(), sender, &CancellationToken::new()).await;
    let e = answer.expect_err("it fails");
    assert_eq!(e.to_string(), "failed to solve: no such image");
    assert_eq!((e.class(), e.hints()), (Class::User, &["look again".to_owned()][..]));
    assert_eq!(e.source_location().map(|l| l.info.filename.as_str()), Some("Dockerfile"));
}

#[tokio::test]
async fn a_cancelled_build_ends_here_and_there() {
    let script: Script = Arc::new(|_, _, tell| {
        Box::pin(async move {
            let _ = tell.send(step("endless"));
            std::future::pending().await
        })
    });
    let (client, dropped, _dir) = start(script).await;
    let (sender, mut told) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let request = request();
    let build = client.solve(&request, Attachables::new(), sender, &cancel);
    let user = async {
        told.recv().await.expect("it began");
        cancel.cancel();
    };
    let (answer, ()) = tokio::join!(build, user);
    assert!(answer.expect_err("it was cancelled").is_canceled());
    dropped.cancelled().await;
}
