//! Owns the core: feeds it what comes in, and carries out what it commands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use errdefs::Error;
use oci::Digest;
use progress::Step;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::caches::Caches;
use crate::core::{Command, Core, Event, JobId, Part, PartDep, RequestId, TaskId, VertexId};
use crate::job::Lineage;
use crate::keys::KeyStore;
use crate::op::{CacheMapPart, ContentKey, Domain, Op, OpContext};
use crate::results::ResultStore;
use crate::scheduler::{Message, Options, Reply, WeakHandle};
use crate::show::{Fan, JobView};
use crate::task::{JobContexts, Load, Task, TaskHost};
use crate::vertex::Vertex;

pub(crate) struct Driver<D: Domain> {
    core: Core<D::Value>,
    results: Arc<dyn ResultStore<D::Value>>,
    handle: WeakHandle<D>,
    places: Option<Arc<Semaphore>>,
    jobs: HashMap<JobId, (Arc<D::JobContext>, Arc<JobView>)>,
    caches: Caches<D>,
    active: HashMap<VertexId, Active<D>>,
    replies: HashMap<RequestId, Reply<D>>,
    /// Tasks that have not ended, cancelled or not.
    tasks: HashMap<TaskId, CancellationToken>,
    waiters: Vec<Waiter>,
}

/// What the core does not need to know of an active vertex.
struct Active<D: Domain> {
    vertex: Arc<Vertex<D>>,
    fan: Arc<Fan>,
    jobs: Arc<JobContexts<D>>,
    /// The content keys of the cache map, input by input.
    contents: Vec<Option<Arc<dyn ContentKey<D>>>>,
}

/// Somebody who waits for tasks to end.
struct Waiter {
    tasks: HashSet<TaskId>,
    done: oneshot::Sender<()>,
}

impl<D: Domain> Driver<D> {
    pub fn new(
        keys: Arc<dyn KeyStore>,
        results: Arc<dyn ResultStore<D::Value>>,
        options: &Options,
        handle: WeakHandle<D>,
    ) -> Self {
        let exists = results.clone();
        Driver {
            core: Core::new(keys, move |id| exists.exists(id)),
            results,
            handle,
            places: options.max_parallelism.map(|n| Arc::new(Semaphore::new(n.get()))),
            jobs: HashMap::new(),
            caches: Caches::default(),
            active: HashMap::new(),
            replies: HashMap::new(),
            tasks: HashMap::new(),
            waiters: Vec::new(),
        }
    }

