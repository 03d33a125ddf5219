//! What the database knows of blobs: which are durable, and their labels.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use errdefs::{Class, Code, Error, Result};
use oci::Digest;
use redb::{Database, Durability, ReadableDatabase, ReadableTable as _, TableDefinition, WriteTransaction};

/// Blobs whose bytes a power cut cannot take.
const DURABLE: TableDefinition<'_, &str, ()> = TableDefinition::new("content.durable.v1");
/// (digest, name) to value.
const LABELS: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("content.labels.v1");
/// The boot of the machine in which the store was last open, under the empty name.
const BOOT: TableDefinition<'_, &str, &str> = TableDefinition::new("content.boot.v1");

pub(crate) struct Table(Arc<Database>);

impl Table {
    pub fn open(db: Arc<Database>) -> Result<Self> {
        let table = Table(db);
        let txn = table.begin_lazy()?;
        txn.open_table(DURABLE).map_err(failed)?;
        txn.open_table(LABELS).map_err(failed)?;
        txn.open_table(BOOT).map_err(failed)?;
        txn.commit().map_err(failed)?;
        Ok(table)
    }

    pub fn boot(&self) -> Result<Option<String>> {
        let txn = self.0.begin_read().map_err(failed)?;
        let table = txn.open_table(BOOT).map_err(failed)?;
        Ok(table.get("").map_err(failed)?.map(|value| value.value().to_owned()))
    }

    pub fn set_boot(&self, boot: &str) -> Result<()> {
        self.write(|txn| {
            txn.open_table(BOOT).map_err(failed)?.insert("", boot).map_err(failed)?;
            Ok(())
        })
    }

    /// Forgets the blobs that are not among `there`, which a process that was killed may have removed without a word,
    /// and gives those that are there and not durable.
    pub fn retain_durable(&self, mut there: HashSet<Digest>) -> Result<Vec<Digest>> {
        let mut gone: Vec<Digest> = Vec::new();
        {
            let txn = self.0.begin_read().map_err(failed)?;
            let table = txn.open_table(DURABLE).map_err(failed)?;
            for row in table.iter().map_err(failed)? {
                if let Ok(digest) = row.map_err(failed)?.0.value().parse()
                    && !there.remove(&digest)
                {
                    gone.push(digest);
                }
            }
        }
        if !gone.is_empty() {
            self.forget(&gone)?;
        }
        Ok(there.into_iter().collect())
    }

    pub fn set_durable(&self, digests: &[Digest]) -> Result<()> {
        self.write(|txn| {
            let mut table = txn.open_table(DURABLE).map_err(failed)?;
            digests.iter().try_for_each(|d| table.insert(d.as_str(), ()).map(drop).map_err(failed))
        })
    }

    /// Forgets all about some blobs.
    pub fn forget(&self, digests: &[Digest]) -> Result<()> {
        self.write(|txn| {
            let mut durable = txn.open_table(DURABLE).map_err(failed)?;
            let mut labels = txn.open_table(LABELS).map_err(failed)?;
            for digest in digests {
                durable.remove(digest.as_str()).map_err(failed)?;
                labels.retain_in(range(digest, &after(digest)), |_, _| false).map_err(failed)?;
            }
            Ok(())
        })
    }

    pub fn labels(&self, digest: &Digest) -> Result<BTreeMap<String, String>> {
        let txn = self.0.begin_read().map_err(failed)?;
        let table = txn.open_table(LABELS).map_err(failed)?;
        let mut labels = BTreeMap::new();
        for row in table.range(range(digest, &after(digest))).map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            labels.insert(key.value().1.to_owned(), value.value().to_owned());
        }
        Ok(labels)
    }

    /// Sets labels, and removes those without a value. They become durable with what is written next.
    pub fn set_labels(&self, digest: &Digest, labels: &[(&str, Option<&str>)]) -> Result<()> {
        let txn = self.begin_lazy()?;
        {
            let mut table = txn.open_table(LABELS).map_err(failed)?;
            for (name, value) in labels {
                let key = (digest.as_str(), *name);
                match value {
                    Some(value) => table.insert(key, *value).map_err(failed)?,
                    None => table.remove(key).map_err(failed)?,
                };
            }
        }
        txn.commit().map_err(failed)
    }

    fn write(&self, f: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let txn = self.begin()?;
        f(&txn)?;
        txn.commit().map_err(failed)
    }

    /// A write that becomes durable with the next other one.
    fn begin_lazy(&self) -> Result<WriteTransaction> {
        let mut txn = self.0.begin_write().map_err(failed)?;
        txn.set_durability(Durability::None).map_err(failed)?;
        Ok(txn)
    }

    fn begin(&self) -> Result<WriteTransaction> {
        let mut txn = self.0.begin_write().map_err(failed)?;
        // Without it, the next start after a crash reads the whole database.
        txn.set_quick_repair(true);
        Ok(txn)
    }
}

/// All labels of a blob.
fn range<'a>(digest: &'a Digest, after: &'a str) -> std::ops::Range<(&'a str, &'a str)> {
    (digest.as_str(), "")..(after, "")
}

/// The least text after that of `digest`.
fn after(digest: &Digest) -> String {
    format!("{digest}\0")
}

fn failed(e: impl Into<redb::Error>) -> Error {
    match e.into() {
        redb::Error::Corrupted(e) => {
            Error::new(Class::Environment, Code::DataLoss, format!("the metadata database failed: {e}"))
        }
        redb::Error::Io(e) => Error::from(e).context("the metadata database failed"),
        e => Error::environment(format!("the metadata database failed: {e}")),
    }
}
