//! The Control service.

use std::pin::Pin;
use std::time::Duration;

use engine::Engine;
use errdefs::Result;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use proto::control::control_server::Control;
use proto::control::*;
use proto::worker::{BuildkitVersion, WorkerRecord};
use refs::Filter;
use session::{Hello, Peer, grpcerr};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::metadata::MetadataValue;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use crate::{convert, history};

pub(crate) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Tells clients how far their clock is from the engine's.
const CURRENT_TIMESTAMP: &str = "buildkit-current-timestamp";
/// Pieces of a session on their way to the client.
const TUNNEL_QUEUE: usize = 16;

/// Answers for one engine.
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) version: BuildkitVersion,
    pub(crate) worker: WorkerRecord,
}

impl Service {
    async fn usage(&self, request: DiskUsageRequest) -> Result<DiskUsageResponse> {
        let mut records = self.engine.refs().usage(&Filter::parse(&request.filter)?).await?;
        if let Ok(age @ 1..) = u64::try_from(request.age_limit) {
            let limit = Timestamp::now().checked_sub(Duration::from_nanos(age)).unwrap_or(Timestamp::MIN);
            records.retain(|r| r.last_used_at.is_none_or(|used| used <= limit));
        }
        Ok(DiskUsageResponse { record: records.into_iter().map(convert::usage_record).collect() })
    }
}

/// An answer as gRPC wants it.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|e| grpcerr::to_status(&e))
}

#[tonic::async_trait]
impl Control for Service {
    type PruneStream = Messages<UsageRecord>;
    type StatusStream = Messages<StatusResponse>;
    type SessionStream = Messages<BytesMessage>;
    type ListenBuildHistoryStream = Messages<BuildHistoryEvent>;

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let built = match convert::build_request(request.into_inner()) {
            Ok(build) => self.engine.build(build).await,
            Err(e) => Err(e),
        };
        let response = built.map_err(|e| grpcerr::to_build_status(&e))?;
        Ok(Response::new(SolveResponse { exporter_response: response.exporter }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        let id = &request.get_ref().r#ref;
        let known = self.engine.known_status(id);
        if known.is_none()
            && let Some(messages) =
                history::replay(&self.engine, id).await.map_err(|e| grpcerr::to_status(&e))?
        {
            return Ok(with_clock(messages));
        }
        let reader = match known {
            Some(reader) => Ok(reader),
            None => self.engine.status(id).await,
        };
        let reader = reader.map_err(|e| grpcerr::to_status(&e))?;
        let messages = futures_util::stream::unfold(reader, |mut reader| async {
            let status = reader.next().await?;
            Some((Ok(convert::status_response(status)), reader))
        });
        Ok(with_clock(messages.boxed()))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let hello = Hello::from_metadata(request.metadata());
        let peer = peer(&request);
        let (outgoing, messages) = mpsc::channel(TUNNEL_QUEUE);
        let io = session::tunnel(request.into_inner(), outgoing);
        let sessions = self.engine.sessions().clone();
        // The tunnel's end, on either side, ends this task and with it the stream of the answer.
        tokio::spawn(async move {
            let id = hello.id.clone();
            match sessions.serve_peer(io, hello, peer).await {
                Ok(()) => tracing::debug!(session = id, "session ended"),
                Err(e) => tracing::warn!(session = id, error = %e, "session ended"),
            }
        });
        Ok(Response::new(ReceiverStream::new(messages).map(Ok).boxed()))
    }

    async fn disk_usage(
        &self,
        request: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        answer(self.usage(request.into_inner()).await)
    }

    async fn prune(&self, request: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        let options = convert::prune_options(request.into_inner()).map_err(|e| grpcerr::to_status(&e))?;
        let refs = self.engine.refs().clone();
        let (records, removed) = mpsc::unbounded_channel();
        let outcome = records.clone();
        // What a client that leaves has asked for is still done.
        tokio::spawn(async move {
            let tell = move |record| {
                let _nobody_listens = records.send(Ok(convert::usage_record(record)));
            };
            if let Err(e) = refs.prune(options, tell).await {
                let _nobody_listens = outcome.send(Err(grpcerr::to_status(&e)));
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(removed).boxed()))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        let engine = self.engine.clone();
        let devices = tokio::task::spawn_blocking(move || engine.devices()).await.unwrap_or_default();
        let cdi_devices = devices.into_iter().map(convert::device).collect();
        let record = vec![WorkerRecord { cdi_devices, ..self.worker.clone() }];
        Ok(Response::new(ListWorkersResponse { record }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse { buildkit_version: Some(self.version.clone()) }))
    }

    async fn listen_build_history(
        &self,
        request: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        let query = convert::query(request.into_inner()).map_err(|e| grpcerr::to_status(&e))?;
        let listening = self.engine.history().listen(query).await.map_err(|e| grpcerr::to_status(&e))?;
        let events = futures_util::stream::unfold(listening, |mut listening| async {
            let event = listening.next().await?;
            Some((Ok(convert::history_event(event)), listening))
        });
        Ok(with_clock(events.boxed()))
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        let request = request.into_inner();
        let changed = match convert::change(&request) {
            Ok(change) => self.engine.history().update(&request.r#ref, change).await,
            Err(e) => Err(e),
        };
        answer(changed.map(|()| UpdateBuildHistoryResponse {}))
    }
}

fn with_clock<T>(messages: T) -> Response<T> {
    let mut response = Response::new(messages);
    if let Ok(now) = MetadataValue::try_from(Timestamp::now().to_string()) {
        response.metadata_mut().insert(CURRENT_TIMESTAMP, now);
    }
    response
}

/// Who the kernel says is at the other end; nothing for what is no unix socket.
fn peer<T>(request: &Request<T>) -> Option<Peer> {
    let cred = request.extensions().get::<UdsConnectInfo>()?.peer_cred?;
    Some(Peer { pid: cred.pid()?, uid: cred.uid() })
}
