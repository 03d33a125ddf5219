//! The gRPC service. Which session a call belongs to is for [`Find`] to say.

use std::sync::Arc;

use ::session::grpcerr;
use async_trait::async_trait;
use errdefs::Result;
use proto::gateway::llb_bridge_server::LlbBridge;
use proto::gateway::*;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::exec;
use crate::session::Session;

/// Finds the session that a call belongs to.
#[async_trait]
pub trait Find: Send + Sync + 'static {
    async fn session(&self, metadata: &MetadataMap) -> Result<Arc<Session>>;
}

/// One session for all calls.
#[async_trait]
impl Find for Arc<Session> {
    async fn session(&self, _: &MetadataMap) -> Result<Arc<Session>> {
        Ok(Arc::clone(self))
    }
}

/// LLBBridge. Sends each call to its session.
pub struct Service<F>(pub F);

impl<F: Find> Service<F> {
    async fn session(&self, method: &str, metadata: &MetadataMap) -> Result<Arc<Session>, Status> {
        let found = self.0.session(metadata).await;
        found.map_err(|e| grpcerr::to_status(&e.context(format_args!("forwarding {method}"))))
    }
}

/// An answer as gRPC wants it.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|e| grpcerr::to_build_status(&e))
}

/// A method that passes its request on, and waits for the answer.
macro_rules! pass_on {
    ($($name:ident, $method:ident, $title:literal: $request:ty => $response:ty;)+) => {
        #[tonic::async_trait]
        impl<F: Find> LlbBridge for Service<F> {
            type ExecProcessStream = ReceiverStream<Result<ExecMessage, Status>>;

            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                let session = self.session($title, request.metadata()).await?;
                answer(session.$method(request.into_inner()).await)
            })+

            async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
                Ok(Response::new(self.session("Ping", request.metadata()).await?.ping()))
            }

            async fn r#return(&self, request: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
                let session = self.session("Return", request.metadata()).await?;
                answer(session.take_return(request.into_inner()))
            }

            async fn inputs(&self, request: Request<InputsRequest>) -> Result<Response<InputsResponse>, Status> {
                Ok(Response::new(self.session("Inputs", request.metadata()).await?.inputs()))
            }

            async fn exec_process(
                &self,
                request: Request<Streaming<ExecMessage>>,
            ) -> Result<Response<Self::ExecProcessStream>, Status> {
                let session = self.session("ExecProcess", request.metadata()).await?;
                Ok(Response::new(exec::serve(session, request.into_inner())))
            }
        }
    };
}

pass_on! {
    solve, solve, "Solve": SolveRequest => SolveResponse;
    resolve_image_config, resolve_image, "ResolveImageConfig": ResolveImageConfigRequest => ResolveImageConfigResponse;
    resolve_source_meta, resolve_source, "ResolveSourceMeta": ResolveSourceMetaRequest => ResolveSourceMetaResponse;
    read_file, read_file, "ReadFile": ReadFileRequest => ReadFileResponse;
    read_dir, read_dir, "ReadDir": ReadDirRequest => ReadDirResponse;
    stat_file, stat_file, "StatFile": StatFileRequest => StatFileResponse;
    evaluate, evaluate, "Evaluate": EvaluateRequest => EvaluateResponse;
    warn, warn, "Warn": WarnRequest => WarnResponse;
    new_container, new_container, "NewContainer": NewContainerRequest => NewContainerResponse;
    release_container, release_container, "ReleaseContainer": ReleaseContainerRequest => ReleaseContainerResponse;
    read_file_container, read_container_file, "ReadFileContainer": ReadFileRequest => ReadFileResponse;
    read_dir_container, read_container_dir, "ReadDirContainer": ReadDirRequest => ReadDirResponse;
    stat_file_container, stat_container_file, "StatFileContainer": StatFileRequest => StatFileResponse;
}
