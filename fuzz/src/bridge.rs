//! A bridge that has nothing, behind the real service.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::*;
use http_body_util::{BodyExt as _, Full};
use oci::{Digest, Platform};
use prost::Message;
use proto::gateway as wire;
use proto::gateway::llb_bridge_server::LlbBridgeServer;
use tower::ServiceExt as _;

const METHODS: [&str; 17] = [
    "ResolveImageConfig",
    "ResolveSourceMeta",
    "Solve",
    "ReadFile",
    "ReadDir",
    "StatFile",
    "Evaluate",
    "Ping",
    "Return",
    "Inputs",
    "NewContainer",
    "ReleaseContainer",
    "ExecProcess",
    "Warn",
    "ReadFileContainer",
    "ReadDirContainer",
    "StatFileContainer",
];

/// Sends requests one after the other: each is the number of a method, a length of two bytes, and a message.
pub async fn ask(mut bytes: &[u8]) {
    let (session, _returned) = gateway::Session::new(Arc::new(Nothing));
    let service = LlbBridgeServer::new(gateway::Service(session.clone()));
    while let [method, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (message, others) = rest.split_at(len);
        bytes = others;
        let method = METHODS[usize::from(*method) % METHODS.len()];
        let mut body = vec![0];
        body.extend_from_slice(&(len as u32).to_be_bytes());
        body.extend_from_slice(message);
        let request = http::Request::post(format!("/moby.buildkit.v1.frontend.LLBBridge/{method}"))
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from(body)));
        let Ok(request) = request else { continue };
        let Ok(response) = service.clone().oneshot(request).await;
        let status = response.headers().get("grpc-status").cloned();
        let body = response.into_body().collect().await;
        let told = body.as_ref().ok().and_then(|body| body.trailers()).and_then(|all| all.get("grpc-status"));
        assert!(status.is_some() || told.is_some(), "{method} ends without a status");
    }
    session.close().await;
}

/// One request of every kind.
pub fn sample() -> Vec<u8> {
    let source = proto::pb::SourceOp { identifier: "docker-image://busybox".into(), ..Default::default() };
    let meta = proto::pb::Meta { args: vec!["sh".into()], cwd: "/".into(), ..Default::default() };
    let init = wire::InitMessage {
        container_id: "c".into(),
        meta: Some(meta),
        fds: vec![0, 1],
        ..Default::default()
    };
    let exec =
        wire::ExecMessage { process_id: "p".into(), input: Some(wire::exec_message::Input::Init(init)) };
    let mount = proto::pb::Mount { dest: "/".into(), result_id: "ref".into(), ..Default::default() };
    let container =
        wire::NewContainerRequest { container_id: "c".into(), mounts: vec![mount], ..Default::default() };
    let solve = wire::SolveRequest { frontend: "dockerfile.v0".into(), r#final: true, ..Default::default() };
    let file = wire::ReadFileRequest { file_path: b"f".to_vec(), r#ref: "ref".into(), ..Default::default() };
    let dir = wire::ReadDirRequest {
        dir_path: b"d".to_vec(),
        include_pattern: b"*".to_vec(),
        r#ref: "ref".into(),
        ..Default::default()
    };
    let warning =
        wire::WarnRequest { digest: Digest::of("v").to_string(), short: b"w".to_vec(), ..Default::default() };
    let messages = [
        (
            0,
            wire::ResolveImageConfigRequest { r#ref: "busybox".into(), ..Default::default() }.encode_to_vec(),
        ),
        (1, wire::ResolveSourceMetaRequest { source: Some(source), ..Default::default() }.encode_to_vec()),
        (2, solve.encode_to_vec()),
        (3, file.encode_to_vec()),
        (4, dir.encode_to_vec()),
        (10, container.encode_to_vec()),
        (12, exec.encode_to_vec()),
        (13, warning.encode_to_vec()),
        (8, wire::ReturnRequest::default().encode_to_vec()),
    ];
    let frame = |(method, message): (u8, Vec<u8>)| {
        let len = (message.len() as u16).to_be_bytes();
        [&[method], &len[..], &message].concat()
    };
    messages.into_iter().flat_map(frame).collect()
}

struct Nothing;

fn none<T>() -> Result<T> {
    Err(Error::not_found("there is nothing"))
}

#[async_trait]
impl Bridge for Nothing {
    fn session_id(&self) -> &str {
        ""
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::host()]
    }

    async fn resolve_image_config(&self, _: &str, _: ResolveOptions) -> Result<ResolvedImage> {
        none()
    }

    async fn resolve_source(&self, source: &llb::SourceOp, _: SourceOptions) -> Result<ResolvedSource> {
        Ok(ResolvedSource { source: source.clone(), meta: SourceMeta::Plain })
    }

    async fn solve(&self, request: SolveRequest) -> Result<BuildResult> {
        let one = Ref { id: "ref".into(), definition: Arc::new(request.definition.unwrap_or_default()) };
        Ok(BuildResult { refs: Refs::Single(one), ..BuildResult::default() })
    }

    async fn evaluate(&self, _: &Ref) -> Result<()> {
        Ok(())
    }

    async fn read_file(&self, _: &Ref, _: &str, _: Option<FileRange>) -> Result<Bytes> {
        none()
    }

    async fn read_dir(&self, _: &Ref, _: &str, _: &str) -> Result<Vec<FileInfo>> {
        Ok(Vec::new())
    }

    async fn stat_file(&self, _: &Ref, _: &str) -> Result<FileInfo> {
        none()
    }

    async fn warn(&self, _: &Digest, _: Warning) -> Result<()> {
        Ok(())
    }

    async fn new_container(&self, _: ContainerRequest) -> Result<Arc<dyn Container>> {
        none()
    }
}
