//! The rows on the disk, and which of them a power cut cannot take.

use std::collections::HashMap;
use std::sync::Arc;

use errdefs::Result;
use redb::{Database, ReadOnlyTable, ReadableTable as _, Table, TableDefinition, TableError};

use super::index::{self, INDEX};
use super::{begin, begin_lazy, begin_read, failed};
use crate::record::{Record, RefId};

/// Number and boot of the write, and the record as JSON with a checksum.
type Stored = (u64, &'static str, &'static [u8]);

/// By id.
const RECORDS: TableDefinition<'_, &str, Stored> = TableDefinition::new("refs.records.v1");
/// The last durable version of records that have one which is not durable yet, by id.
const BEFORE: TableDefinition<'_, &str, Stored> = TableDefinition::new("refs.before.v1");
/// The number of the last write that a power cut cannot take, under the empty name.
const DURABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("refs.durable.v1");

/// A record to be written.
pub struct Row {
    pub bytes: Vec<u8>,
    /// Nothing but the last use has changed.
    pub only_use: bool,
}

pub struct Rows {
    db: Arc<Database>,
    boot: String,
    next: u64,
    durable: u64,
}

impl Rows {
    /// Gives also all records that can be trusted.
    pub fn load(db: Arc<Database>, boot: String) -> Result<(Self, Vec<(RefId, Record)>)> {
        // What is restored here would be restored again.
        let txn = begin_lazy(&db)?;
        let (durable, mut next);
        let mut loaded = Vec::new();
        let mut is_restored = false;
        {
            let mut records = txn.open_table(RECORDS).map_err(failed)?;
            let mut before = txn.open_table(BEFORE).map_err(failed)?;
            let table = txn.open_table(DURABLE).map_err(failed)?;
            durable = table.get("").map_err(failed)?.map_or(0, |value| value.value());
            // The rows of the last writes may be gone, their numbers must not come again.
            next = durable + 1;
            let mut untrusted = Vec::new();
            for row in records.iter().map_err(failed)? {
                let (id, value) = row.map_err(failed)?;
                let (number, written_in, bytes) = value.value();
                next = next.max(number + 1);
                let safe = number <= durable || (!boot.is_empty() && written_in == boot);
                match read(id.value(), bytes).filter(|_| safe) {
                    Some(record) => loaded.push((RefId::from(id.value()), record)),
                    None => untrusted.push(id.value().to_owned()),
                }
            }
            is_restored |= !untrusted.is_empty();
            for id in untrusted {
                if let Some(record) = restore(&id, durable, &mut records, &mut before)? {
                    loaded.push((RefId::from(&*id), record));
                }
            }
        }
        if is_restored
            || !index_of(&db)?.as_ref().is_some_and(|index| index::is_complete(index).unwrap_or(false))
        {
            index::rebuild(&txn, &loaded)?;
        }
        txn.commit().map_err(failed)?;
        Ok((Rows { db, boot, next, durable }, loaded))
    }

    /// Opens the rows without reading them, after a clean end; `None` where they cannot be found by their marks.
    pub fn open_unread(db: Arc<Database>, boot: String) -> Result<Option<Self>> {
        let index = index_of(&db)?;
        if !index.is_some_and(|index| index::is_complete(&index).unwrap_or(false)) {
            return Ok(None);
        }
        let table = begin_read(&db)?.open_table(DURABLE).map_err(failed)?;
        let durable = table.get("").map_err(failed)?.map_or(0, |value| value.value());
        // The last engine made all its writes durable.
        Ok(Some(Rows { db, boot, next: durable + 1, durable }))
    }

