use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::Result;
use llb::{Definition, SourceOp};
use oci::{Digest, Platform};

use crate::{
    Bridge, BuildResult, Container, ContainerRequest, FileInfo, FileRange, Ref, ResolveOptions,
    ResolvedImage, ResolvedSource, SolveRequest, SourceOptions, Warning, Worker,
};

/// Stands before a [`Bridge`] and is one itself: what it does not answer in its own way goes on to the other.
pub trait Scope: Send + Sync {
    fn bridge(&self) -> &dyn Bridge;

    /// As [`Bridge::inputs`].
    fn own_inputs(&self) -> BTreeMap<String, Definition> {
        self.bridge().inputs()
    }

    /// Changes a request before it is solved.
    fn before_solve(&self, request: SolveRequest) -> SolveRequest {
        request
    }
}

#[async_trait]
impl<T: Scope> Bridge for T {
    fn session_id(&self) -> &str {
        self.bridge().session_id()
    }

    fn platforms(&self) -> Vec<Platform> {
        self.bridge().platforms()
    }

    fn worker(&self) -> Worker {
        self.bridge().worker()
    }

    fn inputs(&self) -> BTreeMap<String, Definition> {
        self.own_inputs()
    }

    async fn resolve_image_config(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        self.bridge().resolve_image_config(reference, options).await
    }

    async fn resolve_source(&self, source: &SourceOp, options: SourceOptions) -> Result<ResolvedSource> {
        self.bridge().resolve_source(source, options).await
    }

    async fn solve(&self, request: SolveRequest) -> Result<BuildResult> {
        self.bridge().solve(self.before_solve(request)).await
    }

    async fn evaluate(&self, reference: &Ref) -> Result<()> {
        self.bridge().evaluate(reference).await
    }

    async fn read_file(&self, reference: &Ref, path: &str, range: Option<FileRange>) -> Result<Bytes> {
        self.bridge().read_file(reference, path, range).await
    }

    async fn read_dir(&self, reference: &Ref, path: &str, include: &str) -> Result<Vec<FileInfo>> {
        self.bridge().read_dir(reference, path, include).await
    }

    async fn stat_file(&self, reference: &Ref, path: &str) -> Result<FileInfo> {
        self.bridge().stat_file(reference, path).await
    }

    async fn warn(&self, vertex: &Digest, warning: Warning) -> Result<()> {
        self.bridge().warn(vertex, warning).await
    }

    async fn new_container(&self, request: ContainerRequest) -> Result<Arc<dyn Container>> {
        self.bridge().new_container(request).await
    }
}
