//! Reading a blob with doubt.

use std::fs::File;
use std::io::{self, Read};

use oci::Digest;

use crate::hash::Hasher;

/// The bytes of a blob, hashed as they are read. The read that comes to the end fails where they are not what the
/// digest says, so nothing is taken for whole before its end.
pub struct Verified {
    file: File,
    digest: Digest,
    hasher: Option<Hasher>,
}

impl Verified {
    pub(crate) fn new(file: File, digest: &Digest) -> Self {
        Verified { file, digest: digest.clone(), hasher: Some(Hasher::like(Some(digest))) }
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        if n > 0 || buffer.is_empty() {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..n]);
            }
            return Ok(n);
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => {
                let message = format!("blob {} is damaged in the store", self.digest);
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            _ => Ok(0),
        }
    }
}
