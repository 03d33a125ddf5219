//! LLBBridge for clients that are their own frontend, as `buildctl build` and `docker buildx build` are.
//!
//! Such a client sends a Solve without work and then calls the bridge of that build, naming it in the metadata of
//! every call.

use engine::{BuildBridge, Engine};
use errdefs::{Error, Result};
use frontend::{Bridge as _, Ref};
use futures_util::stream::Pending;
use proto::gateway::llb_bridge_server::LlbBridge;
use proto::gateway::*;
use proto::worker::WorkerRecord;
use session::grpcerr;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::{caps, convert};

const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// Sends each call to the bridge of its build.
pub(crate) struct Gateway {
    pub(crate) engine: Engine,
    pub(crate) worker: WorkerRecord,
}

impl Gateway {
    async fn bridge(&self, method: &str, metadata: &MetadataMap) -> Result<BuildBridge, Status> {
        let bridge = match build_id(metadata) {
            "" => Err(Error::user("no buildid found in context")),
            id => self.engine.bridge(id).await,
        };
        bridge.map_err(|e| grpcerr::to_status(&e.context(format_args!("forwarding {method}"))))
    }
}

fn build_id(metadata: &MetadataMap) -> &str {
    metadata.get(BUILD_ID).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// An answer as gRPC wants it.
fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|e| grpcerr::to_build_status(&e))
}

#[tonic::async_trait]
impl LlbBridge for Gateway {
    type ExecProcessStream = Pending<Result<ExecMessage, Status>>;

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
        self.bridge("Ping", request.metadata()).await?;
        Ok(Response::new(PongResponse {
            frontend_api_caps: caps::bridge(),
            llb_caps: caps::llb(),
            workers: vec![self.worker.clone()],
        }))
    }

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let bridge = self.bridge("Solve", request.metadata()).await?;
        answer(solve(&bridge, request.into_inner()).await)
    }

    async fn r#return(&self, request: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        self.bridge("Return", request.metadata()).await?;
        let id = build_id(request.metadata()).to_owned();
        let ReturnRequest { result, error } = request.into_inner();
        let result = match error {
            Some(error) => Err(grpcerr::from_rpc(&error)),
            // A result that cannot be taken ends the build too.
            None => convert::build_result(result.unwrap_or_default()),
        };
        answer(self.engine.give_back(&id, result).await.map(|()| ReturnResponse {}))
    }

    async fn inputs(&self, request: Request<InputsRequest>) -> Result<Response<InputsResponse>, Status> {
        let bridge = self.bridge("Inputs", request.metadata()).await?;
        let definitions = bridge.inputs().iter().map(|(name, d)| (name.clone(), d.clone().into())).collect();
        Ok(Response::new(InputsResponse { definitions }))
    }

    async fn resolve_image_config(
        &self,
        request: Request<ResolveImageConfigRequest>,
    ) -> Result<Response<ResolveImageConfigResponse>, Status> {
        let bridge = self.bridge("ResolveImageConfig", request.metadata()).await?;
        answer(resolve_image(&bridge, request.into_inner()).await)
    }

    async fn resolve_source_meta(
        &self,
        request: Request<ResolveSourceMetaRequest>,
    ) -> Result<Response<ResolveSourceMetaResponse>, Status> {
        let bridge = self.bridge("ResolveSourceMeta", request.metadata()).await?;
        answer(resolve_source(&bridge, request.into_inner()).await)
    }

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        let bridge = self.bridge("ReadFile", request.metadata()).await?;
        answer(read_file(&bridge, request.into_inner()).await)
    }

    async fn read_dir(&self, request: Request<ReadDirRequest>) -> Result<Response<ReadDirResponse>, Status> {
        let bridge = self.bridge("ReadDir", request.metadata()).await?;
        answer(read_dir(&bridge, request.into_inner()).await)
    }

    async fn stat_file(
        &self,
        request: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        let bridge = self.bridge("StatFile", request.metadata()).await?;
        answer(stat_file(&bridge, request.into_inner()).await)
    }

    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let bridge = self.bridge("Evaluate", request.metadata()).await?;
        let evaluated = bridge.evaluate(&reference(request.into_inner().r#ref)).await;
        answer(evaluated.map(|()| EvaluateResponse {}))
    }

    async fn warn(&self, request: Request<WarnRequest>) -> Result<Response<WarnResponse>, Status> {
        let bridge = self.bridge("Warn", request.metadata()).await?;
        answer(warn(&bridge, request.into_inner()).await)
    }

    async fn new_container(
        &self,
        _: Request<NewContainerRequest>,
    ) -> Result<Response<NewContainerResponse>, Status> {
        Err(no_containers())
    }

    async fn release_container(
        &self,
        _: Request<ReleaseContainerRequest>,
    ) -> Result<Response<ReleaseContainerResponse>, Status> {
        Err(no_containers())
    }

    async fn exec_process(
        &self,
        _: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        Err(no_containers())
    }

    async fn read_file_container(
        &self,
        _: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        Err(no_containers())
    }

    async fn read_dir_container(
        &self,
        _: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        Err(no_containers())
    }

    async fn stat_file_container(
        &self,
        _: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        Err(no_containers())
    }
}

