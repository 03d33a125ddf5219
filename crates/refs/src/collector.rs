//! Keeps the store within its limits, all the time.

use std::time::{Duration, Instant};

use errdefs::{Error, Result, ResultExt as _};
use tokio::sync::oneshot;

use crate::prune::PruneOptions;
use crate::refs::{Inner, Refs};

/// How long changes are gathered before a look at them.
const SETTLE: Duration = Duration::from_millis(300);
/// How often somebody looks although nothing came: the disk may fill up otherwise, and things grow old.
const PERIOD: Duration = Duration::from_secs(60);
/// A look takes at most one part in this many of a core, so that a large store does not slow builds down.
const SHARE: u32 = 5;
/// How far looks step back behind builds, see setpriority(2).
const NICE: i32 = 15;
/// How often files and blobs are looked for that nothing needs, where no limit calls for it.
const LEFTOVERS: Duration = Duration::from_secs(3600);
/// How long a blob stays that nothing needs: what was resolved for one build serves the next.
const BLOB_AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes what the policies let go, as builds bring new states and use up old ones.
pub struct Collector {
    refs: Refs,
    policies: Vec<PruneOptions>,
}

impl Collector {
    /// The policies are applied in order, each time.
    pub fn new(refs: Refs, policies: Vec<PruneOptions>) -> Self {
        Collector { refs, policies }
    }

    /// Works until it is dropped or the store is closed.
    pub async fn run(self) {
        let mut looked_for_leftovers = Instant::now();
        while !self.refs.0.is_closing() {
            // That a state came is a reason while the build still runs, that one was let go is one after it.
            let _why = tokio::time::timeout(PERIOD, self.refs.0.changed.notified()).await;
            tokio::time::sleep(SETTLE).await;
            let leftovers = looked_for_leftovers.elapsed() > LEFTOVERS;
            if leftovers {
                looked_for_leftovers = Instant::now();
            }
            let began = Instant::now();
            match self.look(leftovers).await {
                Ok(Removed { states: 0, .. }) => {}
                Ok(removed) => tracing::info!(
                    states = removed.states,
                    bytes = removed.bytes,
                    "the store was over its limit: removed what was used least"
                ),
                Err(e) => tracing::warn!("failed to keep the store within its limits: {e}"),
            }
            tokio::time::sleep(began.elapsed() * (SHARE - 1)).await;
        }
    }

    async fn look(&self, leftovers: bool) -> Result<Removed> {
        let (refs, policies) = (self.refs.0.clone(), self.policies.clone());
        behind_builds(move || refs.keep_within(&policies, leftovers)).await
    }
}

/// Works on a thread of its own that steps back where a build wants the processor: the first look counts every file.
async fn behind_builds<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("collector".into()).spawn(move || {
        // Of Linux, for this thread alone. Where that is not allowed, it works as any other.
        let _unchanged = rustix::process::setpriority_process(None, NICE);
        let _nobody_waits = done.send(work());
    });
    thread.context("failed to start a thread")?;
    result.await.unwrap_or_else(|_| Err(Error::internal("the collector ended")))
}

/// What a look removed.
#[derive(Debug, Default)]
struct Removed {
    states: usize,
    bytes: u64,
}

impl Inner {
    fn keep_within(&self, policies: &[PruneOptions], leftovers: bool) -> Result<Removed> {
        let mut removed = Removed::default();
        for policy in policies {
            removed.states += self.prune(policy, |record| removed.bytes += record.size)?;
        }
        if leftovers && !self.is_closing() {
            self.collect_blobs(BLOB_AGE)?;
            if self.snapshots.objects().is_suspect() {
                self.snapshots.objects().collect()?;
            }
        }
        Ok(removed)
    }
}
