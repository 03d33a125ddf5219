//! Tells whether containers of an engine that died still run.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use errdefs::{Result, ResultExt as _};
use rustix::fs::{FlockOperation, flock};

/// Containers end with their engine, but what the kernel takes apart may be large.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lock that the engine, its helper and all supervisors share: it is free when the last of them has ended. Containers
/// write into the store, so nobody may clear it up before.
pub(crate) struct Alive(File);

impl Alive {
    /// Takes the lock once nobody of an earlier engine holds it any more.
    pub fn take(state_dir: &Path) -> Result<Alive> {
        let path = state_dir.join("alive");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("failed to open `{}`", path.display()))?;
        let began = Instant::now();
        while let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if e != rustix::io::Errno::WOULDBLOCK {
                return Err(std::io::Error::from(e))
                    .with_context(|| format!("failed to lock `{}`", path.display()));
            }
            if began.elapsed() > PATIENCE {
                tracing::warn!("containers of an earlier engine do not end; going on without");
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Alive(file))
    }

    /// For the helper, as its standard output, to which it never writes: each process that it forks has it too, and a
    /// container gets another.
    pub fn share(&self) -> Result<Stdio> {
        Ok(self.0.try_clone().context("failed to share a lock")?.into())
    }
}
