//! Looks for damage, and puts it out of the way.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use errdefs::{Result, ResultExt as _};
use oci::Digest;

use crate::Store;

impl Store {
    /// Reads every blob and gives those that are not what their digests say, or that cannot be read.
    pub fn check(&self) -> Result<Vec<Digest>> {
        let mut all = Vec::new();
        self.walk(|digest, _| {
            all.push(digest);
            Ok(())
        })?;
        let (next, damaged) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(digest) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if !self.is_whole(digest) {
                            damaged.lock().unwrap_or_else(PoisonError::into_inner).push(digest.clone());
                        }
                    }
                });
            }
        });
        Ok(damaged.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_whole(&self, digest: &Digest) -> bool {
        let read = self.open_plain(digest).and_then(|mut blob| Ok(io::copy(&mut blob, &mut io::sink())?));
        read.is_ok()
    }

    /// Takes a damaged blob out of the store, even where it is held: it is not there any more for anybody, and who needs
    /// it makes or fetches it anew.
    pub fn set_aside(&self, digest: &Digest) -> Result<()> {
        let held = self.lock_held();
        let name = format!("blob-{}-{}", digest.algorithm(), digest.hex());
        let moved = fsutil::set_aside(&self.path(digest), self.damaged_dir(), &name);
        drop(held);
        let to = match moved {
            // Somebody was quicker.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("failed to set the damaged blob `{digest}` aside"))?,
        };
        tracing::error!("blob {digest} is damaged and was moved to `{}`", to.display());
        self.forget(digest)
    }
}
