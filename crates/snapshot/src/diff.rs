use std::io::Write;
use std::sync::Arc;

use errdefs::{Error, Result};

use crate::layer::LayerId;
use crate::store::Store;
use crate::view::View;

impl Store {
    /// Writes the layer as an archive (OCI image-spec, layer.md): what was added and changed against `base`, the
    /// directories that lead there, and whiteouts. The bytes depend on the trees alone.
    pub fn write_diff(self: &Arc<Self>, _base: &View, _layer: &LayerId, _out: &mut dyn Write) -> Result<()> {
        Err(Error::unimplemented("layers are not packed yet"))
    }
}
