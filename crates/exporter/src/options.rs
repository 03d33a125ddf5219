//! What the exporters of images have in common in their attributes.

use std::str::FromStr;

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
    /// Files in layers, too, are not later than the epoch.
    pub rewrite_timestamp: bool,
    /// Layers that have their place elsewhere stay there, rather than to be pushed.
    pub prefer_foreign: bool,
    /// Attestations hang on images as OCI artifacts, rather than as images of old.
    pub artifacts: bool,
    /// Also where all attestations are for registries alone.
    pub inline: bool,
    pub storage: AttestationStorage,
}

/// Where what is said of an image stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttestationStorage {
    /// In the index of the image, beside it.
    #[default]
    Index,
    /// On the image, as its referrers (OCI distribution-spec, "Listing Referrers"). An image of one platform has no index.
    Referrers,
    Both,
}

impl AttestationStorage {
    pub fn in_index(self) -> bool {
        self != AttestationStorage::Referrers
    }

    pub fn as_referrers(self) -> bool {
        self != AttestationStorage::Index
    }
}

impl FromStr for AttestationStorage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "index" => Ok(AttestationStorage::Index),
            "referrers" => Ok(AttestationStorage::Referrers),
            "both" => Ok(AttestationStorage::Both),
            other => Err(Error::user(format!("invalid attestation-storage `{other}`"))
                .hint("it is one of `index`, `referrers` and `both`")),
        }
    }
}

impl ImageOptions {
    /// `inline` is what holds where the attributes say nothing.
    pub fn take(attrs: &mut Attrs, inline: bool) -> Result<Self> {
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
        let inline = attrs.bool("attestation-inline")?.unwrap_or(inline);
        let storage: AttestationStorage =
            attrs.take("attestation-storage").map_or(Ok(Default::default()), |text| text.parse())?;
        let rewrite_timestamp = attrs.bool("rewrite-timestamp")?.unwrap_or(false);
        let prefer_foreign = attrs.bool("prefer-nondist-layers")?.unwrap_or(false);
        if !oci_types && compression.kind == CompressionKind::Estargz {
            return Err(Error::user(
                "exporter option \"compression=estargz\" conflicts with \"oci-mediatypes=false\"",
            ));
        }
        if !oci_types && oci_artifact == Some(true) {
            return Err(Error::user(
                "exporter option \"oci-artifact=true\" conflicts with \"oci-mediatypes=false\"",
            ));
        }
        if storage.as_referrers() && !oci_artifact.unwrap_or(oci_types) {
            return Err(Error::user(
                "referrers are OCI artifacts: \"attestation-storage\" conflicts with \"oci-artifact=false\" and \"oci-mediatypes=false\"",
            ));
        }
        Ok(ImageOptions {
            name,
            compression,
            oci_types,
            annotations,
            epoch,
            rewrite_timestamp,
            prefer_foreign,
            artifacts: oci_artifact.unwrap_or(oci_types),
            inline,
            storage,
        })
    }

    /// The names, with those of the frontend where it is asked for them.
    pub fn name_for(&self, result: &Exportable) -> String {
        match result.metadata.get(IMAGE_NAME) {
            Some(name) if self.name == "*" => String::from_utf8_lossy(name).into_owned(),
            _ => self.name.clone(),
        }
    }
}

fn compression(attrs: &mut Attrs) -> Result<Compression> {
    let [kind, level, force] =
        ["compression", "compression-level", "force-compression"].map(|key| attrs.take(key));
    Compression::parse(kind.as_deref(), level.as_deref(), force.as_deref())
}