    pub async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message<D>>) {
        while let Some(message) = inbox.recv().await {
            self.take(message);
        }
    }

    fn take(&mut self, message: Message<D>) {
        match message {
            Message::Open { job, cx, view } => _ = self.jobs.insert(job, (cx, view)),
            Message::Close(job) => {
                self.step(Event::Release(job), &[]);
                self.jobs.remove(&job);
                self.caches.retain(|| self.core.caches_in_use());
            }
            Message::Build { request, asker, graph, output, caches, reply } => {
                self.replies.insert(request, reply);
                let caches = caches.into_iter().map(|cache| self.caches.enter(cache)).collect();
                let event = Event::Build { request, asker, graph: graph.specs, output, caches };
                self.step(event, &graph.vertices);
            }
            Message::Lineage { vertex, output, reply } => _ = reply.send(self.lineage(&vertex, output)),
            Message::Ops { vertices, reply } => {
                _ = reply.send(vertices.iter().map(|vertex| self.op(vertex)).collect());
            }
            Message::Keys { vertex, output, reply } => _ = reply.send(self.core.output_keys(&vertex, output)),
            Message::Mapped { task, part } => {
                let part = part.map(|part| self.keep_contents(task, part));
                self.end(task);
                self.step(Event::Mapped { task, part }, &[]);
            }
            Message::Event(event) => {
                if let Some(task) = event.task() {
                    self.end(task);
                }
                self.step(event, &[]);
            }
            Message::AfterCancelled(done) => self.wait(done, |token| token.is_cancelled()),
            Message::AfterAll(done) => self.wait(done, |_| true),
        }
    }

    fn op(&self, vertex: &Digest) -> Option<Arc<dyn Op<D>>> {
        Some(Arc::clone(&self.active.get(&self.core.find(vertex)?)?.vertex.op))
    }

    fn lineage(&self, vertex: &Digest, output: usize) -> Vec<Lineage<D::Value>> {
        let known = self.core.lineage(vertex, output).into_iter().map(|(vertex, known)| {
            let options = self.active.get(&vertex).map(|active| &active.vertex.options);
            Lineage { export_cache: options.and_then(|o| o.export_cache), ..known }
        });
        known.collect()
    }

    fn wait(&mut self, done: oneshot::Sender<()>, for_task: impl Fn(&CancellationToken) -> bool) {
        let tasks: HashSet<TaskId> =
            self.tasks.iter().filter(|(_, t)| for_task(t)).map(|(&id, _)| id).collect();
        if tasks.is_empty() {
            _ = done.send(());
        } else {
            self.waiters.push(Waiter { tasks, done });
        }
    }

    fn end(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        for waiter in &mut self.waiters {
            waiter.tasks.remove(&task);
        }
        for waiter in self.waiters.extract_if(.., |w| w.tasks.is_empty()) {
            _ = waiter.done.send(());
        }
    }

    /// Keeps the part's content keys at hand, and gives the core what it looks into.
    fn keep_contents(&mut self, task: TaskId, part: CacheMapPart<D>) -> Part {
        let CacheMapPart { map, done } = part;
        if let Some(active) = self.core.vertex_of(task).and_then(|v| self.active.get_mut(&v)) {
            active.contents = map.deps.iter().map(|d| d.content.clone()).collect();
        }
        let deps =
            map.deps.into_iter().map(|d| PartDep { selector: d.selector, content: d.content.is_some() });
        Part {
            digest: map.digest,
            transient: map.transient,
            deps: deps.collect(),
            ingredients: map.ingredients,
            done,
        }
    }

    fn step(&mut self, event: Event<D::Value>, graph: &[Arc<Vertex<D>>]) {
        for command in self.core.step(event) {
            self.carry_out(command, graph);
        }
    }

    fn carry_out(&mut self, command: Command<D::Value>, graph: &[Arc<Vertex<D>>]) {
        match command {
            Command::Add { vertex, position } => {
                let definition = graph[position].clone();
                let fan = Arc::new(Fan::new(definition.digest.clone()));
                let active = Active { vertex: definition, fan, jobs: Arc::default(), contents: Vec::new() };
                self.active.insert(vertex, active);
            }
            Command::Join { vertex, job } => {
                if let (Some(active), Some((cx, _))) = (self.active.get(&vertex), self.jobs.get(&job)) {
                    active.jobs.join(job, cx.clone());
                }
            }
            Command::Leave { vertex, job } => {
                if let Some(active) = self.active.get(&vertex) {
                    active.jobs.leave(job);
                }
            }
            Command::Show { vertex, job, position } => {
                if let (Some(active), Some((_, view))) = (self.active.get(&vertex), self.jobs.get(&job)) {
                    active.fan.show(view, as_shown(&graph[position]));
                }
            }
            Command::Follow { follower, leader } => {
                if let (Some(follower), Some(leader)) = (self.active.get(&follower), self.active.get(&leader))
                {
                    follower.fan.follow(&leader.fan);
                }
            }
            Command::Drop { vertex } => _ = self.active.remove(&vertex),
            Command::Map { task, vertex, part } => self.spawn(task, vertex, |_| Task::Map { part }),
            Command::Hash { task, vertex, dep, input } => {
                self.spawn(task, vertex, |active| Task::Hash {
                    content: active.contents[dep].clone(),
                    input,
                });
            }
            Command::Load { task, vertex, record, cache } => {
                let from = match cache {
                    None => Load::Own,
                    Some(id) => self.caches.find(id).map_or(Load::Gone, Load::Cache),
                };
                self.spawn(task, vertex, |_| Task::Load { record, from });
            }
            Command::Exec { task, vertex, inputs } => {
                let places = self.places.clone();
                self.spawn(task, vertex, |_| Task::Exec { inputs, places });
            }
            Command::Save { task, vertex, value } => self.spawn(task, vertex, |_| Task::Save { value }),
            Command::Cancel { task } => {
                if let Some(token) = self.tasks.get(&task) {
                    token.cancel();
                }
            }
            Command::Reply { request, result } => {
                if let Some(reply) = self.replies.remove(&request) {
                    // Who asked may be gone already.
                    _ = reply.send(result);
                }
            }
        }
    }

    fn spawn(&mut self, task: TaskId, vertex: VertexId, work: impl FnOnce(&Active<D>) -> Task<D>) {
        let (Some(active), Some(handle)) = (self.active.get(&vertex), self.handle.upgrade()) else { return };
        let cancel = CancellationToken::new();
        self.tasks.insert(task, cancel.clone());
        let digest = active.vertex.digest.clone();
        let cx = OpContext {
            vertex: digest.clone(),
            step: Step::attach(active.fan.clone(), digest),
            cancel,
            host: Arc::new(TaskHost { task, jobs: active.jobs.clone(), handle: handle.clone() }),
        };
        let work = work(active);
        let (vertex, fan, results) = (active.vertex.clone(), active.fan.clone(), self.results.clone());
        tokio::spawn(async move { handle.send(work.run(task, vertex, cx, fan, results).await) });
    }
}

fn as_shown<D: Domain>(vertex: &Vertex<D>) -> progress::Vertex {
    progress::Vertex {
        digest: vertex.digest.clone(),
        inputs: vertex.inputs.iter().map(|e| e.vertex.digest.clone()).collect(),
        name: vertex.name.clone(),
        cached: false,
        started: None,
        completed: None,
        error: String::new(),
        progress_group: vertex.options.progress_group.clone(),
    }
}

impl<D: Domain> Drop for Driver<D> {
    /// Only when the runtime shuts down can somebody still wait here.
    fn drop(&mut self) {
        for (_, reply) in self.replies.drain() {
            _ = reply.send(Err(Error::canceled()));
        }
    }
}
