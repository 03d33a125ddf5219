//! The engine as its users hold it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use errdefs::{Error, Result};
use oci::Digest;
use progress::Sink;
use tokio::sync::{mpsc, oneshot};

use crate::core::{Asker, Event, JobId, RequestId, TaskId};
use crate::driver::Driver;
use crate::flatten::Graph;
use crate::job::{Job, Lineage};
use crate::keys::{KeyId, KeyStore};
use crate::op::{CacheMapPart, Domain, Op};
use crate::remote::RemoteCache;
use crate::results::ResultStore;
use crate::show::JobView;
use crate::vertex::Edge;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many ops of [`ParallelClass::Limited`](crate::ParallelClass) may run at a time; `None` is no limit.
    pub max_parallelism: Option<NonZeroUsize>,
}

/// The graph of everything that is being built. Cheap to clone. It ends when all clones and jobs are dropped.
pub struct Scheduler<D: Domain> {
    handle: Handle<D>,
}

impl<D: Domain> Clone for Scheduler<D> {
    fn clone(&self) -> Self {
        Scheduler { handle: self.handle.clone() }
    }
}

impl<D: Domain> Scheduler<D> {
    /// Starts the engine. Must be called inside a tokio runtime.
    pub fn new(keys: Arc<dyn KeyStore>, results: Arc<dyn ResultStore<D::Value>>, options: Options) -> Self {
        let (messages, inbox) = mpsc::unbounded_channel();
        let handle = Handle { messages, last_id: Arc::default() };
        let driver = Driver::new(keys, results, &options, handle.downgrade());
        tokio::spawn(driver.run(inbox));
        Scheduler { handle }
    }

    /// Opens a job. `id` is for logs. Events of all vertices that the job includes go to `sink`.
    pub fn job(&self, id: impl Into<String>, cx: Arc<D::JobContext>, sink: Arc<dyn Sink>) -> Job<D> {
        let job = JobId(self.handle.next_id());
        let view = Arc::new(JobView::new(sink));
        self.handle.send(Message::Open { job, cx, view: view.clone() });
        let id = id.into();
        tracing::debug!(id, "job opened");
        Job { id, job, view, handle: self.handle.clone() }
    }

    /// Waits until every task has ended. Drop all jobs first.
    pub async fn drain(&self) {
        let (done, ended) = oneshot::channel();
        self.handle.send(Message::AfterAll(done));
        _ = ended.await;
    }
}

/// What the owner of the core is sent.
pub(crate) enum Message<D: Domain> {
    Open {
        job: JobId,
        cx: Arc<D::JobContext>,
        view: Arc<JobView>,
    },
    Close(JobId),
    Build {
        request: RequestId,
        asker: Asker,
        graph: Graph<D>,
        output: usize,
        caches: Vec<Arc<dyn RemoteCache<D>>>,
        reply: Reply<D>,
    },
    Keys {
        vertex: Digest,
        output: usize,
        reply: oneshot::Sender<Vec<KeyId>>,
    },
    Lineage {
        vertex: Digest,
        output: usize,
        reply: oneshot::Sender<Vec<Lineage<D::Value>>>,
    },
    Ops {
        vertices: Vec<Digest>,
        reply: oneshot::Sender<Vec<Option<Arc<dyn Op<D>>>>>,
    },
    Mapped {
        task: TaskId,
        part: Result<CacheMapPart<D>>,
    },
    /// A task that ended, or a request that was withdrawn.
    Event(Event<D::Value>),
    /// Answers when all tasks that are cancelled by now have ended.
    AfterCancelled(oneshot::Sender<()>),
    /// Answers when all tasks that there are now have ended.
    AfterAll(oneshot::Sender<()>),
}

pub(crate) type Reply<D> = oneshot::Sender<Result<<D as Domain>::Value>>;

/// The way to the owner of the core.
pub(crate) struct Handle<D: Domain> {
    messages: mpsc::UnboundedSender<Message<D>>,
    last_id: Arc<AtomicU64>,
}

/// The owner's way to itself, which does not keep it going.
pub(crate) struct WeakHandle<D: Domain> {
    messages: mpsc::WeakUnboundedSender<Message<D>>,
    last_id: Arc<AtomicU64>,
}

impl<D: Domain> Clone for Handle<D> {
    fn clone(&self) -> Self {
        Handle { messages: self.messages.clone(), last_id: self.last_id.clone() }
    }
}

impl<D: Domain> WeakHandle<D> {
    /// `None` when nobody is left who could use what comes of it.
    pub fn upgrade(&self) -> Option<Handle<D>> {
        Some(Handle { messages: self.messages.upgrade()?, last_id: self.last_id.clone() })
    }
}

impl<D: Domain> Handle<D> {
    fn downgrade(&self) -> WeakHandle<D> {
        WeakHandle { messages: self.messages.downgrade(), last_id: self.last_id.clone() }
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Only a runtime that is shutting down drops the owner while there are handles; nobody waits for it then.
    pub fn send(&self, message: Message<D>) {
        _ = self.messages.send(message);
    }

    pub async fn build(
        &self,
        asker: Asker,
        edge: Edge<D>,
        caches: Vec<Arc<dyn RemoteCache<D>>>,
    ) -> Result<D::Value> {
        let request = RequestId(self.next_id());
        let (reply, answer) = oneshot::channel();
        let graph = Graph::below(&edge.vertex);
        self.send(Message::Build { request, asker, graph, output: edge.index, caches, reply });
        let _withdraw = Withdraw { handle: self, request };
        answer.await.unwrap_or_else(|_| Err(Error::canceled()))
    }
}

/// Withdraws a request when the future that waits for it goes away. That of an answered one changes nothing.
struct Withdraw<'a, D: Domain> {
    handle: &'a Handle<D>,
    request: RequestId,
}

impl<D: Domain> Drop for Withdraw<'_, D> {
    fn drop(&mut self) {
        self.handle.send(Message::Event(Event::Withdraw(self.request)));
    }
}
