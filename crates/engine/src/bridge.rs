//! What a frontend may ask the engine, for one build.

mod container;
mod failure;
mod mounted;
mod policy;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use frontend::{
    Bridge, BuildResult, CacheImport, Container, ContainerRequest, FileInfo, FileRange, FrontendRequest, Ref,
    Refs, ResolveOptions, ResolvedImage, ResolvedSource, SolveRequest, SourceOptions, Warning, Worker,
};
use llb::{Definition, Graph, OpKind, SourceOp};
use oci::{Digest, Platform, Reference};
use ops::{BuildContext, BuildDomain, Value};
use progress::{Event, Sink, Step, VertexWarning};
use provenance::{Capture, ImageSource};
use snapshot::{Meta, View};
use solver::{Job, Lineage};

use tokio_util::sync::CancellationToken;

use crate::build::Parts;
use crate::caches::{Caches, Importing, add_imports, imports_of};
use crate::log::BuildLog;
use crate::origins::{self, Asked, Frame, Producers, Registered, Start};
use crate::promise::Promise;

pub(crate) use policy::Rules;

/// Bytes of a file that are read for a frontend.
const FILE_LIMIT: u64 = 64 << 20;

/// The bridge of one build, or of one frontend in it. Cheap to clone.
#[derive(Clone)]
pub struct BuildBridge {
    inner: Arc<Inner>,
    /// Who asks.
    frame: Arc<Frame>,
}

struct Inner {
    parts: Arc<Parts>,
    context: Arc<BuildContext>,
    job: Job<BuildDomain>,
    log: Arc<BuildLog>,
    /// What ids stand for.
    known: Mutex<HashMap<String, Known>>,
    next: AtomicU64,
    inputs: BTreeMap<String, Definition>,
    caches: Caches,
    rules: Rules,
    /// That of the build.
    root: Arc<Frame>,
    registered: Registered,
    /// Fires when the build is cancelled: also what is asked from outside of its own task ends then.
    cancel: CancellationToken,
}

/// What the id of a ref stands for.
#[derive(Clone)]
enum Known {
    Promise(Arc<Promise>),
    /// An input of a step that failed, or what the step left.
    Value(Value),
}

impl BuildBridge {
    pub(crate) fn new(
        parts: Arc<Parts>,
        context: Arc<BuildContext>,
        job: Job<BuildDomain>,
        log: Arc<BuildLog>,
        start: Start,
        rules: Rules,
        cancel: CancellationToken,
    ) -> Self {
        let (known, next) = (Mutex::default(), AtomicU64::new(1));
        let sink: Arc<dyn Sink> = Arc::clone(&log) as _;
        let caches = Caches::new(parts.importer.clone(), job.id(), &context.session, sink, cancel.clone());
        let Start { asked, inputs, producers } = start;
        let registered = Registered::new(producers);
        let frame = Frame::root(asked);
        let root = Arc::clone(&frame);
        let inner =
            Inner { parts, context, job, log, known, next, inputs, caches, rules, root, registered, cancel };
        let bridge = BuildBridge { inner: Arc::new(inner), frame };
        if bridge.inner.rules.proxied {
            // Nobody else sets it.
            let _ = bridge.inner.context.judge.set(Arc::new(bridge.proxy_judge()));
        }
        bridge
    }

    /// Ends the job and waits for what it still runs, unless somebody else holds the bridge: then it ends with them.
    pub(crate) async fn close(self) {
        if let Some(inner) = Arc::into_inner(self.inner) {
            inner.known.into_inner().unwrap_or_else(PoisonError::into_inner).clear();
            inner.context.failures.clear();
            inner.job.close().await;
        }
    }

    /// The id of the build.
    pub(crate) fn build_id(&self) -> &str {
        self.inner.job.id()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// The caches of others that the build looks into.
    pub(crate) fn caches(&self) -> &Caches {
        &self.inner.caches
    }

    pub(crate) fn context(&self) -> &BuildContext {
        &self.inner.context
    }

    /// For a job of another scheduler.
    pub(crate) fn shared_context(&self) -> Arc<BuildContext> {
        Arc::clone(&self.inner.context)
    }

    pub(crate) fn job(&self) -> &Job<BuildDomain> {
        &self.inner.job
    }

    /// Fires when the build is cancelled.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.inner.cancel
    }

