use std::io::Read;
use std::sync::Arc;

use errdefs::{Error, Result};
use oci::Digest;

use crate::layer::LayerId;
use crate::store::Store;
use crate::view::View;

/// What became of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub layer: LayerId,
    /// The digest of the archive as it is unpacked (OCI image-spec, config.md, "DiffID").
    pub diff_id: Digest,
    /// Bytes of all files in the archive.
    pub size: u64,
}

impl Store {
    /// Unpacks the archive of a layer, which may be compressed, into a tree of its own, in one pass. Before the layer is
    /// first used, [`Store::settle`] is to be called with what lies below it.
    pub fn apply(self: &Arc<Self>, _tar: impl Read) -> Result<Applied> {
        Err(Error::unimplemented("layers are not unpacked yet"))
    }

    /// Gives directories that an archive left out the attributes that they have in `base`.
    pub fn settle(self: &Arc<Self>, _layer: &LayerId, _base: &View) -> Result<()> {
        Ok(())
    }
}
