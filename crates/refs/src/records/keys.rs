//! The solver's keys in the database.
//!
//! They are read from there as they are asked for. Writes are gathered in memory, where reads find them, and a thread
//! puts them into the database: the solver never waits for a disk. A kill loses the last moments of it, which costs a
//! later build some work and nothing else: a key without a result is a miss, and so is a result that is gone.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use errdefs::Result;
use redb::Database;
use solver::{Entry, KeyId, KeyInfo, KeyStore, Link, MemoryKeys, Record, ResultId};

use super::rows::Rows;

/// How long writes are gathered.
const GATHER: Duration = Duration::from_millis(50);

/// The keys of all builds, and which results are known under them.
pub struct Keys {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    rows: Rows,
    state: Mutex<State>,
    /// Something was added, or written, or the end has come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the thread is putting into the database.
    writing: Layer,
    /// What came since.
    fresh: Layer,
    /// Changes that came in all, and those of them that the thread is done with.
    came: u64,
    done: u64,
    /// Write at once: somebody waits.
    hurry: bool,
    stop: bool,
}

/// Changes on top of what is below.
#[derive(Default)]
struct Layer {
    changes: Vec<Change>,
    added: MemoryKeys,
    forgotten: HashSet<ResultId>,
}

pub(super) enum Change {
    Add(Entry),
    Forget(ResultId),
}

impl Layer {
    fn push(&mut self, change: Change) -> Result<()> {
        match &change {
            Change::Add(entry) => self.added.add(entry)?,
            Change::Forget(result) => {
                self.added.forget(result)?;
                self.forgotten.insert(result.clone());
            }
        }
        self.changes.push(change);
        Ok(())
    }

    /// Puts the layer's records of a key on top of those below it.
    fn cover(&self, key: &KeyId, below: &mut Vec<Record>) -> Result<()> {
        let added = self.added.records(key)?;
        below.retain(|r| !self.forgotten.contains(&r.result) && !added.iter().any(|a| a.result == r.result));
        below.extend(added);
        Ok(())
    }
}

