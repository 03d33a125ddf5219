//! Unpacks the archive of a layer into a tree, in overlayfs' form.

mod unpack;

use std::io::{self, Read};
use std::sync::Arc;

use errdefs::Result;
use oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::layer::LayerId;
use crate::meta::{Attrs, FileType};
use crate::store::Store;
use crate::sys;
use crate::view::View;
use fsutil::Decoder;
use unpack::Unpacker;

pub use unpack::attrs as member_attrs;

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
    ///
    /// # Errors
    /// User errors for what is damaged, ends too early or cannot be a layer. Nothing is left behind then.
    pub fn apply(self: &Arc<Self>, tar: impl Read) -> Result<Applied> {
        let stream = Decoder::detect(tar)?;
        let mut stream = Hashing { inner: stream, sha: Sha256::new() };
        let mut unpacker = Unpacker::new(self.new_tree()?, self.opaque_mark());
        let size = unpacker.run(&mut stream)?;
        // What follows the end of the archive counts for the digest, and damage there is damage.
        io::copy(&mut stream, &mut io::sink())?;
        let tree = unpacker.finish()?;
        Ok(Applied {
            diff_id: Digest::from_sha256(stream.sha.finalize().into()),
            layer: tree.commit()?,
            size,
        })
    }

    /// Whether the layer has yet to be [settled](Store::settle).
    pub fn is_unsettled(&self, layer: &LayerId) -> bool {
        self.layer_dir(layer).join("implied").exists()
    }

    /// Gives directories that an archive needed but did not hold the attributes that they have in `base`.
    pub fn settle(self: &Arc<Self>, layer: &LayerId, base: &View) -> Result<()> {
        let layer = self.layer(layer)?;
        let list = layer.dir().join("implied");
        let implied = match std::fs::read(&list) {
            Ok(implied) => implied,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(sys::fail("read", &list, e)),
        };
        for path in implied.split(|&b| b == 0).filter(|path| !path.is_empty()) {
            let Some(found) = base.find(path)?.filter(|found| found.file_type == FileType::Dir) else {
                continue;
            };
            let from = found.layer.real(path);
            if let Some(meta) = sys::lstat(&from)? {
                sys::set_attrs(&layer.real(path), FileType::Dir, &Attrs::of(&meta, sys::xattrs(&from)?))?;
            }
        }
        sys::remove_all(&list)
    }
}

/// Hashes what passes through.
struct Hashing<R> {
    inner: R,
    sha: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.sha.update(&buffer[..n]);
        Ok(n)
    }
}
