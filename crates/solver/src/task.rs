//! One piece of asynchronous work for a vertex, and what its op can reach meanwhile.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Detail, Error, Result};
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::core::{Asker, Event, JobId, TaskId};
use crate::op::{CacheMapPart, ContentKey, Domain, Host, OpContext, ParallelClass};
use crate::results::{Record, ResultId, ResultStore};
use crate::scheduler::{Handle, Message};
use crate::show::Fan;
use crate::vertex::{Edge, Vertex};

pub(crate) enum Task<D: Domain> {
    Map { part: usize },
    Hash { content: Option<Arc<dyn ContentKey<D>>>, input: D::Value },
    Load { result: ResultId },
    Exec { inputs: Vec<D::Value>, places: Option<Arc<Semaphore>> },
    Save { value: D::Value },
}

impl<D: Domain> Task<D> {
    /// Does the work and gives the one message that the core waits for.
    pub async fn run(
        self,
        task: TaskId,
        vertex: Arc<Vertex<D>>,
        cx: OpContext<D>,
        fan: Arc<Fan>,
        results: Arc<dyn ResultStore<D::Value>>,
    ) -> Message<D> {
        let on = On { vertex, cx, fan };
        match self {
            Task::Map { part } => Message::Mapped { task, part: on.map(part).await },
            Task::Hash { content, input } => {
                Message::Event(Event::Hashed { task, content: on.hash(content, input).await })
            }
            Task::Load { result } => {
                Message::Event(Event::Loaded { task, value: on.load(&*results, result).await })
            }
            Task::Exec { inputs, places } => {
                Message::Event(Event::Executed { task, values: on.exec(inputs, places).await })
            }
            Task::Save { value } => {
                let saved = guard(results.save(&value)).await;
                let record = saved.map(|result| Record { result, created_at: Timestamp::now() });
                Message::Event(Event::Saved { task, record })
            }
        }
    }
}

/// A vertex at work.
struct On<D: Domain> {
    vertex: Arc<Vertex<D>>,
    cx: OpContext<D>,
    fan: Arc<Fan>,
}

impl<D: Domain> On<D> {
    /// Vertices without inputs are shown at work: resolving a name or a context takes time, and often is all there is.
    async fn map(&self, part: usize) -> Result<CacheMapPart<D>> {
        let shown = self.vertex.inputs.is_empty();
        if shown {
            self.fan.started();
        }
        let result = guard(self.vertex.op.cache_map(&self.cx, part)).await;
        self.show_end(shown, &result);
        result.map_err(|e| self.blame(e.context("failed to load cache key")))
    }

    async fn hash(
        &self,
        content: Option<Arc<dyn ContentKey<D>>>,
        input: D::Value,
    ) -> Result<Option<oci::Digest>> {
        let Some(content) = content else { return Ok(None) };
        let result = guard(content.key(&self.cx, &input)).await;
        self.show_end(false, &result);
        result.map_err(|e| self.blame(e.context("failed to compute cache key")))
    }

    async fn load(&self, results: &dyn ResultStore<D::Value>, result: ResultId) -> Result<Option<D::Value>> {
        let since = Timestamp::now();
        let loaded = guard(results.load(&result)).await;
        if matches!(loaded, Ok(Some(_))) && !self.cx.cancel.is_cancelled() {
            self.fan.cached(since);
        }
        loaded
    }

    async fn exec(
        &self,
        inputs: Vec<D::Value>,
        places: Option<Arc<Semaphore>>,
    ) -> Result<Vec<Option<D::Value>>> {
        let limited = places.filter(|_| self.vertex.op.parallel_class() == ParallelClass::Limited);
        let _place = match limited {
            Some(places) => tokio::select! {
                place = places.acquire_owned() => place.ok(),
                () = self.cx.cancel.cancelled() => return Err(Error::canceled()),
            },
            None => None,
        };
        self.fan.started();
        let result = guard(self.vertex.op.exec(&self.cx, inputs)).await;
        self.show_end(true, &result);
        result.map_err(|e| self.blame(e))
    }

    /// Shows how the work ended; an error is shown even where the work was not. What was cancelled is told by the job
    /// that ends, or by the consumer that found it needless.
    fn show_end<T>(&self, shown: bool, result: &Result<T>) {
        if self.cx.cancel.is_cancelled() {
            return;
        }
        if !shown && result.is_err() {
            self.fan.started();
        }
        if shown || result.is_err() {
            self.fan.completed(result.as_ref().err());
        }
    }

    fn blame(&self, error: Error) -> Error {
        error.with_detail(Detail::Vertex { digest: self.vertex.digest.to_string() })
    }
}

/// A panic in an op fails its vertex, and nothing else.
async fn guard<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::internal(format!("panic: {text}")))
    })
}

/// The jobs that want a vertex, oldest first.
pub(crate) struct JobContexts<D: Domain>(Mutex<Vec<(JobId, Arc<D::JobContext>)>>);

impl<D: Domain> Default for JobContexts<D> {
    fn default() -> Self {
        JobContexts(Mutex::default())
    }
}

impl<D: Domain> JobContexts<D> {
    pub fn join(&self, job: JobId, cx: Arc<D::JobContext>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((job, cx));
    }

    pub fn leave(&self, job: JobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(j, _)| *j != job);
    }

    fn all(&self) -> Vec<Arc<D::JobContext>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, cx)| cx.clone()).collect()
    }
}

/// The scheduler, as the op of one task sees it.
pub(crate) struct TaskHost<D: Domain> {
    pub task: TaskId,
    pub jobs: Arc<JobContexts<D>>,
    pub handle: Handle<D>,
}

impl<D: Domain> Host<D> for TaskHost<D> {
    fn job_contexts(&self) -> Vec<Arc<D::JobContext>> {
        self.jobs.all()
    }

    fn build(&self, edge: Edge<D>) -> Pin<Box<dyn Future<Output = Result<D::Value>> + Send>> {
        let (handle, asker) = (self.handle.clone(), Asker::Task(self.task));
        Box::pin(async move { handle.build(asker, edge).await })
    }
}
