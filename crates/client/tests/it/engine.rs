//! A fake engine: sessions are real, the rest answers what the test says.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Address, Client};
use futures_util::Stream;
use proto::control as pb;
use proto::control::control_server::{Control, ControlServer};
use session::{Hello, Session, Sessions, grpcerr};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer = Result<std::collections::BTreeMap<String, String>, errdefs::Error>;

/// What a build does, given its session and a place for status messages.
pub type Script = Arc<
    dyn Fn(
            pb::SolveRequest,
            Session,
            mpsc::UnboundedSender<pb::StatusResponse>,
        ) -> Pin<Box<dyn Future<Output = Answer> + Send>>
        + Send
        + Sync,
>;

pub struct Engine {
    sessions: Sessions,
    script: Script,
    status: Mutex<Option<mpsc::UnboundedReceiver<pb::StatusResponse>>>,
    teller: Mutex<Option<mpsc::UnboundedSender<pb::StatusResponse>>>,
    /// Cancelled when a build is dropped before its end.
    pub dropped: CancellationToken,
}

/// A client of a fresh engine, with the folder that holds the socket.
pub async fn start(script: Script) -> (Client, CancellationToken, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let (teller, status) = mpsc::unbounded_channel();
    let dropped = CancellationToken::new();
    let engine = Engine {
        sessions: Sessions::new(),
        script,
        status: Mutex::new(Some(status)),
        teller: Mutex::new(Some(teller)),
        dropped: dropped.clone(),
    };
    let server = proto::transport::server().add_service(proto::sized!(ControlServer::new(engine)));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    let client = Client::connect(&Address::Unix(path)).await.expect("connected");
    (client, dropped, dir)
}

#[tonic::async_trait]
impl Control for Engine {
    type PruneStream = Answers<pb::UsageRecord>;
    type StatusStream = Answers<pb::StatusResponse>;
    type SessionStream = Answers<pb::BytesMessage>;
    type ListenBuildHistoryStream = Answers<pb::BuildHistoryEvent>;

    async fn solve(&self, request: Request<pb::SolveRequest>) -> Result<Response<pb::SolveResponse>, Status> {
        let request = request.into_inner();
        let teller = self.teller.lock().expect("not poisoned").take().expect("one build");
        let guard = self.dropped.clone().drop_guard();
        let session = self.sessions.get(&request.session, Duration::from_secs(5)).await;
        let session = session.map_err(|e| grpcerr::to_status(&e))?;
        let answer = (self.script)(request, session, teller).await;
        guard.disarm();
        let exporter_response = answer.map_err(|e| grpcerr::to_status(&e))?;
        Ok(Response::new(pb::SolveResponse { exporter_response }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let status = self.status.lock().expect("not poisoned").take().expect("one build");
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(UnboundedReceiverStream::new(status), Ok))))
    }

    async fn session(
        &self,
        request: Request<Streaming<pb::BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let hello = Hello::from_metadata(request.metadata());
        let (outgoing, messages) = mpsc::channel(16);
        let io = session::tunnel(request.into_inner(), outgoing);
        let sessions = self.sessions.clone();
        tokio::spawn(async move { sessions.serve(io, hello).await });
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(ReceiverStream::new(messages), Ok))))
    }

    async fn prune(&self, request: Request<pb::PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        let count = if request.into_inner().all { 2 } else { 1 };
        let record = |i: i64| pb::UsageRecord { id: format!("r{i}"), size: i, ..pb::UsageRecord::default() };
        Ok(Response::new(Box::pin(tokio_stream::iter((0..count).map(record).map(Ok)))))
    }

    async fn disk_usage(
        &self,
        request: Request<pb::DiskUsageRequest>,
    ) -> Result<Response<pb::DiskUsageResponse>, Status> {
        let filter = request.into_inner().filter.join(";");
        if filter == "bad" {
            return Err(grpcerr::to_status(&errdefs::Error::user("bad filter").hint("try another")));
        }
        let record = pb::UsageRecord {
            id: filter,
            created_at: Some(proto::Timestamp { seconds: 7, nanos: 0 }),
            ..pb::UsageRecord::default()
        };
        Ok(Response::new(pb::DiskUsageResponse { record: vec![record] }))
    }

    async fn list_workers(
        &self,
        _: Request<pb::ListWorkersRequest>,
    ) -> Result<Response<pb::ListWorkersResponse>, Status> {
        let platform =
            proto::pb::Platform { os: "linux".into(), architecture: "amd64".into(), ..Default::default() };
        let record = vec![proto::worker::WorkerRecord {
            id: "w".into(),
            platforms: vec![platform],
            ..Default::default()
        }];
        Ok(Response::new(pb::ListWorkersResponse { record }))
    }

    async fn info(&self, _: Request<pb::InfoRequest>) -> Result<Response<pb::InfoResponse>, Status> {
        Err(Status::unimplemented("info"))
    }

    async fn listen_build_history(
        &self,
        _: Request<pb::BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        Err(Status::unimplemented("history"))
    }

    async fn update_build_history(
        &self,
        _: Request<pb::UpdateBuildHistoryRequest>,
    ) -> Result<Response<pb::UpdateBuildHistoryResponse>, Status> {
        Err(Status::unimplemented("history"))
    }
}
