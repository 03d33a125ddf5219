//! Writing a blob.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use errdefs::{Class, Code, Error, Result, ResultExt};
use oci::Digest;

use crate::hash::Hasher;
use crate::{Lease, Store};

/// A blob that is being written, hashed in the same pass. Dropping it leaves nothing behind.
#[must_use = "a blob that is not committed is not kept"]
pub struct Ingest {
    store: Store,
    file: File,
    /// Empty once the file is in its place.
    path: PathBuf,
    hasher: Hasher,
    written: u64,
    expected: Option<(Digest, u64)>,
    lease: Option<Lease>,
}

impl Ingest {
    pub(crate) fn new(store: &Store, expected: Option<(Digest, u64)>, lease: Option<Lease>) -> Result<Self> {
        let (file, path) = store.create_ingest()?;
        let hasher = Hasher::like(expected.as_ref().map(|(digest, _)| digest));
        Ok(Ingest { store: store.clone(), file, path, hasher, written: 0, expected, lease })
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Drops the blob. Fails where it is not the one that was expected.
    pub fn check(mut self) -> Result<()> {
        self.finish().map(drop)
    }

    /// Makes the blob visible. Fails where it is not the one that was expected.
    pub fn commit(mut self) -> Result<Digest> {
        let digest = self.finish()?;
        if let Some(lease) = &self.lease {
            lease.hold(&digest);
        }
        self.store
            .put(&self.path, &digest, self.written)
            .with_context(|| format!("failed to store blob `{digest}`"))?;
        self.path.clear();
        Ok(digest)
    }

    fn finish(&mut self) -> Result<Digest> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::like(None));
        let digest = hasher.finish();
        if let Some((expected, size)) = &self.expected {
            if self.written != *size {
                return Err(mismatch(format!("unexpected commit size {}, expected {size}", self.written)));
            }
            if digest != *expected {
                return Err(mismatch(format!("unexpected commit digest {digest}, expected {expected}")));
            }
        }
        Ok(digest)
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((digest, size)) = &self.expected
            && self.written + bytes.len() as u64 > *size
        {
            let message = format!("blob {digest} is longer than the {size} bytes that were announced");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed now is swept at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn mismatch(message: String) -> Error {
    Error::new(Class::Environment, Code::FailedPrecondition, message)
        .hint("the blob was damaged on its way; try again")
}
