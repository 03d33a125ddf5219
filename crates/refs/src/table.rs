//! The records in the database, and the thread that writes them.
//!
//! Writes are gathered while one is under way, so a write costs its caller nothing, and a busy time costs one commit
//! for many. Each row carries the boot of the machine in which it was written. A syncfs in the background makes the
//! layers durable and with them all rows before it; after a crash of the machine the others are dropped.

mod index;
mod rows;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use errdefs::{Class, Code, Error, Result};
use oci::Digest;
use redb::{Database, Durability, ReadableDatabase as _};

use crate::record::{Record, RefId};
pub use index::Mark;
use rows::{Row, Rows, sealed};

/// How long after a write the layers are made durable, unless more comes.
const SETTLE: Duration = Duration::from_secs(2);
/// The longest that this is put off.
const SETTLE_AT_LAST: Duration = Duration::from_secs(15);

/// Makes everything on the file system durable.
pub type Sync = Arc<dyn Fn() -> Result<()> + Send + std::marker::Sync>;

pub struct Table {
    db: Arc<Database>,
    jobs: Mutex<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<bool>>>,
    /// The last mark that was given out.
    marked: AtomicU64,
    /// The last mark before which all is in the database.
    written: Arc<AtomicU64>,
}

/// What is in the database.
pub type Loaded = Vec<(RefId, Record)>;

enum Job {
    Put(RefId, Row),
    Delete(RefId),
    /// See [`Table::mark`].
    Mark(u64),
    /// Answers when all before it is in the database.
    Flush(Sender<Result<()>>),
    /// Syncs, and ends the thread.
    Stop,
}

