//! The bridge of one frontend on the wire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Code, Error, Result};
use frontend::{Bridge, BuildResult, Container, Ref, SolveRequest as Solve};
use futures_util::future::join_all;
use proto::gateway::*;
use session::grpcerr;
use tokio::sync::oneshot;

use crate::{caps, convert, policy};

/// One frontend's calls. Its containers end with it.
pub struct Session {
    bridge: Arc<dyn Bridge>,
    containers: Mutex<HashMap<String, Arc<dyn Container>>>,
    /// Takes what the frontend returns.
    returns: Mutex<Option<oneshot::Sender<Result<BuildResult>>>>,
}

impl Session {
    /// A session, and where the result comes out.
    pub fn new(bridge: Arc<dyn Bridge>) -> (Arc<Self>, oneshot::Receiver<Result<BuildResult>>) {
        let (returns, returned) = oneshot::channel();
        let returns = Mutex::new(Some(returns));
        (Arc::new(Session { bridge, containers: Mutex::default(), returns }), returned)
    }

    /// Ends the containers that the frontend has not released.
    pub async fn close(&self) {
        let left: Vec<_> = self.table().drain().map(|(_, container)| container).collect();
        // How they end is nobody's concern any more.
        let _ = join_all(left.iter().map(|container| container.release())).await;
    }

    pub(crate) fn ping(&self) -> PongResponse {
        PongResponse {
            frontend_api_caps: caps::bridge(),
            llb_caps: caps::llb(),
            workers: vec![convert::worker(self.bridge.worker())],
        }
    }

    pub(crate) async fn solve(&self, request: SolveRequest) -> Result<SolveResponse> {
        let form = convert::ResultForm::of(&request);
        let last = request.r#final.then(|| convert::exporter_attrs(&request.exporter_attr)).transpose()?;
        let request: Solve = convert::solve_request(request)?;
        let result = self.bridge.solve(request).await?;
        if let Some(attrs) = last {
            let mut result = result.clone();
            let own = attrs.into_iter().filter(|(key, _)| !result.metadata.contains_key(key));
            let own: Vec<_> = own.collect();
            result.metadata.extend(own);
            self.give_back(Ok(result))?;
        }
        convert::solve_response(result, form)
    }

    pub(crate) fn take_return(&self, request: ReturnRequest) -> Result<ReturnResponse> {
        let ReturnRequest { result, error } = request;
        let result = match error {
            Some(error) => Err(grpcerr::from_rpc(&error)),
            // A result that cannot be taken ends the build too.
            None => convert::build_result(result.unwrap_or_default()),
        };
        self.give_back(result).map(|()| ReturnResponse {})
    }

    fn give_back(&self, result: Result<BuildResult>) -> Result<()> {
        let returns = self.returns.lock().unwrap_or_else(PoisonError::into_inner).take();
        let returns = returns.ok_or_else(|| Error::user("gateway result is already set"))?;
        // A build that has ended meanwhile does not want it.
        let _ = returns.send(result);
        Ok(())
    }

    pub(crate) fn inputs(&self) -> InputsResponse {
        let definitions = self.bridge.inputs().into_iter().map(|(name, d)| (name, d.into()));
        InputsResponse { definitions: definitions.collect() }
    }

    pub(crate) async fn resolve_image(
        &self,
        request: ResolveImageConfigRequest,
    ) -> Result<ResolveImageConfigResponse> {
        let (reference, options) = convert::resolve_image(request)?;
        let image = self.bridge.resolve_image_config(&reference, options).await?;
        Ok(ResolveImageConfigResponse {
            digest: image.digest.to_string(),
            config: image.config.to_vec(),
            r#ref: image.reference,
        })
    }

    pub(crate) async fn resolve_source(
        &self,
        request: ResolveSourceMetaRequest,
    ) -> Result<ResolveSourceMetaResponse> {
        policy::meta(&*self.bridge, request).await
    }

