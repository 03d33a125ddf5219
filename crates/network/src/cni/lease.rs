//! Namespaces that are part of a network, and what is done so that none of it stays.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use errdefs::{Error, Result, ResultExt as _};
use executor::Namespace;
use futures_util::future::join_all;
use oci::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::list::List;
use super::plugin::{Container, Plugins, Verb};

/// How long a namespace waits for its next user, beyond those that are always kept. BuildKit's time.
const KEPT: Duration = Duration::from_secs(300);
/// What the magic number of a file system says that holds namespaces.
const NSFS: u64 = 0x6e73_6673;

/// A network that steps can become part of.
pub struct Cni {
    list: List,
    plugins: Plugins,
    /// Where leases are written down.
    state: PathBuf,
    /// Leases that wait for their next user, and since when; the last one goes first.
    idle: Mutex<VecDeque<(Instant, Lease)>>,
    pool_size: usize,
    /// Leases that are being made or ended. Closed once no more are given out.
    work: TaskTracker,
    runtime: Handle,
}

/// A namespace in the network. Dropping it ends it in the background.
pub struct Lease {
    cni: Arc<Cni>,
    namespace: Arc<Namespace>,
    file: PathBuf,
    /// Nothing once it has ended.
    record: Option<Record>,
}

/// What must be known to end a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    id: String,
    list: List,
    plugins: Plugins,
    args: String,
    /// What the plugins have made; null until they have.
    result: Value,
}

impl Cni {
    /// Tries whether the network can be made.
    pub async fn open(
        list: List,
        folder: Option<PathBuf>,
        state: &Path,
        pool_size: usize,
    ) -> Result<Arc<Self>> {
        let plugins = Plugins::new(folder);
        list.types().try_for_each(|kind| plugins.find(kind).map(drop))?;
        let (state, runtime) = (state.to_owned(), Handle::current());
        let (idle, work) = Default::default();
        let cni = Arc::new(Cni { list, plugins, state, idle, pool_size, work, runtime });
        match cni.make("").await {
            Ok(first) => first.give_back(),
            Err(e) => {
                cni.close().await;
                return Err(e.context(format!("network `{}` does not work", cni.list.name())));
            }
        }
        cni.work.spawn_on(Arc::clone(&cni).fill(), &cni.runtime);
        Ok(cni)
    }

    /// Makes those that are always kept, one after the other, as none is needed yet.
    async fn fill(self: Arc<Self>) {
        for _ in 1..self.pool_size {
            if self.work.is_closed() {
                return;
            }
            match self.make("").await {
                Ok(lease) => lease.give_back(),
                Err(e) => return tracing::warn!("a network namespace cannot be made ahead: {e}"),
            }
        }
    }

    /// A namespace for a container; plugins are told its hostname, unless that is empty.
    pub async fn lease(self: &Arc<Self>, hostname: &str) -> Result<Lease> {
        let idle = hostname.is_empty().then(|| self.idle().pop_back()).flatten();
        match idle {
            Some((_, lease)) => Ok(lease),
            None => self.make(hostname).await,
        }
    }

    /// In a task of its own: a plugin is not interrupted by a step that is not wanted any more.
    async fn make(self: &Arc<Self>, hostname: &str) -> Result<Lease> {
        let (cni, args) = (Arc::clone(self), args(hostname));
        let (sender, made) = oneshot::channel();
        let work = async move {
            let lease = match Lease::begin(&cni, args) {
                Ok(lease) => lease.set_up().await,
                Err(e) => Err(e),
            };
            // One that nobody waits for any more is let go of here.
            drop(sender.send(lease));
        };
        self.work.spawn_on(work, &self.runtime);
        made.await.unwrap_or_else(|_| Err(Error::internal("making a network ended unexpectedly")))
    }

    /// Ends all leases that nobody has, and waits for those that are being made or ended.
    pub async fn close(&self) {
        // From now on, nobody gives one back.
        self.work.close();
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
        self.work.wait().await;
    }