impl Table {
    /// Opens the table; gives what is in it, unless the last engine came to a clean end: then it is not read.
    pub fn open(db: Arc<Database>, sync: Sync, is_clean: bool) -> Result<(Self, Option<Loaded>)> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::open_in(boot.trim().to_owned(), db, sync, is_clean)
    }

    fn open_in(
        boot: String,
        db: Arc<Database>,
        sync: Sync,
        is_clean: bool,
    ) -> Result<(Self, Option<Loaded>)> {
        let unread = if is_clean { Rows::open_unread(db.clone(), boot.clone())? } else { None };
        let (store, rows) = match unread {
            Some(store) => (store, None),
            None => Rows::load(db.clone(), boot).map(|(store, rows)| (store, Some(rows)))?,
        };
        let (jobs, queue) = channel();
        let written = Arc::new(AtomicU64::new(0));
        let writer = Writer { rows: store, sync, failed: None, written: Arc::clone(&written) };
        let thread =
            std::thread::Builder::new().name("refs-writer".into()).spawn(move || writer.run(&queue))?;
        let table = Table {
            db,
            jobs: Mutex::new(jobs),
            thread: Mutex::new(Some(thread)),
            marked: AtomicU64::new(0),
            written,
        };
        Ok((table, rows))
    }

    /// A record as it lies in the database; what was put a moment ago may not be there yet.
    pub fn get(&self, id: &str) -> Result<Option<Record>> {
        rows::get(&self.db, id)
    }

    /// As [`Table::get`], for all.
    pub fn all(&self) -> Result<Loaded> {
        rows::all(&self.db)
    }

    /// As [`Table::get`], for the ids of those with a mark.
    pub fn marked(&self, mark: &Mark<'_>) -> Result<Vec<RefId>> {
        rows::index_of(&self.db)?.map_or(Ok(Vec::new()), |index| index::marked(&index, mark))
    }

    /// As [`Table::get`], for all blobs, each with the id of one that has it.
    pub fn marked_blobs(&self) -> Result<Vec<(Digest, RefId)>> {
        rows::index_of(&self.db)?.map_or(Ok(Vec::new()), |index| index::blobs(&index))
    }

    pub fn put(&self, id: &RefId, record: &Record) {
        self.put_row(id, record, false);
    }

    /// As [`Table::put`], where nothing but the last use has changed: a power cut that comes before the next sync takes
    /// back no more than that.
    pub fn put_use(&self, id: &RefId, record: &Record) {
        self.put_row(id, record, true);
    }

    fn put_row(&self, id: &RefId, record: &Record, only_use: bool) {
        match serde_json::to_vec(record) {
            Ok(json) => self.send(Job::Put(id.clone(), Row { bytes: sealed(json), only_use })),
            Err(e) => tracing::error!(%id, "a record is not written: {e}"),
        }
    }

    pub fn delete(&self, id: &RefId) {
        self.send(Job::Delete(id.clone()));
    }

    /// What was written so far is something that a build relies on, and not only when a state was last used.
    pub fn mark(&self) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that marks are sent in their order.
        let _ = jobs.send(Job::Mark(self.marked.fetch_add(1, Ordering::AcqRel) + 1));
    }

    /// Waits until all before the last mark is in the database; does not wait where it is.
    pub fn flush_marked(&self) -> Result<()> {
        if self.written.load(Ordering::Acquire) >= self.marked.load(Ordering::Acquire) {
            return Ok(());
        }
        self.flush()
    }

    /// Waits until everything is in the database, so that no end of the process can take it.
    pub fn flush(&self) -> Result<()> {
        let (answer, wait) = channel();
        self.send(Job::Flush(answer));
        wait.recv().unwrap_or_else(|_| Err(Error::internal("the writer of records has ended")))
    }

    /// Makes everything durable and ends the thread. Says whether that went well.
    pub fn close(&self) -> bool {
        self.send(Job::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.is_some_and(|thread| match thread.join() {
            Ok(is_durable) => is_durable,
            Err(_) => {
                tracing::error!("the writer of records panicked");
                false
            }
        })
    }

    fn send(&self, job: Job) {
        // After the end there is nobody to tell.
        let _ = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    rows: Rows,
    sync: Sync,
    /// The last failure, until somebody asks.
    failed: Option<Error>,
    written: Arc<AtomicU64>,
}

impl Writer {
    /// Says whether all is durable at the end.
    fn run(mut self, queue: &Receiver<Job>) -> bool {
        // When the first and the last write came that is not durable yet.
        let mut unsettled: Option<(Instant, Instant)> = None;
        loop {
            let first = match unsettled {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some((first, last)) => {
                    let due = (last + SETTLE).min(first + SETTLE_AT_LAST);
                    queue.recv_timeout(due.saturating_duration_since(Instant::now()))
                }
            };
            match first {
                Err(RecvTimeoutError::Timeout) => {
                    // What is not durable now is so with what comes next.
                    let _ = self.settle();
                    unsettled = None;
                }
                Err(RecvTimeoutError::Disconnected) => return self.settle(),
                Ok(job) => {
                    let (wrote, stop) = self.batch(job, queue);
                    if stop {
                        return self.settle();
                    }
                    if wrote {
                        let now = Instant::now();
                        unsettled = Some((unsettled.map_or(now, |(first, _)| first), now));
                    }
                }
            }
        }
    }

    /// Carries out a job and all that wait; says whether something was written and whether to stop.
    fn batch(&mut self, first: Job, queue: &Receiver<Job>) -> (bool, bool) {
        let mut rows: HashMap<RefId, Option<Row>> = HashMap::new();
        let mut answers = Vec::new();
        let mut stop = false;
        let mut mark = None;
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Put(id, mut row) => {
                    row.only_use &=
                        rows.get(&id).is_none_or(|before| matches!(before, Some(r) if r.only_use));
                    rows.insert(id, Some(row));
                }
                Job::Delete(id) => drop(rows.insert(id, None)),
                Job::Mark(number) => mark = Some(number),
                Job::Flush(answer) => answers.push(answer),
                Job::Stop => stop = true,
            }
        }
        let wrote = !rows.is_empty();
        if wrote && let Err(e) = self.rows.write(rows) {
            tracing::error!("records are not written: {e}");
            self.failed = Some(e);
        } else if let Some(mark) = mark {
            self.written.store(mark, Ordering::Release);
        }
        let failed = if answers.is_empty() { None } else { self.failed.take() };
        for answer in answers {
            // Nobody waits any more: no harm.
            let _ = answer.send(failed.clone().map_or(Ok(()), Err));
        }
        (wrote, stop)
    }

    /// Makes durable what was written; says whether that went well.
    fn settle(&mut self) -> bool {
        let last = self.rows.last();
        let settled = (self.sync)().and_then(|()| self.rows.set_durable(last));
        settled.inspect_err(|e| tracing::warn!("records are not durable yet: {e}")).is_ok()
    }
}

/// A write that reaches the disk, after which an open after a crash is quick.
pub fn begin(db: &Database) -> Result<redb::WriteTransaction> {
    let mut txn = db.begin_write().map_err(failed)?;
    txn.set_quick_repair(true);
    Ok(txn)
}

