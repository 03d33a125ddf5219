//! What the exporters of images have in common in their attributes.

use errdefs::{Error, Result};
use refs::{Compression, CompressionKind};

use crate::Exportable;
use crate::annotations::Group;
use crate::attrs::Attrs;
use crate::epoch::Epoch;
use crate::exportable::IMAGE_NAME;

/// How an image is made.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// Separated by commas; `*` is what the frontend says.
    pub name: String,
    pub compression: Compression,
    /// Media types are OCI's rather than Docker's.
    pub oci_types: bool,
    pub annotations: Group,
    pub epoch: Epoch,
}

impl ImageOptions {
    pub fn take(attrs: &mut Attrs) -> Result<Self> {
        let mut annotations = Group::default();
        for (key, value) in attrs.take_all(|key| key.starts_with("annotation")) {
            if !annotations.add(&key, &value)? {
                return Err(Error::user(format!("invalid annotation key `{key}`")));
            }
        }
        let epoch = Epoch::take(attrs)?;
        let compression = compression(attrs)?;
        let name = attrs.take("name").unwrap_or_default();
        let oci_types = attrs.bool("oci-mediatypes")?.unwrap_or(true);
        let oci_artifact = attrs.bool("oci-artifact")?;
        // It says how attestations hang on, of which there are none.
        attrs.bool("attestation-inline")?;
        for later in ["prefer-nondist-layers", "rewrite-timestamp"] {
            attrs.refuse(later)?;
        }
        if !oci_types && compression.kind == CompressionKind::Zstd {
            return Err(conflict("compression=zstd"));
        }
        if !oci_types && oci_artifact == Some(true) {
            return Err(conflict("oci-artifact=true"));
        }
        Ok(ImageOptions { name, compression, oci_types, annotations, epoch })
    }

    /// The names, with those of the frontend where it is asked for them.
    pub fn name_for(&self, result: &Exportable) -> String {
        match result.metadata.get(IMAGE_NAME) {
            Some(name) if self.name == "*" => String::from_utf8_lossy(name).into_owned(),
            _ => self.name.clone(),
        }
    }
}

fn conflict(option: &str) -> Error {
    Error::user(format!("exporter option \"{option}\" conflicts with \"oci-mediatypes=false\""))
}

fn compression(attrs: &mut Attrs) -> Result<Compression> {
    let [kind, level, force] =
        ["compression", "compression-level", "force-compression"].map(|key| attrs.take(key));
    Compression::parse(kind.as_deref(), level.as_deref(), force.as_deref())
}
