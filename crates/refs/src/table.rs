//! The records in the database, and the thread that writes them.
//!
//! Writes are gathered while one is under way, so a write costs its caller nothing, and a busy time costs one commit
//! for many. Each row carries the boot of the machine in which it was written. A syncfs in the background makes the
//! layers durable and with them all rows before it; after a crash of the machine the others are dropped.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use errdefs::{Error, Result};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::record::{Record, RefId};

/// Number and boot of the write, and the record as JSON, by id.
const RECORDS: TableDefinition<'_, &str, (u64, &str, &[u8])> = TableDefinition::new("refs.records.v1");
/// The number of the last write that a power cut cannot take, under the empty name.
const DURABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("refs.durable.v1");

/// How long after a write the layers are made durable, unless more comes.
const SETTLE: Duration = Duration::from_secs(2);
/// The longest that this is put off.
const SETTLE_AT_LAST: Duration = Duration::from_secs(15);

/// Makes everything on the file system durable.
pub type Sync = Arc<dyn Fn() -> Result<()> + Send + std::marker::Sync>;

pub struct Table {
    jobs: Mutex<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Job {
    Put(RefId, Vec<u8>),
    Delete(RefId),
    /// Answers when all before it is in the database.
    Flush(Sender<Result<()>>),
    /// Syncs, and ends the thread.
    Stop,
}

impl Table {
    /// Opens the table; gives what is in it.
    pub fn open(db: Arc<Database>, sync: Sync) -> Result<(Self, Vec<(RefId, Record)>)> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::open_in(boot.trim().to_owned(), db, sync)
    }

    fn open_in(boot: String, db: Arc<Database>, sync: Sync) -> Result<(Self, Vec<(RefId, Record)>)> {
        let (rows, next) = load(&db, &boot)?;
        let (jobs, queue) = channel();
        let writer = Writer { db, sync, boot, next, failed: None };
        let thread =
            std::thread::Builder::new().name("refs-writer".into()).spawn(move || writer.run(&queue))?;
        Ok((Table { jobs: Mutex::new(jobs), thread: Mutex::new(Some(thread)) }, rows))
    }

    pub fn put(&self, id: &RefId, record: &Record) {
        match serde_json::to_vec(record) {
            Ok(bytes) => self.send(Job::Put(id.clone(), bytes)),
            Err(e) => tracing::error!(%id, "a record is not written: {e}"),
        }
    }

    pub fn delete(&self, id: &RefId) {
        self.send(Job::Delete(id.clone()));
    }

    /// Waits until everything is in the database, so that no end of the process can take it.
    pub fn flush(&self) -> Result<()> {
        let (answer, wait) = channel();
        self.send(Job::Flush(answer));
        wait.recv().unwrap_or_else(|_| Err(Error::internal("the writer of records has ended")))
    }