    /// Ends those that have waited for too long.
    fn trim(&self) {
        let mut idle = self.idle();
        while idle.len() > self.pool_size && idle.front().is_some_and(|(since, _)| since.elapsed() >= KEPT) {
            idle.pop_front();
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Lease)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn begin(cni: &Arc<Cni>, args: String) -> Result<Lease> {
        let id = unique_id(&cni.state);
        let (list, plugins) = (cni.list.clone(), cni.plugins.clone());
        let record = Record { id, list, plugins, args, result: Value::Null };
        record.write(&cni.state)?;
        let file = record.file(&cni.state);
        let pinned = Namespace::new().and_then(|namespace| namespace.pin(&file).map(|()| namespace));
        let namespace = pinned.map_err(|e| {
            record.forget(&cni.state);
            let denied = e.kind() == io::ErrorKind::PermissionDenied;
            let error = Error::from(e).context("failed to make a network namespace");
            if denied { error.hint("the engine needs CAP_SYS_ADMIN and CAP_NET_ADMIN") } else { error }
        })?;
        Ok(Lease { cni: Arc::clone(cni), namespace: Arc::new(namespace), file, record: Some(record) })
    }

    async fn set_up(mut self) -> Result<Lease> {
        let Some(mut record) = self.record.clone() else { return Ok(self) };
        record.result = record.add(&self.file).await?;
        record.write(&self.cni.state)?;
        self.record = Some(record);
        Ok(self)
    }

    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The next step may have it, unless it was made for a hostname.
    pub fn give_back(self) {
        let cni = Arc::clone(&self.cni);
        let is_plain = self.record.as_ref().is_some_and(|record| record.args == args(""));
        let mut idle = cni.idle();
        if !is_plain || cni.work.is_closed() {
            return;
        }
        idle.push_back((Instant::now(), self));
        if idle.len() > cni.pool_size {
            let trimmed = Arc::clone(&cni);
            cni.runtime.spawn(async move {
                tokio::time::sleep(KEPT).await;
                trimmed.trim();
            });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let state = self.cni.state.clone();
        self.cni.work.spawn_on(async move { record.end(&state).await }, &self.cni.runtime);
    }
}

impl Record {
    fn file(&self, state: &Path) -> PathBuf {
        state.join(&self.id)
    }

    fn write(&self, state: &Path) -> Result<()> {
        let file = self.file(state).with_extension("json");
        let write = || {
            std::fs::create_dir_all(state)?;
            // A reader finds all of it or what was there before.
            let new = file.with_extension("new");
            std::fs::write(&new, serde_json::to_vec(self)?)?;
            std::fs::rename(&new, &file)
        };
        write().with_context(|| format!("failed to write `{}`", file.display()))
    }

    fn forget(&self, state: &Path) {
        let file = self.file(state);
        let gone = Namespace::unpin(&file).and_then(|()| std::fs::remove_file(file.with_extension("json")));
        if let Err(e) = gone {
            tracing::warn!("what is known of a network namespace stays in `{}`: {e}", file.display());
        }
    }

    async fn add(&self, namespace: &Path) -> Result<Value> {
        let container = Container { id: &self.id, namespace: Some(namespace), args: &self.args };
        let mut result = None;
        for (index, kind) in self.list.types().enumerate() {
            let config = self.list.told(index, result.as_ref());
            result = Some(self.plugins.run(kind, Verb::Add, &container, &config).await?);
        }
        Ok(result.unwrap_or_default())
    }

    /// Undoes what was done, in whatever state that is. What fails is told, and the rest is done all the same.
    async fn end(self, state: &Path) {
        let file = self.file(state);
        let namespace = is_namespace(&file).then_some(file.as_path());
        let container = Container { id: &self.id, namespace, args: &self.args };
        let result = Some(&self.result).filter(|result| !result.is_null());
        for (index, kind) in self.list.types().enumerate().collect::<Vec<_>>().into_iter().rev() {
            let config = self.list.told(index, result);
            if let Err(e) = self.plugins.run(kind, Verb::Del, &container, &config).await {
                tracing::warn!("a network namespace is not quite gone: {e}");
            }
        }
        self.forget(state);
    }
}

/// Ends what an engine left that was killed.
pub async fn sweep(state: &Path) {
    let entries: Vec<PathBuf> = match std::fs::read_dir(state) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => return,
    };
    let records = entries.iter().filter(|path| has_extension(path, "json"));
    join_all(records.map(|path| end_left(path, state))).await;
    entries
        .iter()
        .filter(|path| has_extension(path, "new"))
        .for_each(|path| drop(std::fs::remove_file(path)));
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

async fn end_left(path: &Path, state: &Path) {
    let text = std::fs::read(path).map_err(Error::from);
    let record = text.and_then(|text| {
        serde_json::from_slice::<Record>(&text)
            .map_err(|e| Error::environment(format!("it is no record: {e}")))
    });
    match record {
        Ok(record) => record.end(state).await,
        Err(e) => {
            tracing::warn!("`{}` tells nothing of a network namespace: {e}", path.display());
            let gone = Namespace::unpin(&path.with_extension("")).and_then(|()| std::fs::remove_file(path));
            gone.unwrap_or_else(|e| tracing::warn!("`{}` stays: {e}", path.display()));
        }
    }
}

fn is_namespace(file: &Path) -> bool {
    rustix::fs::statfs(file).is_ok_and(|of| of.f_type as u64 == NSFS)
}

/// Plugins that give names find the hostname where Kubernetes tells them that of a pod. What is no name, and so might
/// tell them something else, they are not told.
fn args(hostname: &str) -> String {
    match hostname.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        true if !hostname.is_empty() => format!("IgnoreUnknown=1;K8S_POD_NAME={hostname}"),
        _ => "IgnoreUnknown=1".into(),
    }
}

/// Twenty-five digits, as those of BuildKit's containers.
fn unique_id(state: &Path) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let seed = format!("{} {n} {} {:?}", state.display(), std::process::id(), SystemTime::now());
    Digest::of(seed).hex()[..25].to_owned()
}

#[cfg(test)]
mod tests;
