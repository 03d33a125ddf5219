//! Where a cache is exported to.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::Result;
use oci::Descriptor;
use progress::Step;
use registry::BlobSource;

/// Takes the parts of a cache. The manifest comes last, so that nobody sees a cache that is not whole.
#[async_trait]
pub trait Target: Send + Sync {
    /// The name of the vertex that shows the work.
    fn name(&self) -> &'static str;

    /// Tells in a step from now on what has to be waited for.
    fn show_in(&mut self, _step: &Step) {}

    /// Takes a layer or the config. `source` is read only where the blob is not there already.
    async fn put_blob(&self, blob: &Descriptor, source: Arc<dyn BlobSource>) -> Result<()>;

    async fn put_manifest(&self, manifest: &Descriptor, bytes: Bytes) -> Result<()>;
}
