use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;
use oci::{Descriptor, Digest};
use refs::Refs;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::history::listen::Listeners;
use crate::history::table::Table;
use crate::history::trace::{TRACE, trace};
use crate::history::{BuildRecord, HistoryEvent, Limits, Listening, Query, Recording, Wire};

/// How often old records are looked for.
const PERIOD: Duration = Duration::from_secs(120);

/// The history of one store. Cheap to clone.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    table: Table,
    refs: Refs,
    wire: Arc<dyn Wire>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    active: BTreeMap<String, Arc<BuildRecord>>,
    listeners: Listeners,
    /// Listeners end when the builds have.
    ending: bool,
}

/// What is to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Pin(bool),
    Remove,
    /// All that belongs to it is there when this returns.
    Finalize,
}

impl History {
    /// Opens the history in `root` and in the database of `refs`, where it keeps the blobs of its records.
    pub fn open(refs: &Refs, root: &Path, wire: Arc<dyn Wire>, limits: Limits) -> Result<Self> {
        let table = Table::open(Arc::clone(refs.database()), root)?;
        let state = Mutex::default();
        let inner = Arc::new(Inner { table, refs: refs.clone(), wire, limits, state });
        // The refs outlive the history, so they do not hold it.
        let kept = Arc::downgrade(&inner);
        refs.add_roots(Arc::new(move || match kept.upgrade() {
            Some(inner) => Ok(inner.table.list()?.iter().flat_map(BuildRecord::blobs).collect()),
            None => Ok(Vec::new()),
        }));
        Ok(History(inner))
    }

    /// A build has started.
    pub fn begin(&self, record: BuildRecord) -> Recording {
        let record = Arc::new(record);
        let mut state = self.state();
        state.active.insert(record.id.clone(), Arc::clone(&record));
        state.listeners.tell(&HistoryEvent::Started(Arc::clone(&record)));
        drop(state);
        Recording { history: self.clone(), record }
    }

    /// What is known, and what comes.
    pub async fn listen(&self, query: Query) -> Result<Listening> {
        let (mut known, live) = self.subscribe(&query);
        if !query.active_only {
            let history = self.clone();
            let records = blocking(move || history.0.table.list()).await?;
            known.extend(query.select(records).into_iter().map(|r| HistoryEvent::Completed(Arc::new(r))));
        }
        Ok(Listening { known: known.into(), live, query })
    }

    /// The builds that run, and all that happens from then on.
    fn subscribe(&self, query: &Query) -> (Vec<HistoryEvent>, Option<UnboundedReceiver<HistoryEvent>>) {
        let mut state = self.state();
        let live = (!query.early_exit).then(|| state.listeners.subscribe());
        let active = state.active.values().filter(|r| query.is_about(&r.id)).cloned();
        (active.map(HistoryEvent::Started).collect(), live)
    }

    /// The record of a build that is over.
    pub async fn get(&self, id: &str) -> Result<Option<BuildRecord>> {
        let (history, id) = (self.clone(), id.to_owned());
        blocking(move || history.0.table.get(&id)).await
    }

    /// Changes a record, or removes it. What is not there need not be removed.
    pub async fn update(&self, id: &str, change: Change) -> Result<()> {
        let (history, id) = (self.clone(), id.to_owned());
        match change {
            Change::Remove => blocking(move || history.remove(&[id])).await,
            Change::Finalize => blocking(move || history.finalize(&id)).await,
            Change::Pin(pinned) => {
                blocking(move || {
                    let changed = history.0.table.update(&id, |record| record.pinned = pinned)?;
                    let changed = changed.ok_or_else(|| unknown(&id))?;
                    history.state().listeners.tell(&HistoryEvent::Completed(Arc::new(changed)));
                    Ok(())
                })
                .await
            }
        }
    }