    /// The number of the last write.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    pub fn write(&mut self, rows: HashMap<RefId, Option<Row>>) -> Result<()> {
        let txn = begin(&self.db)?;
        {
            let mut records = txn.open_table(RECORDS).map_err(failed)?;
            let mut before = txn.open_table(BEFORE).map_err(failed)?;
            let mut index = txn.open_table(INDEX).map_err(failed)?;
            for (id, row) in rows {
                match row {
                    Some(row) => {
                        if !row.only_use {
                            let there = records.get(&*id).map_err(failed)?;
                            let there = there.and_then(|there| read(&id, there.value().2));
                            index::update(&mut index, &id, there.as_ref(), read(&id, &row.bytes).as_ref())?;
                        }
                        self.put(&id, &row, &mut records, &mut before)?;
                    }
                    None => {
                        let there = records.remove(&*id).map_err(failed)?;
                        let there = there.and_then(|there| read(&id, there.value().2));
                        index::update(&mut index, &id, there.as_ref(), None)?;
                        before.remove(&*id).map_err(failed)?;
                    }
                }
                self.next += 1;
            }
        }
        txn.commit().map_err(failed)
    }

    fn put(
        &self,
        id: &RefId,
        row: &Row,
        records: &mut Table<'_, &'static str, Stored>,
        before: &mut Table<'_, &'static str, Stored>,
    ) -> Result<()> {
        let (mut number, mut boot) = (self.next, self.boot.clone());
        if let Some(there) = records.get(&**id).map_err(failed)? {
            let (last, written_in, bytes) = there.value();
            if row.only_use {
                (number, boot) = (last, written_in.to_owned());
            } else if last <= self.durable {
                before.insert(&**id, (last, written_in, bytes)).map_err(failed)?;
            }
        }
        records.insert(&**id, (number, &*boot, &*row.bytes)).map(drop).map_err(failed)
    }

    /// Notes that all writes up to this one are durable.
    pub fn set_durable(&mut self, last: u64) -> Result<()> {
        let txn = begin(&self.db)?;
        {
            txn.open_table(DURABLE).map_err(failed)?.insert("", last).map_err(failed)?;
            // No write comes between: the thread that calls this makes them all.
            txn.open_table(BEFORE).map_err(failed)?.retain(|_, _| false).map_err(failed)?;
        }
        txn.commit().map_err(failed)?;
        self.durable = last;
        Ok(())
    }
}

/// The index, where there is one.
pub fn index_of(db: &Database) -> Result<Option<ReadOnlyTable<(&'static str, &'static str), ()>>> {
    match begin_read(db)?.open_table(INDEX) {
        Ok(index) => Ok(Some(index)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

/// The record of this id.
pub fn get(db: &Database, id: &str) -> Result<Option<Record>> {
    let records = begin_read(db)?.open_table(RECORDS).map_err(failed)?;
    Ok(records.get(id).map_err(failed)?.and_then(|row| read(id, row.value().2)))
}

/// All records.
pub fn all(db: &Database) -> Result<Vec<(RefId, Record)>> {
    let records = begin_read(db)?.open_table(RECORDS).map_err(failed)?;
    let mut all = Vec::new();
    for row in records.iter().map_err(failed)? {
        let (id, value) = row.map_err(failed)?;
        all.extend(read(id.value(), value.value().2).map(|record| (RefId::from(id.value()), record)));
    }
    Ok(all)
}

/// Puts the durable version of a record in the place of one that is not to be trusted; removes that where there is none.
fn restore(
    id: &str,
    durable: u64,
    records: &mut Table<'_, &'static str, Stored>,
    before: &mut Table<'_, &'static str, Stored>,
) -> Result<Option<Record>> {
    records.remove(id).map_err(failed)?;
    let Some(row) = before.remove(id).map_err(failed)? else { return Ok(None) };
    let (number, boot, bytes) = row.value();
    let Some(record) = read(id, bytes).filter(|_| number <= durable) else { return Ok(None) };
    records.insert(id, (number, boot, bytes)).map_err(failed)?;
    Ok(Some(record))
}

fn read(id: &str, bytes: &[u8]) -> Option<Record> {
    let Some(json) = unsealed(bytes) else {
        tracing::error!(id, "a record is damaged");
        return None;
    };
    serde_json::from_slice(json).inspect_err(|e| tracing::warn!(id, "a record cannot be read: {e}")).ok()
}

/// The bytes of a row: JSON, and a line with a checksum of it. The database has checksums of its own but does not look
/// at them when it reads.
pub fn sealed(mut json: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&json);
    json.push(b'\n');
    json.extend_from_slice(sum.as_bytes());
    json
}

/// The JSON of a row; nothing where it is damaged. Rows of the first version have no checksum.
fn unsealed(row: &[u8]) -> Option<&[u8]> {
    match row.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (checksum(&row[..at]).as_bytes() == &row[at + 1..]).then_some(&row[..at]),
        None => Some(row),
    }
}

fn checksum(bytes: &[u8]) -> String {
    oci::Digest::of(bytes).hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_seen() {
        let row = sealed(br#"{"a":1}"#.to_vec());
        assert_eq!(unsealed(&row), Some(&br#"{"a":1}"#[..]));
        for at in 0..row.len() {
            for bit in 0..8 {
                let mut damaged = row.clone();
                damaged[at] ^= 1 << bit;
                // Where the line end itself is hit, what is left is no JSON.
                let json = unsealed(&damaged).map(serde_json::from_slice::<serde_json::Value>);
                assert!(json.is_none_or(|json| json.is_err()), "{at} {bit}");
            }
        }
    }
}
