//! The contract of an op: how it says its key, and how it does its work.
//!
//! The life of a vertex: its op is asked for [`CacheMapPart`]s until a record is found or the last part is there.
//! When no record is found by the keys of its inputs, inputs with a [`ContentKey`] are computed and hashed. When that
//! finds nothing either, [`Op::exec`] runs on the values of all inputs. Any of these calls may be cancelled and made
//! again later, and each is made at most once at a time for a vertex, however many jobs want it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::Result;
use oci::Digest;
use progress::Step;
use tokio_util::sync::CancellationToken;

use crate::task::JobContexts;
use crate::vertex::Edge;

/// The types that a solver is used with. The solver looks into neither.
pub trait Domain: Send + Sync + 'static {
    /// What an op makes: a handle that keeps the result alive while it is held.
    type Value: Clone + Send + Sync + 'static;
    /// What a job lends to the ops it needs, as the way to its client's session.
    type JobContext: Send + Sync + 'static;
}

/// The work of a vertex. Who knows which ops there are can tell them apart as [`Any`].
#[async_trait]
pub trait Op<D: Domain>: Any + Send + Sync {
    /// Part `index` of the key, counted from 0. Only ops without inputs may have more than one part: each is a key of
    /// its own, cheapest first, and the next is asked for while the ones before find nothing.
    async fn cache_map(&self, cx: &OpContext<D>, index: usize) -> Result<CacheMapPart<D>>;

    /// Makes the outputs from the values of all inputs, in their order. An output that cannot be used by others is
    /// `None`. Must come to an end soon after `cx.cancel` fires; what it gives back then is dropped.
    async fn exec(&self, cx: &OpContext<D>, inputs: Vec<D::Value>) -> Result<Vec<Option<D::Value>>>;

    /// Whether `exec` counts against [`Options::max_parallelism`](crate::Options).
    fn parallel_class(&self) -> ParallelClass {
        ParallelClass::Free
    }
}

/// How an op's `exec` uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParallelClass {
    /// Runs as soon as its inputs are there.
    Free,
    /// Waits for one of the places of [`Options::max_parallelism`](crate::Options), and is shown as started only then.
    Limited,
}

/// One answer of [`Op::cache_map`].
pub struct CacheMapPart<D: Domain> {
    pub map: CacheMap<D>,
    /// No further part follows.
    pub done: bool,
}

/// How the key of a vertex is made up: this digest, and for each input its keys or its content.
pub struct CacheMap<D: Domain> {
    pub digest: Digest,
    /// The digest holds for this build only (BuildKit's `random:`). Such a key is recorded, but never exported.
    pub transient: bool,
    /// One for each input, in their order; missing ones at the end have neither selector nor content.
    pub deps: Vec<Dep<D>>,
    /// What went into `digest`, as names and texts, kept with the record to say why a later key differs.
    pub ingredients: Vec<(String, String)>,
}

/// How one input counts in the key.
pub struct Dep<D: Domain> {
    /// Which part of the input is used; a part of the input's definition key, not of its content key.
    pub selector: Option<Digest>,
    /// Makes a key from what the input holds. `None` where only the definition counts.
    pub content: Option<Arc<dyn ContentKey<D>>>,
}

/// Makes a key from the value of an input.
#[async_trait]
pub trait ContentKey<D: Domain>: Send + Sync + 'static {
    /// The digest of what the op will see of `input`; `None` when it has no content key after all.
    async fn key(&self, cx: &OpContext<D>, input: &D::Value) -> Result<Option<Digest>>;
}

impl<D: Domain> CacheMap<D> {
    /// A key of a digest alone.
    pub fn new(digest: Digest) -> Self {
        CacheMap { digest, transient: false, deps: Vec::new(), ingredients: Vec::new() }
    }
}

impl<D: Domain> CacheMapPart<D> {
    /// The only part.
    pub fn only(map: CacheMap<D>) -> Self {
        CacheMapPart { map, done: true }
    }
}

impl<D: Domain> Dep<D> {
    /// An input that counts by its definition.
    pub fn plain() -> Self {
        Dep { selector: None, content: None }
    }
}

impl<D: Domain> Clone for Dep<D> {
    fn clone(&self) -> Self {
        Dep { selector: self.selector.clone(), content: self.content.clone() }
    }
}

/// What an op is given beside its inputs.
pub struct OpContext<D: Domain> {
    /// The digest of the vertex.
    pub vertex: Digest,
    /// Goes to every job that wants the vertex, also to those that come later.
    pub step: Step,
    /// Fires when nobody wants the answer any more.
    pub cancel: CancellationToken,
    pub(crate) host: Arc<dyn Host<D>>,
}

impl<D: Domain> Clone for OpContext<D> {
    fn clone(&self) -> Self {
        let OpContext { vertex, step, cancel, host } = self;
        OpContext { vertex: vertex.clone(), step: step.clone(), cancel: cancel.clone(), host: host.clone() }
    }
}

impl<D: Domain> OpContext<D> {
    /// The contexts of all jobs that want the vertex now, oldest first. Empty when the last one has just left.
    pub fn job_contexts(&self) -> Vec<Arc<D::JobContext>> {
        self.host.job_contexts()
    }

    /// The same, to be asked later: it knows the jobs that come and go, also after this work has ended.
    pub fn jobs(&self) -> Jobs<D> {
        self.host.jobs()
    }

    /// Builds an edge on behalf of the jobs that want this vertex, as a part of its work. Canceled with it.
    pub async fn build(&self, edge: Edge<D>) -> Result<D::Value> {
        self.while_wanted(self.host.build(edge)).await
    }

    /// Does some work that may wait for others, as a registry that does not answer. It is dropped where it stands when
    /// nobody wants the vertex any more.
    pub async fn while_wanted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(errdefs::Error::canceled()))
    }
}

/// The jobs that want a vertex. Holding it keeps nothing active.
pub struct Jobs<D: Domain>(pub(crate) Arc<JobContexts<D>>);

impl<D: Domain> Jobs<D> {
    /// The contexts of those that want it now, oldest first.
    pub fn contexts(&self) -> Vec<Arc<D::JobContext>> {
        self.0.all()
    }
}

/// The scheduler, from inside an op.
pub(crate) trait Host<D: Domain>: Send + Sync {
    fn job_contexts(&self) -> Vec<Arc<D::JobContext>>;
    fn jobs(&self) -> Jobs<D>;
    fn build(&self, edge: Edge<D>) -> Pin<Box<dyn Future<Output = Result<D::Value>> + Send>>;
}