    pub(crate) async fn read_file(&self, request: ReadFileRequest) -> Result<ReadFileResponse> {
        let (path, range) = (convert::path(request.file_path)?, convert::file_range(request.range)?);
        let data = self.bridge.read_file(&reference(request.r#ref), &path, range).await?;
        Ok(ReadFileResponse { data: data.to_vec() })
    }

    pub(crate) async fn read_dir(&self, request: ReadDirRequest) -> Result<ReadDirResponse> {
        let (path, include) = (convert::path(request.dir_path)?, convert::path(request.include_pattern)?);
        let entries = self.bridge.read_dir(&reference(request.r#ref), &path, &include).await?;
        Ok(ReadDirResponse { entries: entries.into_iter().map(convert::stat).collect() })
    }

    pub(crate) async fn stat_file(&self, request: StatFileRequest) -> Result<StatFileResponse> {
        let info = self.bridge.stat_file(&reference(request.r#ref), &convert::path(request.path)?).await?;
        Ok(StatFileResponse { stat: Some(convert::stat(info)) })
    }

    pub(crate) async fn evaluate(&self, request: EvaluateRequest) -> Result<EvaluateResponse> {
        self.bridge.evaluate(&reference(request.r#ref)).await.map(|()| EvaluateResponse {})
    }

    pub(crate) async fn warn(&self, request: WarnRequest) -> Result<WarnResponse> {
        let vertex = request.digest.parse();
        let vertex = vertex.map_err(|_| Error::user(format!("invalid digest `{}`", request.digest)))?;
        self.bridge.warn(&vertex, convert::warning(request)).await?;
        Ok(WarnResponse {})
    }

    pub(crate) async fn new_container(&self, request: NewContainerRequest) -> Result<NewContainerResponse> {
        let (id, request) = convert::container_request(request)?;
        let taken = || Error::user(format!("Container {id} already exists")).with_code(Code::AlreadyExists);
        if self.table().contains_key(&id) {
            return Err(taken());
        }
        let container = self.bridge.new_container(request).await?;
        let clash = match self.table().entry(id.clone()) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(container);
                None
            }
            // Somebody was faster.
            std::collections::hash_map::Entry::Occupied(_) => Some(container),
        };
        match clash {
            None => Ok(NewContainerResponse {}),
            Some(container) => {
                container.release().await?;
                Err(taken())
            }
        }
    }

    pub(crate) async fn release_container(
        &self,
        request: ReleaseContainerRequest,
    ) -> Result<ReleaseContainerResponse> {
        let id = request.container_id;
        let container = self.table().remove(&id);
        let container = container.ok_or_else(|| unknown(&id))?;
        container.release().await.map(|()| ReleaseContainerResponse {})
    }

    pub(crate) async fn read_container_file(&self, request: ReadFileRequest) -> Result<ReadFileResponse> {
        let (path, range) = (convert::path(request.file_path)?, convert::file_range(request.range)?);
        let (container, mount) = self.place(&request.r#ref, request.mount_index)?;
        let data = container.read_file(mount, &path, range).await?;
        Ok(ReadFileResponse { data: data.to_vec() })
    }

    pub(crate) async fn read_container_dir(&self, request: ReadDirRequest) -> Result<ReadDirResponse> {
        let (path, include) = (convert::path(request.dir_path)?, convert::path(request.include_pattern)?);
        let (container, mount) = self.place(&request.r#ref, request.mount_index)?;
        let entries = container.read_dir(mount, &path, &include).await?;
        Ok(ReadDirResponse { entries: entries.into_iter().map(convert::stat).collect() })
    }

    pub(crate) async fn stat_container_file(&self, request: StatFileRequest) -> Result<StatFileResponse> {
        let path = convert::path(request.path)?;
        let (container, mount) = self.place(&request.r#ref, request.mount_index)?;
        Ok(StatFileResponse { stat: Some(convert::stat(container.stat_file(mount, &path).await?)) })
    }

    fn place(&self, id: &str, mount: i32) -> Result<(Arc<dyn Container>, usize)> {
        let container = self.container(id)?;
        let mount = usize::try_from(mount);
        Ok((container, mount.map_err(|_| Error::user("a mount index cannot be negative"))?))
    }

    pub(crate) fn container(&self, id: &str) -> Result<Arc<dyn Container>> {
        self.table().get(id).cloned().ok_or_else(|| unknown(id))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("container {id:?} previously released or not created"))
}

/// The engine knows its refs by their id.
fn reference(id: String) -> Ref {
    Ref { id, ..Ref::default() }
}
