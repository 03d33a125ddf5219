//! Finding exporters by their type.

use std::collections::BTreeMap;

use archive::Variant;
use errdefs::{Error, Result};
use oci::{Descriptor, Reference};
use refs::Refs;
use registry::Registry;

use crate::commit::Image;
use crate::context::{ExportContext, Exporter};
use crate::fingerprint::Fingerprint;
use crate::image::NamedImage;
use crate::layout::Layout;
use crate::local::Local;
use crate::push::Push;
use crate::tarball::Tarball;

/// All kinds of exporters.
pub struct Exporters {
    refs: Refs,
    registry: Registry,
}

impl Exporters {
    /// `registry` is where images are pushed to, with the credentials of each build's client.
    pub fn new(refs: Refs, registry: Registry) -> Self {
        Exporters { refs, registry }
    }

    /// What an exporter of a type would make, with its attributes.
    pub fn fingerprint(&self, kind: &str, attrs: &BTreeMap<String, String>) -> Result<Fingerprint> {
        Fingerprint::resolve(&self.refs, kind, attrs)
    }

    /// The exporter of a type, with attributes as clients give them. An attribute that is not known, has no meaning or
    /// is not there yet is an error.
    pub fn resolve(&self, kind: &str, attrs: &BTreeMap<String, String>) -> Result<Box<dyn Exporter>> {
        Ok(match kind {
            "image" => Box::new(NamedImage::resolve(&self.refs, &self.registry, attrs)?),
            "oci" => Box::new(Layout::resolve(&self.refs, Variant::Oci, attrs)?),
            "docker" => Box::new(Layout::resolve(&self.refs, Variant::Docker, attrs)?),
            "local" => Box::new(Local::resolve(attrs)?),
            "tar" => Box::new(Tarball::resolve(attrs)?),
            other => return Err(Error::not_found(format!("exporter {other:?} could not be found"))),
        })
    }

    /// Pushes an image of the store, kept there by `lease`, to the registry of `name` and under its tag, in the name of
    /// the client.
    pub async fn push(
        &self,
        image: &Descriptor,
        lease: content::Lease,
        name: &Reference,
        cx: &ExportContext,
    ) -> Result<()> {
        let push = Push::new(&self.refs, &self.registry, false, Image::stored(image, lease), cx).await?;
        push.image(&name.to_string(), false).await
    }
}
