//! An image in a registry.

use async_trait::async_trait;
use errdefs::{Error, Result};
use oci::{Descriptor, Reference};
use refs::{BlobProvider, BlobStream};

use crate::context::Context;
use crate::origin::Origin;
use crate::sources::Parts;

pub struct Remote {
    reference: Reference,
}

impl Remote {
    pub fn new(_: &Parts, _: &Context, reference: Reference) -> Self {
        Remote { reference }
    }
}

#[async_trait]
impl Origin for Remote {
    async fn resolve(&self) -> Result<Descriptor> {
        Err(Error::unimplemented(format!("{}: registries are not wired yet", self.reference)))
    }
}

#[async_trait]
impl BlobProvider for Remote {
    async fn open(&self, blob: &Descriptor) -> Result<BlobStream> {
        Err(Error::unimplemented(format!("{}: registries are not wired yet", blob.digest)))
    }
}