fn no_containers() -> Status {
    grpcerr::to_status(&Error::unimplemented("containers of a frontend are not supported yet"))
}

/// The engine knows its refs by their id.
fn reference(id: String) -> Ref {
    Ref { id, ..Ref::default() }
}

async fn solve(bridge: &BuildBridge, request: SolveRequest) -> Result<SolveResponse> {
    let form = convert::ResultForm::of(&request);
    let result = bridge.solve(convert::solve_request(request)?).await?;
    convert::solve_response(result, form)
}

async fn resolve_image(
    bridge: &BuildBridge,
    request: ResolveImageConfigRequest,
) -> Result<ResolveImageConfigResponse> {
    let (reference, options) = convert::resolve_image(request)?;
    let image = bridge.resolve_image_config(&reference, options).await?;
    Ok(ResolveImageConfigResponse {
        digest: image.digest.to_string(),
        config: image.config.to_vec(),
        r#ref: image.reference,
    })
}

async fn resolve_source(
    bridge: &BuildBridge,
    request: ResolveSourceMetaRequest,
) -> Result<ResolveSourceMetaResponse> {
    let (source, query) = convert::source_meta(request)?;
    let mut image = None;
    if let Some(convert::ImageQuery { reference, options, wants_config }) = query {
        let found = bridge.resolve_image_config(&reference, options).await?;
        let config = if wants_config { found.config.to_vec() } else { Vec::new() };
        let digest = found.digest.to_string();
        image = Some(ResolveSourceImageResponse { digest, config, attestation_chain: None });
    }
    Ok(ResolveSourceMetaResponse { source: Some(source), image, git: None, http: None })
}

async fn read_file(bridge: &BuildBridge, request: ReadFileRequest) -> Result<ReadFileResponse> {
    let reference = reference(request.r#ref);
    let (path, range) = (convert::path(request.file_path)?, convert::file_range(request.range)?);
    let data = bridge.read_file(&reference, &path, range).await?;
    Ok(ReadFileResponse { data: data.to_vec() })
}

async fn read_dir(bridge: &BuildBridge, request: ReadDirRequest) -> Result<ReadDirResponse> {
    let reference = reference(request.r#ref);
    let (path, include) = (convert::path(request.dir_path)?, convert::path(request.include_pattern)?);
    let entries = bridge.read_dir(&reference, &path, &include).await?;
    Ok(ReadDirResponse { entries: entries.into_iter().map(convert::stat).collect() })
}

async fn stat_file(bridge: &BuildBridge, request: StatFileRequest) -> Result<StatFileResponse> {
    let reference = reference(request.r#ref);
    let info = bridge.stat_file(&reference, &convert::path(request.path)?).await?;
    Ok(StatFileResponse { stat: Some(convert::stat(info)) })
}

async fn warn(bridge: &BuildBridge, request: WarnRequest) -> Result<WarnResponse> {
    let vertex = request.digest.parse();
    let vertex = vertex.map_err(|_| Error::user(format!("invalid digest `{}`", request.digest)))?;
    bridge.warn(&vertex, convert::warning(request)).await?;
    Ok(WarnResponse {})
}
