//! Files from the web (`http://`, `https://`).

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use oci::Digest;
use refs::ImmutableRef;

use crate::context::Context;
use crate::sources::Parts;
use crate::{Key, Source};

#[derive(Default)]
pub struct HttpIndex;

/// What is asked of a URL.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    pub url: String,
    pub checksum: Option<Digest>,
    pub filename: String,
    pub perm: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

pub struct HttpSource {
    options: HttpOptions,
}

impl HttpSource {
    pub fn new(_: Arc<Parts>, _: Arc<HttpIndex>, options: HttpOptions) -> Self {
        HttpSource { options }
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn key(&self, _: &Context, _: usize) -> Result<Key> {
        Err(Error::unimplemented(format!("{}: http sources are not wired yet", self.options.url)))
    }

    async fn snapshot(&self, _: &Context) -> Result<Option<ImmutableRef>> {
        Err(Error::unimplemented("http sources are not wired yet"))
    }
}
