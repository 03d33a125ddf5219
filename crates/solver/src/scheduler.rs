//! Carries out the core's commands on tokio, and sends back what came of them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use progress::Sink;

use crate::job::Job;
use crate::keys::KeyStore;
use crate::op::Domain;
use crate::results::ResultStore;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many ops of [`ParallelClass::Limited`](crate::ParallelClass) may run at a time; `None` is no limit.
    pub max_parallelism: Option<NonZeroUsize>,
}

/// The graph of everything that is being built. Cheap to clone.
pub struct Scheduler<D: Domain> {
    _d: std::marker::PhantomData<D>,
}

impl<D: Domain> Scheduler<D> {
    /// Starts the engine. Must be called inside a tokio runtime.
    pub fn new(
        _keys: Arc<dyn KeyStore>,
        _results: Arc<dyn ResultStore<D::Value>>,
        _options: Options,
    ) -> Self {
        Scheduler { _d: std::marker::PhantomData }
    }

    /// Opens a job. `id` is for logs. Events of all vertices that the job includes go to `sink`.
    pub fn job(&self, _id: impl Into<String>, _cx: Arc<D::JobContext>, _sink: Arc<dyn Sink>) -> Job<D> {
        Job { _d: std::marker::PhantomData }
    }

    /// Waits until every task has ended. Drop all jobs first.
    pub async fn drain(&self) {}
}