    /// Takes in the record of a build of elsewhere; `false` where it is known. `lease` holds its blobs.
    ///
    /// # Errors
    /// A record that has not ended, or a blob of it that is not there.
    pub async fn import(&self, record: BuildRecord, lease: content::Lease) -> Result<bool> {
        let history = self.clone();
        blocking(move || {
            if record.end.is_none() || record.id.is_empty() {
                return Err(Error::user("the record is not of a build that is over"));
            }
            if let Some(missing) = record.own_blobs().iter().find(|digest| !lease.hold(digest)) {
                return Err(Error::not_found(format!(
                    "the record names the blob {missing}, which did not come along"
                )));
            }
            if history.0.table.get(&record.id)?.is_some() {
                return Ok(false);
            }
            history.completed(record)?;
            Ok(true)
        })
        .await
    }

    /// Removes what is over the limits, now and then. Never ends.
    pub async fn keep_limits(self) {
        loop {
            let history = self.clone();
            let kept = blocking(move || {
                let excess = history.0.limits.excess(&history.0.table.list()?, Timestamp::now());
                if excess.is_empty() { Ok(()) } else { history.remove(&excess) }
            });
            if let Err(e) = kept.await {
                tracing::warn!("failed to keep the history within its limits: {e}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Ends all listeners as soon as no build runs.
    pub fn end_listeners(&self) {
        let mut state = self.state();
        state.ending = true;
        state.close_if_over();
    }

    pub(super) fn content(&self) -> &content::Store {
        self.0.refs.content()
    }

    pub(super) fn wire(&self) -> &dyn Wire {
        &*self.0.wire
    }

    /// The blobs but layers that a manifest or index names.
    pub(super) fn parts_of(&self, digest: &Digest) -> Vec<Digest> {
        self.0.refs.parts_of(digest)
    }

    pub(super) fn completed(&self, record: BuildRecord) -> Result<()> {
        self.0.table.put(&record)?;
        let mut state = self.state();
        state.active.remove(&record.id);
        state.listeners.tell(&HistoryEvent::Completed(Arc::new(record)));
        state.close_if_over();
        Ok(())
    }

    /// A build is over that leaves no record, or has left it.
    pub(super) fn forget_active(&self, id: &str) {
        let mut state = self.state();
        if state.active.remove(id).is_some() {
            state.listeners.tell(&HistoryEvent::Deleted(id.to_owned()));
        }
        state.close_if_over();
    }

    /// Gives a record its trace, which is made of its log. One that goes meanwhile needs none.
    fn finalize(&self, id: &str) -> Result<()> {
        let record = self.0.table.get(id)?.ok_or_else(|| unknown(id))?;
        let Some(end) = record.end.as_ref().filter(|end| end.trace.is_none()) else { return Ok(()) };
        let Some(log) = &end.log else { return Ok(()) };
        let lease = self.content().lease();
        let vertices = self.wire().vertices(self.content().open_blob(&log.digest)?)?;
        let bytes = trace(&record, end, &vertices);
        let mut ingest = lease.ingest(None)?;
        ingest.write_all(&bytes).context("failed to keep the trace of a build")?;
        let trace = Descriptor::new(TRACE, ingest.commit()?, bytes.len() as u64);
        let changed = self.0.table.update(id, |record| {
            if let Some(end) = &mut record.end {
                end.trace = Some(trace);
            }
        })?;
        if let Some(changed) = changed {
            self.state().listeners.tell(&HistoryEvent::Completed(Arc::new(changed)));
        }
        Ok(())
    }

    fn remove(&self, ids: &[String]) -> Result<()> {
        let removed = self.0.table.remove(ids)?;
        let mut state = self.state();
        for record in &removed {
            state.listeners.tell(&HistoryEvent::Deleted(record.id.clone()));
        }
        drop(state);
        let blobs: Vec<_> = removed.iter().flat_map(BuildRecord::blobs).collect();
        if blobs.is_empty() { Ok(()) } else { self.0.refs.collect_blobs(&blobs) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close_if_over(&mut self) {
        if self.ending && self.active.is_empty() {
            self.listeners.close();
        }
    }
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("failed to retrieve ref {id}"))
        .hint("`kiln history ls` lists the builds that are known")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::internal(format!("a task of the history ended: {e}"))))
}
