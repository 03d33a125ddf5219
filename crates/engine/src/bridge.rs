//! What a frontend may ask the engine, for one build.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use errdefs::{Error, Result};
use frontend::{
    Bridge, BuildResult, FileInfo, FileRange, FrontendRequest, Ref, Refs, ResolveOptions, ResolvedImage,
    SolveRequest, Warning,
};
use llb::Definition;
use oci::{Digest, Platform};
use ops::{BuildContext, BuildDomain, Value};
use progress::{Event, Sink, Step, VertexWarning};
use snapshot::{Meta, View};
use solver::Job;

use tokio_util::sync::CancellationToken;

use crate::build::Parts;
use crate::log::BuildLog;
use crate::promise::Promise;

/// Bytes of a file that are read for a frontend.
const FILE_LIMIT: u64 = 64 << 20;

/// The bridge of one build. Cheap to clone.
#[derive(Clone)]
pub struct BuildBridge(Arc<Inner>);

struct Inner {
    parts: Arc<Parts>,
    context: Arc<BuildContext>,
    job: Job<BuildDomain>,
    log: Arc<BuildLog>,
    promises: Mutex<HashMap<String, Arc<Promise>>>,
    next: AtomicU64,
    inputs: BTreeMap<String, Definition>,
}

impl BuildBridge {
    pub(crate) fn new(
        parts: Arc<Parts>,
        context: Arc<BuildContext>,
        job: Job<BuildDomain>,
        log: Arc<BuildLog>,
        inputs: BTreeMap<String, Definition>,
    ) -> Self {
        let (promises, next) = (Mutex::default(), AtomicU64::new(1));
        BuildBridge(Arc::new(Inner { parts, context, job, log, promises, next, inputs }))
    }

    /// Ends the job and waits for what it still runs, unless somebody else holds the bridge: then it ends with them.
    pub(crate) async fn close(self) {
        if let Some(inner) = Arc::into_inner(self.0) {
            inner.promises.into_inner().unwrap_or_else(PoisonError::into_inner).clear();
            inner.job.close().await;
        }
    }

    /// The id of the build.
    pub(crate) fn build_id(&self) -> &str {
        self.0.job.id()
    }

    pub(crate) fn context(&self) -> &BuildContext {
        &self.0.context
    }

    /// Named graphs that the client gave along.
    pub fn inputs(&self) -> &BTreeMap<String, Definition> {
        &self.0.inputs
    }

    /// Takes a graph; its result is computed when it is needed.
    pub fn define(&self, definition: Definition) -> Result<Ref> {
        if definition.is_empty() {
            return Ok(Ref::default());
        }
        let promise = Promise::new(&self.0.parts.ops, &definition, self.entitlements())?;
        let id = format!("{}-{}", self.0.job.id(), self.0.next.fetch_add(1, Ordering::Relaxed));
        self.0.promises.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), promise);
        Ok(Ref { id, definition: Arc::new(definition) })
    }

    /// The result of a ref.
    pub async fn value(&self, reference: &Ref) -> Result<Value> {
        if reference.id.is_empty() {
            return Ok(None);
        }
        let promise =
            self.0.promises.lock().unwrap_or_else(PoisonError::into_inner).get(&reference.id).cloned();
        let promise = promise.ok_or_else(|| Error::not_found(format!("no such ref: {}", reference.id)))?;
        promise.value(&self.0.parts.refs, &self.0.job).await
    }

    fn entitlements(&self) -> &BTreeSet<String> {
        &self.0.context.entitlements
    }

    fn source_context(&self, step: &Step) -> source::Context {
        source::Context {
            sessions: self.0.context.sessions.clone(),
            session_ids: vec![self.0.context.session.clone()],
            step: step.clone(),
            cancel: CancellationToken::new(),
        }
    }

    async fn view(&self, reference: &Ref) -> Result<View> {
        match self.value(reference).await? {
            Some(value) => value.view().await,
            None => Ok(View::empty()),
        }
    }
}

#[async_trait]
impl Bridge for BuildBridge {
    fn session_id(&self) -> &str {
        &self.0.context.session
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::host()]
    }

    async fn resolve_image_config(&self, reference: &str, options: ResolveOptions) -> Result<ResolvedImage> {
        let sink: Arc<dyn Sink> = Arc::clone(&self.0.log) as _;
        let name = options.log_name.clone();
        let step = match name.is_empty() {
            true => Step::attach(progress::discard(), Digest::of(reference)),
            false => Step::start(sink, &format!("{}:{name}", self.0.job.id()), name),
        };
        let result =
            self.0.parts.sources.resolve_image_config(reference, &options, &self.source_context(&step)).await;
        step.finish(result)
    }

    async fn solve(&self, request: SolveRequest) -> Result<BuildResult> {
        let result = match (request.definition, request.frontend.as_str()) {
            (Some(definition), "") => {
                BuildResult { refs: Refs::Single(self.define(definition)?), ..BuildResult::default() }
            }
            (None, "") => BuildResult::default(),
            (None, name) => {
                let frontend = self.0.parts.frontend(name)?;
                let bridge = Arc::new(self.clone());
                frontend.solve(bridge, FrontendRequest { opts: request.opts, inputs: request.inputs }).await?
            }
            (Some(_), _) => {
                return Err(Error::user("cannot solve with both Definition and Frontend specified"));
            }
        };
        if request.evaluate {
            let refs: Vec<&Ref> = match &result.refs {
                Refs::None => Vec::new(),
                Refs::Single(one) => vec![one],
                Refs::Map(map) => map.values().collect(),
            };
            for reference in refs {
                self.value(reference).await?;
            }
        }
        Ok(result)
    }

    async fn evaluate(&self, reference: &Ref) -> Result<()> {
        self.value(reference).await.map(drop)
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
                let matched = include.is_empty()
                    || fsutil::glob::matches(include.as_bytes(), &entry.name)
                        .map_err(|e| Error::user(format!("invalid pattern `{include}`: {e}")))?;
                if matched {
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
        self.0.log.emit(Event::Warning(VertexWarning {
            vertex: vertex.clone(),
            level: warning.level,
            short: warning.short,
            detail: warning.detail,
            url: warning.url,
            source: warning.source,
        }));
        Ok(())
    }
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
        size: meta.size,
        mtime_ns: meta.mtime.as_nanos(),
        linkname,
    })
}