    /// Takes a graph, and the caches that it may look into; its result is computed when it is needed.
    pub fn define(&self, definition: Definition, imports: &[CacheImport]) -> Result<Ref> {
        if definition.is_empty() {
            return Ok(Ref::default());
        }
        let caches = self.inner.caches.import(imports);
        let promise = Promise::new(&self.inner.parts.ops, &definition, self.entitlements(), caches)?;
        let made = Ref { id: self.name(Known::Promise(promise)), definition: Arc::new(definition) };
        self.frame.add_ref(&made);
        Ok(made)
    }

    /// Gives an id.
    fn name(&self, known: Known) -> String {
        let id = format!("{}-{}", self.inner.job.id(), self.inner.next.fetch_add(1, Ordering::Relaxed));
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), known);
        id
    }

    /// The result of a ref.
    pub async fn value(&self, reference: &Ref) -> Result<Value> {
        if reference.id.is_empty() {
            return Ok(None);
        }
        match self.known(reference) {
            Some(Known::Promise(promise)) => promise.value(&self.inner.parts.refs, &self.inner.job).await,
            Some(Known::Value(value)) => Ok(value),
            None => Err(Error::not_found(format!("no such ref: {}", reference.id))),
        }
    }

    /// The same for a frontend: with a failed step come ids by which it can look into what the step had.
    async fn value_to_look_at(&self, reference: &Ref) -> Result<Value> {
        self.value(reference).await.map_err(|e| self.with_failure(&reference.definition, e))
    }

    fn known(&self, reference: &Ref) -> Option<Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).get(&reference.id).cloned()
    }

    /// What a ref that was computed is made of; nothing for scratch.
    pub(crate) async fn lineage(&self, reference: &Ref) -> Option<Vec<Lineage<Value>>> {
        let Known::Promise(promise) = self.known(reference)? else { return None };
        Some(self.inner.job.lineage(promise.edge()?).await)
    }

    /// Who asked for what in the build.
    pub(crate) fn root_frame(&self) -> &Arc<Frame> {
        &self.inner.root
    }

    /// Who made which graph, in all builds.
    pub(crate) fn producers(&self) -> &Producers {
        self.inner.registered.producers()
    }

    /// The graph of a ref. Nothing for scratch, and where the ref was not computed.
    pub(crate) fn graph(&self, reference: &Ref) -> Result<Option<Graph>> {
        match self.known(reference) {
            Some(Known::Promise(promise)) if promise.is_computed() => {
                Graph::load(&reference.definition).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What a graph that was computed used.
    pub(crate) async fn used(&self, graph: &Graph) -> Capture {
        let tells = |d: &&Digest| match &graph.ops[*d].op.kind {
            OpKind::Source(_) => true,
            OpKind::Exec(exec) => exec.proxied || self.inner.context.metered,
            _ => false,
        };
        let asked: Vec<Digest> = graph.order.iter().filter(tells).cloned().collect();
        let told = self.inner.job.ops(asked.clone()).await;
        let told: HashMap<_, _> = asked.into_iter().zip(told).filter_map(|(d, op)| Some((d, op?))).collect();
        let mut used = Capture::of_graph(graph, |digest| ops::pin(&**told.get(digest)?));
        for (vertex, op) in &told {
            if let OpKind::Exec(exec) = &graph.ops[vertex].op.kind {
                if exec.proxied {
                    origins::add_traffic(&mut used, vertex, exec, ops::traffic(&**op));
                }
                if let Some(usage) = ops::usage(&**op) {
                    used.add_usage(vertex.clone(), usage);
                }
            }
        }
        used
    }

    /// Runs a frontend, and remembers what it was asked.
    async fn ask(
        &self,
        name: &str,
        request: FrontendRequest,
        imports: Vec<CacheImport>,
    ) -> Result<BuildResult> {
        let frontend = self.inner.parts.frontend(name)?;
        self.inner.caches.import(&imports);
        let frame = self.frame.inner(Asked::new(name, &request.opts, &request.inputs));
        let bridge = BuildBridge { inner: Arc::clone(&self.inner), frame: Arc::clone(&frame) };
        let result = frontend.solve(Arc::new(Importing { bridge, imports }), request).await?;
        self.frame.adopt(frame, &result);
        for reference in origins::each_ref(&result) {
            if let Some(frame) = self.frame.find(&reference.id) {
                let used = match self.graph(reference)? {
                    Some(graph) => self.used(&graph).await,
                    None => Capture::default(),
                };
                let request = frame.named(&used, self.producers());
                self.inner.registered.add(&reference.definition, request);
            }
        }
        Ok(result)
    }

    fn entitlements(&self) -> &BTreeSet<String> {
        &self.inner.context.entitlements
    }

    fn source_context(&self, step: &Step) -> source::Context {
        source::Context {
            sessions: self.inner.context.sessions.clone(),
            session_ids: vec![self.inner.context.session.clone()],
            step: step.clone(),
            cancel: self.inner.cancel.clone(),
            meanings: self.inner.context.meanings.clone(),
        }
    }

    /// A vertex of this name; none is shown for an empty one.
    pub(crate) fn named_step(&self, name: &str) -> Step {
        let sink: Arc<dyn Sink> = Arc::clone(&self.inner.log) as _;
        match name.is_empty() {
            true => Step::attach(progress::discard(), Digest::of(name)),
            false => Step::start(sink, &format!("{}:{name}", self.inner.job.id()), name),
        }
    }

    async fn look_up_image(&self, reference: &str, options: &ResolveOptions) -> Result<ResolvedImage> {
        let step = self.named_step(&options.log_name);
        let context = self.source_context(&step);
        step.finish(self.inner.parts.sources.resolve_image_config(reference, options, &context).await)
    }

    async fn look_up_source(&self, source: &SourceOp, options: &SourceOptions) -> Result<ResolvedSource> {
        let identified = self.inner.parts.sources.identify(source, &Platform::host())?;
        let step = self.named_step(&options.log_name);
        let meta = identified.meta(&self.source_context(&step), options).await;
        Ok(ResolvedSource { source: source.clone(), meta: step.finish(meta)? })
    }

    async fn view(&self, reference: &Ref) -> Result<View> {
        match self.value_to_look_at(reference).await? {
            Some(value) => value.view().await,
            None => Ok(View::empty()),
        }
    }
}

#[async_trait]
impl Bridge for BuildBridge {
    fn session_id(&self) -> &str {
        &self.inner.context.session
    }

    fn platforms(&self) -> Vec<Platform> {
        self.inner.parts.worker.platforms.clone()
    }

    fn worker(&self) -> Worker {
        self.inner.parts.worker.clone()
    }

    fn inputs(&self) -> BTreeMap<String, Definition> {
        self.inner.inputs.clone()
    }

    async fn resolve_image_config(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        let other = self.judged_image(reference, &options).await?;
        let reference = other.as_deref().unwrap_or(reference);
        let image = self.look_up_image(reference, &options).await?;
        let (scheme, name) = reference.split_once("://").unwrap_or(("docker-image", reference));
        let whole = name.parse::<Reference>().map(|name| name.with_default_tag().to_string());
        let looked_at = ImageSource {
            reference: whole.unwrap_or_else(|_| name.to_owned()),
            local: scheme != "docker-image",
            platform: options.platform.as_ref().map(Platform::normalize),
        };
        self.frame.add_image(looked_at, image.digest.clone());
        Ok(image)
    }

    async fn resolve_source(&self, source: &SourceOp, options: SourceOptions) -> Result<ResolvedSource> {
        let judged = self.judge(source, None, &options.policies).await;
        let judged = judged.context("could not resolve image due to policy")?;
        self.look_up_source(judged.as_ref().unwrap_or(source), &options).await
    }

    async fn solve(&self, request: SolveRequest) -> Result<BuildResult> {
        let result = match (request.definition, request.frontend.as_str()) {
            (Some(definition), "") => {
                let definition = self.govern(definition, &request.policies).await?;
                let reference = self.define(definition, &request.cache_imports)?;
                BuildResult { refs: Refs::Single(reference), ..BuildResult::default() }
            }
            (None, "") => BuildResult::default(),
            (None, name) => {
                let mut imports = request.cache_imports;
                add_imports(&mut imports, imports_of(&request.opts)?);
                let request = FrontendRequest { opts: request.opts, inputs: request.inputs };
                self.ask(name, request, imports).await?
            }
            (Some(_), _) => {
                return Err(Error::user("cannot solve with both Definition and Frontend specified"));
            }
        };
        if request.evaluate {
            for reference in result.all_refs() {
                self.value_to_look_at(reference).await?;
            }
        }
        Ok(result)
    }

    async fn evaluate(&self, reference: &Ref) -> Result<()> {
        self.value_to_look_at(reference).await.map(drop)
    }

    async fn read_file(&self, reference: &Ref, path: &str, range: Option<FileRange>) -> Result<Bytes> {
        let view = self.view(reference).await?;
        let path = path.to_owned();
        blocking(move || {
            let bytes = view.read(path.as_bytes(), FILE_LIMIT)?;
            let bytes = bytes.ok_or_else(|| missing("open", &path))?;
            Ok(match range {
                None => Bytes::from(bytes),
                Some(range) => {
                    let start = (range.offset as usize).min(bytes.len());
                    let end = start.saturating_add(range.length as usize).min(bytes.len());
                    Bytes::from(bytes).slice(start..end)
                }
            })
        })
        .await
    }

    async fn read_dir(&self, reference: &Ref, path: &str, include: &str) -> Result<Vec<FileInfo>> {
        let view = self.view(reference).await?;
        let (path, include) = (path.to_owned(), include.to_owned());
        blocking(move || {
            let mut entries = Vec::new();
            for entry in view.read_dir(path.as_bytes())? {
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                if matches(&include, &entry.name)? {
                    entries.push(stat(&view, &format!("{}/{name}", path.trim_end_matches('/')), &name)?);
                }
            }
            Ok(entries)
        })
        .await
    }

    async fn stat_file(&self, reference: &Ref, path: &str) -> Result<FileInfo> {
        let view = self.view(reference).await?;
        let path = path.to_owned();
        blocking(move || {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            stat(&view, &path, &name)
        })
        .await
    }

    async fn warn(&self, vertex: &Digest, warning: Warning) -> Result<()> {
        self.inner.log.emit(Event::Warning(VertexWarning {
            vertex: vertex.clone(),
            level: warning.level,
            short: warning.short,
            detail: warning.detail,
            url: warning.url,
            source: warning.source,
        }));
        Ok(())
    }

    async fn new_container(&self, request: ContainerRequest) -> Result<Arc<dyn Container>> {
        let mut inputs = Vec::with_capacity(request.mounts.len());
        for mount in &request.mounts {
            inputs.push(match &mount.input {
                Some(input) => self.value_to_look_at(input).await?,
                None => None,
            });
        }
        let (parts, context) = (Arc::clone(&self.inner.parts), Arc::clone(&self.inner.context));
        Ok(container::BuildContainer::new(parts, context, request, inputs).await?)
    }
}

fn matches(include: &str, name: &[u8]) -> Result<bool> {
    let matched = || fsutil::glob::matches(include.as_bytes(), name);
    Ok(include.is_empty()
        || matched().map_err(|e| Error::user(format!("invalid pattern `{include}`: {e}")))?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a file task ended: {e}")))?
}

fn missing(verb: &str, path: &str) -> Error {
    Error::not_found(format!("{verb} {path}: no such file or directory"))
}

fn stat(view: &View, path: &str, name: &str) -> Result<FileInfo> {
    let meta: Meta = view.lstat(path.as_bytes())?.ok_or_else(|| missing("lstat", path))?;
    let linkname = match meta.is_symlink() {
        true => String::from_utf8_lossy(&view.read_link(path.as_bytes())?).into_owned(),
        false => String::new(),
    };
    Ok(FileInfo {
        path: name.to_owned(),
        mode: meta.st_mode(),
        uid: meta.uid,
        gid: meta.gid,
        size: if meta.is_dir() { 0 } else { meta.size },
        mtime_ns: meta.mtime.as_nanos(),
        linkname,
    })
}
