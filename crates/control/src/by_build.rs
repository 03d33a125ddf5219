//! LLBBridge for clients that are their own frontend, as `buildctl build` and `docker buildx build` are.
//!
//! Such a client sends a Solve without work and then calls the bridge of that build, naming it in the metadata of
//! every call.

use std::sync::Arc;

use async_trait::async_trait;
use engine::Engine;
use errdefs::{Error, Result};
use gateway::{Find, Session};
use tonic::metadata::MetadataMap;

const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// Finds the build of a call.
pub(crate) struct ByBuild(pub(crate) Engine);

#[async_trait]
impl Find for ByBuild {
    async fn session(&self, metadata: &MetadataMap) -> Result<Arc<Session>> {
        match metadata.get(BUILD_ID).and_then(|v| v.to_str().ok()).unwrap_or_default() {
            "" => Err(Error::user("no buildid found in context")),
            id => self.0.frontend_session(id).await,
        }
    }
}
