//! One piece of asynchronous work for a vertex, and what its op can reach meanwhile.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Detail, Error, Result};
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::core::{Asker, Event, JobId, TaskId};
use crate::op::{CacheMapPart, ContentKey, Domain, Host, Jobs, OpContext, ParallelClass};
use crate::remote::RemoteCache;
use crate::results::{Record, ResultStore};
use crate::scheduler::{Handle, Message};
use crate::show::Fan;
use crate::vertex::{Edge, Vertex};

/// Where a result is loaded from.
pub(crate) enum Load<D: Domain> {
    Own,
    Cache(Arc<dyn RemoteCache<D>>),
    /// A cache that left with its build.
    Gone,
}

pub(crate) enum Task<D: Domain> {
    Map { part: usize },
    Hash { content: Option<Arc<dyn ContentKey<D>>>, input: D::Value },
    Load { record: Record, from: Load<D> },
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
            Task::Load { record, from } => {
                let since = Timestamp::now();
                let loaded = on.load(&*results, record, from).await;
                if matches!(loaded, Ok((Some(_), _))) && !on.cx.cancel.is_cancelled() {
                    on.fan.cached(since);
                }
                let (value, kept) = match loaded {
                    Ok((value, kept)) => (Ok(value), kept),
                    Err(e) => (Err(e), None),
                };
                Message::Event(Event::Loaded { task, value, kept })
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
    /// Vertices without inputs are shown at work: resolving a name takes time, and often is all there is. A key that is
    /// known at once is no work to show: the vertex would be told twice, here and when it runs.
    async fn map(&self, part: usize) -> Result<CacheMapPart<D>> {
        let work = guard(self.vertex.op.cache_map(&self.cx, part));
        let mut work = pin!(self.cx.while_wanted(work));
        let (shown, result) = match work.as_mut().now_or_never() {
            Some(result) => (false, result),
            None => {
                let shown = self.vertex.inputs.is_empty();
                if shown {
                    self.fan.started();
                }
                (shown, work.await)
            }
        };
        self.show_end(shown, &result);
        result.map_err(|e| self.blame(e.context("failed to load cache key")))
    }

    async fn hash(
        &self,
        content: Option<Arc<dyn ContentKey<D>>>,
        input: D::Value,
    ) -> Result<Option<oci::Digest>> {
        let Some(content) = content else { return Ok(None) };
        let result = self.cx.while_wanted(guard(content.key(&self.cx, &input))).await;
        self.show_end(false, &result);
        result.map_err(|e| self.blame(e.context("failed to compute cache key")))
    }

    /// Loads a result. One of a cache of others is saved in the own store, under the time that it has there.
    async fn load(
        &self,
        results: &dyn ResultStore<D::Value>,
        record: Record,
        from: Load<D>,
    ) -> Result<(Option<D::Value>, Option<Record>)> {
        let Record { result, created_at } = record;
        let cache = match from {
            Load::Own => return Ok((guard(results.load(&result)).await?, None)),
            Load::Gone => return Ok((None, None)),
            Load::Cache(cache) => cache,
        };
        let loaded = self.cx.while_wanted(guard(cache.load(&result, &self.cx))).await?;
        let kept = match &loaded {
            Some(value) => {
                let saved = guard(results.save(value)).await;
                saved.inspect_err(|e| tracing::warn!("a result of a remote cache is not kept: {e}")).ok()
            }
            None => None,
        };
        Ok((loaded, kept.map(|result| Record { result, created_at })))
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

    pub fn all(&self) -> Vec<Arc<D::JobContext>> {
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

    fn jobs(&self) -> Jobs<D> {
        Jobs(self.jobs.clone())
    }

    fn build(&self, edge: Edge<D>) -> Pin<Box<dyn Future<Output = Result<D::Value>> + Send>> {
        let (handle, asker) = (self.handle.clone(), Asker::Task(self.task));
        Box::pin(async move { handle.build(asker, edge, Vec::new()).await })
    }
}