/// A write that becomes durable with the next one of [`begin`]; before that, the end of the process takes it back. Nobody
/// waits for the disk.
pub fn begin_lazy(db: &Database) -> Result<redb::WriteTransaction> {
    let mut txn = db.begin_write().map_err(failed)?;
    txn.set_durability(Durability::None).map_err(failed)?;
    Ok(txn)
}

pub fn begin_read(db: &Database) -> Result<redb::ReadTransaction> {
    db.begin_read().map_err(failed)
}

pub fn failed(e: impl Into<redb::Error>) -> Error {
    let e = e.into();
    let code = if matches!(e, redb::Error::Corrupted(_)) { Code::DataLoss } else { Code::Unavailable };
    Error::new(Class::Environment, code, format!("the database failed: {e}"))
        .hint("`kiln engine check` looks for damage when the engine does not run")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::NewRef;
    use crate::record::Kind;

    fn record(text: &str) -> Record {
        NewRef::regular(text).record(Kind::Merge { parents: Vec::new(), stack: None })
    }

    fn open(boot: String, db: Arc<Database>, sync: Sync) -> Result<(Table, Loaded)> {
        let (table, rows) = Table::open_in(boot, db, sync, false)?;
        Ok((table, rows.expect("all was read")))
    }

    fn ids(rows: &[(RefId, Record)]) -> Vec<&str> {
        rows.iter().map(|(id, _)| &**id).collect()
    }

    /// Writes two rows, of which the first is durable, and ends without a chance to make the second so.
    fn written(dir: &std::path::Path) -> Arc<Database> {
        let db = Arc::new(Database::create(dir.join("db")).unwrap());
        let (table, rows) = open("boot 1".into(), db.clone(), Arc::new(|| Ok(()))).unwrap();
        assert!(rows.is_empty());
        table.put(&"a".into(), &record("a"));
        table.close();
        let crash: Sync = Arc::new(|| Err(Error::environment("the power is gone")));
        let (table, rows) = open("boot 1".into(), db.clone(), crash).unwrap();
        assert_eq!(ids(&rows), ["a"]);
        table.put(&"b".into(), &record("b"));
        table.put(&"c".into(), &record("c"));
        table.delete(&"c".into());
        table.flush().unwrap();
        db
    }

    #[test]
    fn an_end_of_the_process_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (_table, rows) = open("boot 1".into(), written(dir.path()), Arc::new(|| Ok(()))).unwrap();
        assert_eq!(ids(&rows), ["a", "b"]);
        assert_eq!(rows[1].1.description, "b");
    }

    #[test]
    fn a_change_that_is_not_durable_leaves_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let db = written(dir.path());
        let crash: Sync = Arc::new(|| Err(Error::environment("the power is gone")));
        for text in ["once", "twice"] {
            let (table, _) = open("boot 1".into(), db.clone(), crash.clone()).unwrap();
            table.put(&"a".into(), &record(text));
            table.close();
        }
        // An end of the process keeps the change, one of the machine what was before.
        for (boot, text) in [("boot 1", "twice"), ("boot 2", "a"), ("boot 3", "a")] {
            let (_table, rows) = open(boot.into(), db.clone(), crash.clone()).unwrap();
            assert_eq!(rows.iter().find(|(id, _)| **id == *"a").unwrap().1.description, text, "{boot}");
        }
    }

    #[test]
    fn a_use_that_is_not_durable_takes_no_durable_record_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let db = written(dir.path());
        let crash: Sync = Arc::new(|| Err(Error::environment("the power is gone")));
        let (table, _) = open("boot 1".into(), db.clone(), crash).unwrap();
        for id in ["a", "b"] {
            let used = Record { usage_count: 7, ..record(id) };
            table.put_use(&id.into(), &used);
        }
        table.close();
        let (_table, rows) = open("boot 2".into(), db, Arc::new(|| Ok(()))).unwrap();
        assert_eq!(ids(&rows), ["a"]);
        assert_eq!(rows[0].1.usage_count, 7);
    }

    #[test]
    fn an_end_of_the_machine_loses_what_was_not_durable() {
        let dir = tempfile::tempdir().unwrap();
        let db = written(dir.path());
        for boot in ["boot 2", ""] {
            let (_table, rows) = open(boot.into(), db.clone(), Arc::new(|| Ok(()))).unwrap();
            assert_eq!(ids(&rows), ["a"]);
        }
    }
}
