//! All kinds of sources.

use std::sync::Arc;

use errdefs::{Error, Result};
use frontend::{ResolveOptions, ResolvedImage};
use llb::SourceOp;
use oci::Platform;
use redb::Database;
use refs::Refs;
use registry::Registry;

use crate::{Context, SourceInstance};

/// What sources work with.
pub struct Parts {
    pub refs: Arc<Refs>,
    pub snapshots: Arc<snapshot::Store>,
    pub content: content::Store,
    pub registry: Registry,
    pub db: Arc<Database>,
}

/// Makes sources of ops.
pub struct Sources {
    #[expect(dead_code)]
    parts: Arc<Parts>,
}

impl Sources {
    pub fn new(parts: Parts) -> Result<Self> {
        Ok(Sources { parts: Arc::new(parts) })
    }

    /// The source that an op names. Nothing is fetched yet.
    pub fn identify(&self, op: &SourceOp, _platform: Option<&Platform>) -> Result<Box<dyn SourceInstance>> {
        Err(Error::unimplemented(format!("source `{}` is not there yet", op.identifier)))
    }

    /// Finds what an image reference stands for, and the config of its image for the platform.
    pub async fn resolve_image_config(
        &self,
        reference: &str,
        _options: &ResolveOptions,
        _cx: &Context,
    ) -> Result<ResolvedImage> {
        Err(Error::unimplemented(format!("image `{reference}` cannot be resolved yet")))
    }
}