    /// Makes everything durable and ends the thread.
    pub fn close(&self) {
        self.send(Job::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of records panicked");
        }
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

/// All rows that can be trusted, and the next number.
fn load(db: &Database, boot: &str) -> Result<(Vec<(RefId, Record)>, u64)> {
    let txn = begin(db)?;
    let mut rows = Vec::new();
    let mut next = 1;
    {
        let mut records = txn.open_table(RECORDS).map_err(failed)?;
        let durable = txn.open_table(DURABLE).map_err(failed)?;
        let durable = durable.get("").map_err(failed)?.map_or(0, |value| value.value());
        // The rows of the last writes may be gone, their numbers must not come again.
        next = next.max(durable + 1);
        let mut gone = Vec::new();
        for row in records.iter().map_err(failed)? {
            let (id, value) = row.map_err(failed)?;
            let (number, written_in, json) = value.value();
            next = next.max(number + 1);
            let safe = number <= durable || (!boot.is_empty() && written_in == boot);
            match serde_json::from_slice(json) {
                Ok(record) if safe => rows.push((RefId::from(id.value()), record)),
                Ok(_) => gone.push(id.value().to_owned()),
                Err(e) => {
                    tracing::warn!(id = id.value(), "dropped a record that cannot be read: {e}");
                    gone.push(id.value().to_owned());
                }
            }
        }
        for id in gone {
            records.remove(&*id).map_err(failed)?;
        }
    }
    txn.commit().map_err(failed)?;
    Ok((rows, next))
}

struct Writer {
    db: Arc<Database>,
    sync: Sync,
    boot: String,
    next: u64,
    /// The last failure, until somebody asks.
    failed: Option<Error>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
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
                    self.settle();
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
        let mut rows: HashMap<RefId, Option<Vec<u8>>> = HashMap::new();
        let mut answers = Vec::new();
        let mut stop = false;
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Put(id, bytes) => drop(rows.insert(id, Some(bytes))),
                Job::Delete(id) => drop(rows.insert(id, None)),
                Job::Flush(answer) => answers.push(answer),
                Job::Stop => stop = true,
            }
        }
        let wrote = !rows.is_empty();
        if wrote && let Err(e) = self.write(rows) {
            tracing::error!("records are not written: {e}");
            self.failed = Some(e);
        }
        let failed = if answers.is_empty() { None } else { self.failed.take() };
        for answer in answers {
            // Nobody waits any more: no harm.
            let _ = answer.send(failed.clone().map_or(Ok(()), Err));
        }
        (wrote, stop)
    }

    fn write(&mut self, rows: HashMap<RefId, Option<Vec<u8>>>) -> Result<()> {
        let txn = begin(&self.db)?;
        {
            let mut records = txn.open_table(RECORDS).map_err(failed)?;
            for (id, row) in rows {
                match row {
                    Some(json) => records.insert(&*id, (self.next, &*self.boot, &*json)).map(drop),
                    None => records.remove(&*id).map(drop),
                }
                .map_err(failed)?;
                self.next += 1;
            }
        }
        txn.commit().map_err(failed)
    }

    /// Makes durable what was written.
    fn settle(&mut self) {
        let last = self.next - 1;
        let settle = || -> Result<()> {
            (self.sync)()?;
            let txn = begin(&self.db)?;
            txn.open_table(DURABLE).map_err(failed)?.insert("", last).map_err(failed)?;
            txn.commit().map_err(failed)
        };
        if let Err(e) = settle() {
            tracing::warn!("records are not durable yet: {e}");
        }
    }
}

/// A write that reaches the disk, after which an open after a crash is quick.
pub fn begin(db: &Database) -> Result<redb::WriteTransaction> {
    let mut txn = db.begin_write().map_err(failed)?;
    txn.set_quick_repair(true);
    Ok(txn)
}

pub fn begin_read(db: &Database) -> Result<redb::ReadTransaction> {
    db.begin_read().map_err(failed)
}

pub fn failed(e: impl Into<redb::Error>) -> Error {
    Error::environment(format!("the database failed: {}", e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::NewRef;
    use crate::record::Kind;

    fn record(text: &str) -> Record {
        NewRef::regular(text).record(Kind::Merge { parents: Vec::new(), stack: None })
    }

    fn ids(rows: &[(RefId, Record)]) -> Vec<&str> {
        rows.iter().map(|(id, _)| &**id).collect()
    }

    /// Writes two rows, of which the first is durable, and ends without a chance to make the second so.
    fn written(dir: &std::path::Path) -> Arc<Database> {
        let db = Arc::new(Database::create(dir.join("db")).unwrap());
        let (table, rows) = Table::open_in("boot 1".into(), db.clone(), Arc::new(|| Ok(()))).unwrap();
        assert!(rows.is_empty());
        table.put(&"a".into(), &record("a"));
        table.close();
        let crash: Sync = Arc::new(|| Err(Error::environment("the power is gone")));
        let (table, rows) = Table::open_in("boot 1".into(), db.clone(), crash).unwrap();
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
        let (_table, rows) =
            Table::open_in("boot 1".into(), written(dir.path()), Arc::new(|| Ok(()))).unwrap();
        assert_eq!(ids(&rows), ["a", "b"]);
        assert_eq!(rows[1].1.description, "b");
    }

    #[test]
    fn an_end_of_the_machine_loses_what_was_not_durable() {
        let dir = tempfile::tempdir().unwrap();
        let db = written(dir.path());
        for boot in ["boot 2", ""] {
            let (_table, rows) = Table::open_in(boot.into(), db.clone(), Arc::new(|| Ok(()))).unwrap();
            assert_eq!(ids(&rows), ["a"]);
        }
    }
}
