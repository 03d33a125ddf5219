//! What is worth knowing after a restart: rows of one table, by the hash of what they are about.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Error, Result};
use oci::Digest;
use redb::{Database, Durability, ReadableDatabase as _, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One table. Losing its last rows costs time, nothing else, so nobody waits for them to be written: the database takes
/// one writer at a time, and another may be waiting for the disk.
pub struct Memory<T> {
    table: Arc<Table>,
    rows: PhantomData<fn() -> T>,
}

struct Table {
    db: Arc<Database>,
    definition: TableDefinition<'static, &'static str, &'static [u8]>,
    fresh: Mutex<Fresh>,
}

/// Rows that are not written yet, by key.
#[derive(Default)]
struct Fresh {
    rows: HashMap<String, Vec<u8>>,
    being_written: bool,
}

impl<T: Serialize + DeserializeOwned> Memory<T> {
    pub fn new(db: Arc<Database>, table: &'static str) -> Self {
        let (definition, fresh) = (TableDefinition::new(table), Mutex::default());
        Memory { table: Arc::new(Table { db, definition, fresh }), rows: PhantomData }
    }

    /// A row that cannot be read any more is none.
    pub fn get(&self, about: &str) -> Result<Option<T>> {
        let row = self.table.get(Digest::of(about).hex())?;
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()))
    }

    /// Puts a row; to be called in an async runtime, which writes it in its own time.
    pub fn put(&self, about: &str, row: &T) -> Result<()> {
        let json = serde_json::to_vec(row).map_err(|e| Error::internal(e.to_string()))?;
        let mut fresh = self.table.fresh();
        fresh.rows.insert(Digest::of(about).hex().to_owned(), json);
        if !std::mem::replace(&mut fresh.being_written, true) {
            let table = Arc::clone(&self.table);
            tokio::task::spawn_blocking(move || table.write_all());
        }
        Ok(())
    }
}

impl Table {
    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        if let Some(row) = self.fresh().rows.get(key) {
            return Ok(Some(row.clone()));
        }
        let txn = self.db.begin_read().map_err(failed)?;
        let table = match txn.open_table(self.definition) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        Ok(table.get(key).map_err(failed)?.map(|row| row.value().to_vec()))
    }

    /// Writes what is fresh, until nothing is. What cannot be written is tried again with the next row.
    fn write_all(&self) {
        loop {
            let rows = self.fresh().rows.clone();
            let written = self.write(&rows);
            let mut fresh = self.fresh();
            match &written {
                // One that changed meanwhile stays.
                Ok(()) => fresh.rows.retain(|key, row| rows.get(key) != Some(row)),
                Err(e) => tracing::warn!("a restart will forget what is known of sources: {e}"),
            }
            if fresh.rows.is_empty() || written.is_err() {
                fresh.being_written = false;
                return;
            }
        }
    }

    fn write(&self, rows: &HashMap<String, Vec<u8>>) -> Result<()> {
        let mut txn = self.db.begin_write().map_err(failed)?;
        txn.set_durability(Durability::None).map_err(failed)?;
        {
            let mut table = txn.open_table(self.definition).map_err(failed)?;
            for (key, row) in rows {
                table.insert(key.as_str(), row.as_slice()).map_err(failed)?;
            }
        }
        txn.commit().map_err(failed)
    }
}

fn failed(e: impl Into<redb::Error>) -> Error {
    Error::environment(format!("the database failed: {}", e.into()))
}
