//! The contract of an exporter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use errdefs::{Error, Result};
use futures_util::future::BoxFuture;
use oci::Descriptor;
use progress::Step;
use refs::{Compression, LayerBlob};
use session::{Session, Sessions};
use tokio_util::sync::CancellationToken;

use crate::Exportable;

/// How long a session that is still connecting is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the client is told: `containerimage.digest`, `image.name` and the like.
pub type Response = BTreeMap<String, String>;

/// Takes the result of a build somewhere.
#[async_trait]
pub trait Exporter: Send + Sync {
    /// The name of the vertex that shows the work, as "exporting to image".
    fn name(&self) -> &'static str;

    /// Makes the artifact. What fails or is cancelled leaves nothing half-written at its destination.
    async fn export(&self, result: &Exportable, cx: &ExportContext) -> Result<Exported>;
}

/// What an exporter may use of the build. Cheap to clone.
#[derive(Clone)]
pub struct ExportContext {
    /// The place of the exporter in the request, by which the session knows where its output goes.
    pub index: u32,
    pub sessions: Sessions,
    /// The session of the client that asked for the build.
    pub session_id: String,
    /// The vertex that shows the work; the caller starts and ends it.
    pub step: Step,
    pub cancel: CancellationToken,
    /// The cache that goes into the configs of images, if one was asked for.
    pub inline_cache: Option<Arc<dyn InlineCache>>,
}

/// Tells what the config of an image says of the build cache.
#[async_trait]
pub trait InlineCache: Send + Sync {
    /// The records for the image of a platform that has these layers; `None` where there are none.
    async fn records(
        &self,
        platform: &str,
        layers: &[LayerBlob],
        compression: Compression,
    ) -> Result<Option<Vec<u8>>>;
}

impl ExportContext {
    /// The client's session.
    pub async fn session(&self) -> Result<Session> {
        self.sessions.get(&self.session_id, PATIENCE).await
    }

    /// Runs work that blocks. Dropping the future asks the work to end, through the token that it is given.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cancel = self.cancel.child_token();
        let _cancel_when_dropped = cancel.clone().drop_guard();
        let done = tokio::task::spawn_blocking(move || work(&cancel)).await;
        done.unwrap_or_else(|e| Err(Error::internal(format!("an exporter ended unexpectedly: {e}"))))
    }
}

/// What an exporter made.
#[derive(Default)]
pub struct Exported {
    pub response: Response,
    /// The image, where it is one.
    pub descriptor: Option<Descriptor>,
    /// The statements of an image in the content store, by platform id.
    pub attestations: BTreeMap<String, Vec<Descriptor>>,
    /// What is left to be done.
    pub finalize: Option<Finalize>,
}

/// Work that is left once all exporters have made their artifacts: pushing.
pub struct Finalize(Box<dyn FnOnce(ExportContext) -> BoxFuture<'static, Result<()>> + Send>);

impl Finalize {
    pub(crate) fn new<F>(work: impl FnOnce(ExportContext) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Finalize(Box::new(|cx| Box::pin(work(cx))))
    }

    /// Does it, under a vertex of the name of the exporter.
    pub async fn run(self, cx: ExportContext) -> Result<()> {
        (self.0)(cx).await
    }
}
