//! Records on disk.
//!
//! A write to the database waits for the disk, and a build should not. So a record is put as a file beside the database,
//! where an end of the process cannot take it, and goes into the database when somebody looks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Error, Result, ResultExt as _};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::history::BuildRecord;

/// Records as JSON, by id.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine.history.v1");

pub struct Table {
    db: Arc<Database>,
    /// Files of records that are not in the database yet.
    dir: PathBuf,
    next: AtomicU64,
    /// One at a time changes the database.
    changing: Mutex<()>,
}

impl Table {
    pub fn open(db: Arc<Database>, root: &Path) -> Result<Self> {
        let dir = root.join("history-v1");
        std::fs::create_dir_all(&dir).with_context(|| format!("failed to create `{}`", dir.display()))?;
        let table = Table { db, dir, next: AtomicU64::new(0), changing: Mutex::default() };
        let txn = refs::begin_lazy_write(&table.db)?;
        txn.open_table(RECORDS).map(drop).map_err(refs::database_failed)?;
        txn.commit().map_err(refs::database_failed)?;
        // Numbers begin anew, so that nothing of an earlier process may be left.
        table.merge()?;
        table.sweep();
        Ok(table)
    }

    /// Keeps a record from now on.
    pub fn put(&self, record: &BuildRecord) -> Result<()> {
        let json = encode(record)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (new, named) =
            (self.dir.join(format!("{number:020}.new")), self.dir.join(format!("{number:020}")));
        let written = std::fs::write(&new, json).and_then(|()| std::fs::rename(&new, &named));
        written.with_context(|| format!("failed to write `{}`", named.display()))
    }

    pub fn get(&self, id: &str) -> Result<Option<BuildRecord>> {
        self.merge()?;
        let txn = self.db.begin_read().map_err(refs::database_failed)?;
        let table = txn.open_table(RECORDS).map_err(refs::database_failed)?;
        let row = table.get(id).map_err(refs::database_failed)?;
        Ok(row.and_then(|row| read(row.value())))
    }

    /// All records, the oldest first.
    pub fn list(&self) -> Result<Vec<BuildRecord>> {
        self.merge()?;
        let txn = self.db.begin_read().map_err(refs::database_failed)?;
        let table = txn.open_table(RECORDS).map_err(refs::database_failed)?;
        let mut records = Vec::new();
        for row in table.iter().map_err(refs::database_failed)? {
            records.extend(read(row.map_err(refs::database_failed)?.1.value()));
        }
        records.sort_by_key(|record: &BuildRecord| record.created_at);
        Ok(records)
    }

    /// Changes a record; `None` where there is none.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut BuildRecord)) -> Result<Option<BuildRecord>> {
        self.merge()?;
        let _alone = self.lock();
        let txn = refs::begin_write(&self.db)?;
        let changed = {
            let mut table = txn.open_table(RECORDS).map_err(refs::database_failed)?;
            let known = table.get(id).map_err(refs::database_failed)?.and_then(|row| read(row.value()));
            let Some(mut record) = known else { return Ok(None) };
            change(&mut record);
            record.generation += 1;
            table.insert(id, &*encode(&record)?).map_err(refs::database_failed)?;
            record
        };
        txn.commit().map_err(refs::database_failed)?;
        Ok(Some(changed))
    }

    /// Removes records; gives those that were there.
    pub fn remove(&self, ids: &[String]) -> Result<Vec<BuildRecord>> {
        self.merge()?;
        let _alone = self.lock();
        let txn = refs::begin_write(&self.db)?;
        let mut removed = Vec::new();
        {
            let mut table = txn.open_table(RECORDS).map_err(refs::database_failed)?;
            for id in ids {
                let row = table.remove(&**id).map_err(refs::database_failed)?;
                removed.extend(row.and_then(|row| read(row.value())));
            }
        }
        txn.commit().map_err(refs::database_failed)?;
        Ok(removed)
    }

    /// Takes the files into the database.
    fn merge(&self) -> Result<()> {
        let _alone = self.lock();
        let files = self.files().with_context(|| format!("failed to list `{}`", self.dir.display()))?;
        if files.is_empty() {
            return Ok(());
        }
        let txn = refs::begin_write(&self.db)?;
        {
            let mut table = txn.open_table(RECORDS).map_err(refs::database_failed)?;
            for file in &files {
                let json =
                    std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
                // One that an end of the machine cut off is lost.
                if let Some(record) = read(&json) {
                    table.insert(&*record.id, &*json).map_err(refs::database_failed)?;
                }
            }
        }
        txn.commit().map_err(refs::database_failed)?;
        for file in &files {
            std::fs::remove_file(file).with_context(|| format!("failed to remove `{}`", file.display()))?;
        }
        Ok(())
    }

    /// Whole files, in the order of their writes.
    fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_none() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Removes what a write left half-done.
    fn sweep(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "new")) {
            let _stays_until_the_next_start = std::fs::remove_file(entry.path());
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(record: &BuildRecord) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|e| Error::internal(format!("a build record cannot be written: {e}")))
}

fn read(json: &[u8]) -> Option<BuildRecord> {
    serde_json::from_slice(json).inspect_err(|e| tracing::warn!("a build record cannot be read: {e}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{ended, record};

    fn ids(table: &Table) -> Vec<String> {
        table.list().expect("lists").into_iter().map(|r| r.id).collect()
    }

    #[test]
    fn records_stay_over_an_end_of_the_process() {
        let root = tempfile::tempdir().expect("a folder");
        let db = Arc::new(Database::create(root.path().join("db")).expect("a database"));
        let table = Table::open(Arc::clone(&db), root.path()).expect("opens");
        let end = Some(ended("2026-01-01T22:00:03Z"));
        table.put(&record("a")).expect("is put");
        table.put(&BuildRecord { end: end.clone(), ..record("a") }).expect("is put");
        table.put(&record("b")).expect("is put");
        // What an end in the middle of a write leaves, and what a power cut may.
        std::fs::write(root.path().join("history-v1/7.new"), "{").expect("is written");
        std::fs::write(root.path().join("history-v1/8"), "").expect("is written");
        let table = Table::open(Arc::clone(&db), root.path()).expect("opens");
        assert_eq!(ids(&table), ["a", "b"]);
        assert_eq!(table.get("a").expect("is read").expect("is there").end, end);
        assert_eq!(std::fs::read_dir(root.path().join("history-v1")).expect("is there").count(), 0);
    }

    #[test]
    fn changes_and_removals() {
        let root = tempfile::tempdir().expect("a folder");
        let db = Arc::new(Database::create(root.path().join("db")).expect("a database"));
        let table = Table::open(db, root.path()).expect("opens");
        table.put(&record("a")).expect("is put");
        let changed = table.update("a", |r| r.pinned = true).expect("is changed").expect("is there");
        assert!(changed.pinned && changed.generation == 1);
        assert!(table.update("b", |r| r.pinned = true).expect("asks").is_none());
        let removed = table.remove(&["a".into(), "b".into()]).expect("are removed");
        assert_eq!(removed, [changed]);
        assert_eq!(ids(&table), [""; 0]);
    }
}
