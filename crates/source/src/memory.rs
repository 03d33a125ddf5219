//! What is worth knowing after a restart: rows of one table, by the hash of what they are about.

use std::marker::PhantomData;
use std::sync::Arc;

use errdefs::{Error, Result};
use oci::Digest;
use redb::{Database, Durability, ReadableDatabase as _, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One table. Losing its last rows costs time, nothing else, so nobody waits for the disk.
pub struct Memory<T> {
    db: Arc<Database>,
    table: TableDefinition<'static, &'static str, &'static [u8]>,
    rows: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Memory<T> {
    pub fn new(db: Arc<Database>, table: &'static str) -> Self {
        Memory { db, table: TableDefinition::new(table), rows: PhantomData }
    }

    /// A row that cannot be read any more is none.
    pub fn get(&self, about: &str) -> Result<Option<T>> {
        let txn = self.db.begin_read().map_err(failed)?;
        let table = match txn.open_table(self.table) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let row = table.get(Digest::of(about).hex()).map_err(failed)?;
        Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
    }

    pub fn put(&self, about: &str, row: &T) -> Result<()> {
        let json = serde_json::to_vec(row).map_err(|e| Error::internal(e.to_string()))?;
        let mut txn = self.db.begin_write().map_err(failed)?;
        txn.set_durability(Durability::None).map_err(failed)?;
        txn.open_table(self.table)
            .map_err(failed)?
            .insert(Digest::of(about).hex(), &*json)
            .map_err(failed)?;
        txn.commit().map_err(failed)
    }
}

fn failed(e: impl Into<redb::Error>) -> Error {
    Error::environment(format!("the database failed: {}", e.into()))
}
