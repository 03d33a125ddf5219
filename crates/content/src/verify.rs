//! Reading a blob with doubt.

use std::fs::File;
use std::io::{self, Read};

use oci::Digest;

use crate::Store;
use crate::hash::Hasher;

/// The bytes of a blob, hashed as they are read. The read that comes to the end fails where they are not what the
/// digest says, so nothing is taken for whole before its end.
pub struct Verified {
    file: File,
    digest: Digest,
    /// `None` where there is no doubt, or no more.
    hasher: Option<Hasher>,
    /// Where the blob is set aside if it is damaged.
    store: Option<Store>,
}

impl Verified {
    pub(crate) fn new(file: File, digest: &Digest, store: Option<Store>) -> Self {
        Verified { file, digest: digest.clone(), hasher: Some(Hasher::like(Some(digest))), store }
    }

    /// For a blob that the kernel has still to write to the disk.
    pub(crate) fn in_memory(file: File, digest: &Digest) -> Self {
        Verified { file, digest: digest.clone(), hasher: None, store: None }
    }

    fn damaged(&mut self, why: &str) -> io::Error {
        let mut message = format!("blob {} is damaged in the store{why}", self.digest);
        if let Some(store) = self.store.take() {
            match store.set_aside(&self.digest) {
                Ok(()) => message += "; it was set aside, so try again and it is made or fetched anew",
                Err(e) => tracing::error!("{e}"),
            }
        }
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match self.file.read(buffer) {
            // The disk has lost some of it.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                return Err(self.damaged(&format!(" ({e})")));
            }
            other => other?,
        };
        if n > 0 || buffer.is_empty() {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..n]);
            }
            return Ok(n);
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => Err(self.damaged("")),
            _ => Ok(0),
        }
    }
}
