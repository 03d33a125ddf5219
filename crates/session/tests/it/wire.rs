//! A client and an engine in one process, joined as they are in earnest: a session inside a Control.Session call
//! inside an HTTP/2 connection.

use std::time::Duration;

use errdefs::Result;
use futures_util::stream::{BoxStream, Pending};
use futures_util::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use proto::control::control_client::ControlClient;
use proto::control::control_server::{Control, ControlServer};
use proto::control::*;
use session::{Attachables, Hello, Session, Sessions, grpcerr, tunnel};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// An open session.
pub struct Pair {
    pub sessions: Sessions,
    pub session: Session,
    pub client: JoinHandle<Result<()>>,
}

pub async fn open(offers: Attachables) -> Pair {
    let (client_io, engine_io) = tokio::io::duplex(64 << 10);
    let sessions = Sessions::new();
    tokio::spawn(serve(sessions.clone(), engine_io));
    let client = tokio::spawn(attach(offers, client_io));
    let session = sessions.get("id", Duration::from_secs(10)).await.expect("opens");
    Pair { sessions, session, client }
}

async fn serve(sessions: Sessions, io: DuplexStream) {
    let incoming = stream::iter([Ok::<_, std::io::Error>(io)]).chain(stream::pending());
    let control = proto::sized!(ControlServer::new(Engine(sessions)));
    proto::transport::server().add_service(control).serve_with_incoming(incoming).await.expect("serves");
}

async fn attach(offers: Attachables, io: DuplexStream) -> Result<()> {
    let mut io = Some(TokioIo::new(io));
    let connector = tower::service_fn(move |_| std::future::ready(io.take().ok_or(std::fmt::Error)));
    let channel: Channel =
        proto::transport::endpoint().connect_with_connector(connector).await.expect("connects");
    let (outgoing, messages) = mpsc::channel(8);
    let mut call = Request::new(ReceiverStream::new(messages));
    offers.hello("id", "test", "key").to_metadata(call.metadata_mut());
    let incoming =
        proto::sized!(ControlClient::new(channel)).session(call).await.map_err(grpcerr::from_status)?;
    offers.serve(tunnel(incoming.into_inner(), outgoing)).await
}

/// Knows sessions only.
struct Engine(Sessions);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Control for Engine {
    type SessionStream = BoxStream<'static, Result<BytesMessage, Status>>;
    type PruneStream = Pending<Result<UsageRecord, Status>>;
    type StatusStream = Pending<Result<StatusResponse, Status>>;
    type ListenBuildHistoryStream = Pending<Result<BuildHistoryEvent, Status>>;

    async fn session(&self, call: Request<Streaming<BytesMessage>>) -> Answer<Self::SessionStream> {
        let hello = Hello::from_metadata(call.metadata());
        let (outgoing, messages) = mpsc::channel(8);
        let (sessions, io) = (self.0.clone(), tunnel(call.into_inner(), outgoing));
        tokio::spawn(async move { sessions.serve(io, hello).await });
        Ok(Response::new(ReceiverStream::new(messages).map(Ok).boxed()))
    }

    async fn disk_usage(&self, _: Request<DiskUsageRequest>) -> Answer<DiskUsageResponse> {
        Err(Status::unimplemented(""))
    }

    async fn prune(&self, _: Request<PruneRequest>) -> Answer<Self::PruneStream> {
        Err(Status::unimplemented(""))
    }

    async fn solve(&self, _: Request<SolveRequest>) -> Answer<SolveResponse> {
        Err(Status::unimplemented(""))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<Self::StatusStream> {
        Err(Status::unimplemented(""))
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Answer<ListWorkersResponse> {
        Err(Status::unimplemented(""))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Answer<InfoResponse> {
        Err(Status::unimplemented(""))
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Answer<Self::ListenBuildHistoryStream> {
        Err(Status::unimplemented(""))
    }

    async fn update_build_history(
        &self,
        _: Request<UpdateBuildHistoryRequest>,
    ) -> Answer<UpdateBuildHistoryResponse> {
        Err(Status::unimplemented(""))
    }
}