impl Keys {
    /// Opens the table. Records of results that do not exist any more are dropped in the background, where somebody says
    /// which.
    pub(super) fn open(
        db: Arc<Database>,
        exists: Option<impl Fn(&ResultId) -> bool + Send + 'static>,
    ) -> Result<Self> {
        let shared =
            Arc::new(Shared { rows: Rows::open(db)?, state: Mutex::default(), changed: Condvar::new() });
        let thread = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("keys-writer".into()).spawn(move || {
            if let Some(exists) = exists {
                thread.sweep(exists);
            }
            thread.write_all();
        })?;
        Ok(Keys { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Waits until all that came before is in the database.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        let all = state.came;
        while state.done < all {
            state.hurry = true;
            self.shared.changed.notify_all();
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Keys {
    /// Writes what is left.
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of cache keys panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) -> Result<()> {
        let mut state = self.lock();
        state.fresh.push(change)?;
        state.came += 1;
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// The thread: writes what comes, until the end.
    fn write_all(&self) {
        let mut state = self.lock();
        loop {
            while state.fresh.changes.is_empty() && !state.stop {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.fresh.changes.is_empty() {
                return;
            }
            let gathering = |s: &mut State| !s.hurry && !s.stop;
            let waited = self.changed.wait_timeout_while(state, GATHER, gathering);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.hurry = false;
            state.writing = std::mem::take(&mut state.fresh);
            let changes = std::mem::take(&mut state.writing.changes);
            drop(state);
            if let Err(e) = self.rows.write(&changes) {
                tracing::error!("cache keys are not written: {e}");
            }
            state = self.lock();
            state.writing = Layer::default();
            state.done += changes.len() as u64;
            self.changed.notify_all();
        }
    }

    /// Drops the records of results that were lost while nobody looked.
    fn sweep(&self, exists: impl Fn(&ResultId) -> bool) {
        let sweep = || -> Result<()> {
            let results = self.rows.results()?;
            results.into_iter().filter(|r| !exists(r)).try_for_each(|r| self.change(Change::Forget(r)))
        };
        if let Err(e) = sweep() {
            tracing::warn!("lost results are not swept: {e}");
        }
    }

    /// What all layers and the database know, without doubles, in order.
    fn gather<T: Ord>(
        &self,
        rows: impl FnOnce(&Rows) -> Result<Vec<T>>,
        layer: impl Fn(&MemoryKeys) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let state = self.lock();
        let mut all = rows(&self.rows)?;
        all.extend(layer(&state.writing.added)?);
        all.extend(layer(&state.fresh.added)?);
        all.sort();
        all.dedup();
        Ok(all)
    }
}

impl KeyStore for Keys {
    fn contains(&self, key: &KeyId) -> Result<bool> {
        let state = self.shared.lock();
        Ok(state.fresh.added.contains(key)?
            || state.writing.added.contains(key)?
            || self.shared.rows.contains(key)?)
    }

    fn targets(&self, from: &KeyId, link: &Link) -> Result<Vec<KeyId>> {
        self.shared.gather(|rows| rows.targets(from, link), |layer| layer.targets(from, link))
    }

    fn origins(&self, to: &KeyId) -> Result<Vec<(KeyId, Link)>> {
        self.shared.gather(|rows| rows.origins(to), |layer| layer.origins(to))
    }

    fn records(&self, key: &KeyId) -> Result<Vec<Record>> {
        let state = self.shared.lock();
        let mut records = self.shared.rows.records(key)?;
        state.writing.cover(key, &mut records)?;
        state.fresh.cover(key, &mut records)?;
        records.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.result.cmp(&b.result)));
        Ok(records)
    }

    fn info(&self, key: &KeyId) -> Result<Option<KeyInfo>> {
        let state = self.shared.lock();
        for layer in [&state.fresh, &state.writing] {
            if let Some(info) = layer.added.info(key)? {
                return Ok(Some(info));
            }
        }
        self.shared.rows.info(key)
    }

    fn keys_of(&self, result: &ResultId) -> Result<Vec<KeyId>> {
        let state = self.shared.lock();
        let mut keys = self.shared.rows.keys_of(result)?;
        for layer in [&state.writing, &state.fresh] {
            if layer.forgotten.contains(result) {
                keys.clear();
            }
            keys.extend(layer.added.keys_of(result)?);
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    fn results(&self) -> Result<Vec<ResultId>> {
        let state = self.shared.lock();
        let mut results = self.shared.rows.results()?;
        for layer in [&state.writing, &state.fresh] {
            results.retain(|r| !layer.forgotten.contains(r));
            results.extend(layer.added.results()?);
        }
        results.sort();
        results.dedup();
        Ok(results)
    }

    fn add(&self, entry: &Entry) -> Result<()> {
        self.shared.change(Change::Add(entry.clone()))
    }

    fn forget(&self, result: &ResultId) -> Result<()> {
        self.shared.change(Change::Forget(result.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use jiff::Timestamp;

    use super::*;

    fn open(path: &Path, exists: impl Fn(&ResultId) -> bool + Send + 'static) -> Keys {
        let db = Database::create(path).expect("a new database");
        Keys::open(Arc::new(db), Some(exists)).expect("its tables")
    }

    #[test]
    fn the_exam_is_passed() {
        let dir = tempfile::tempdir().expect("a folder");
        let count = Cell::new(0);
        let new = || {
            count.set(count.get() + 1);
            open(&dir.path().join(count.get().to_string()), |_| true)
        };
        solver::suite::key_store(new, Keys::flush);
    }

    #[test]
    fn records_outlive_the_process_and_lost_results_are_swept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("db");
        let keys = open(&path, |_| true);
        for name in ["kept", "lost"] {
            let record = Record { result: ResultId(name.into()), created_at: Timestamp::UNIX_EPOCH };
            let key = KeyId::from_stored(name);
            keys.add(&Entry { key, links: Vec::new(), record: Some(record), info: None }).expect("add");
        }
        drop(keys);
        let keys = open(&path, |result| result.0 != "lost");
        // The sweep is the first thing that the writer does.
        while keys.results().expect("results").len() > 1 {
            std::thread::yield_now();
        }
        assert_eq!(keys.results().expect("results"), [ResultId("kept".into())]);
        keys.flush();
        assert!(!keys.contains(&KeyId::from_stored("lost")).expect("contains"));
    }
}
