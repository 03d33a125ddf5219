//! By what states are found without reading all of them.

use std::collections::BTreeSet;
use std::fmt;

use errdefs::Result;
use oci::Digest;
use redb::{ReadOnlyTable, Table, TableDefinition, WriteTransaction};

use super::failed;
use crate::record::{Kind, Record, RefId};

/// (mark, id). A row with two empty texts says that none is missing.
pub const INDEX: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("refs.index.v1");
const COMPLETE: (&str, &str) = ("", "");
const BLOB: &str = "blob ";

/// What a state is found by.
#[derive(Debug)]
pub enum Mark<'a> {
    /// It is made of this state.
    On(&'a str),
    /// It came as a blob: the parent, and the digest of the unpacked archive.
    Layer { parent: Option<&'a str>, diff_id: &'a Digest },
    /// It has this blob.
    Blob(&'a Digest),
    /// It is the directory of a cache mount.
    Mount,
}

impl fmt::Display for Mark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::On(id) => write!(f, "on {id}"),
            Mark::Layer { parent, diff_id } => write!(f, "layer {} {diff_id}", parent.unwrap_or_default()),
            Mark::Blob(digest) => write!(f, "{BLOB}{digest}"),
            Mark::Mount => f.write_str("mount"),
        }
    }
}

/// The marks of a record.
fn marks(record: &Record) -> BTreeSet<String> {
    let mut marks: BTreeSet<String> =
        record.kind.parents().into_iter().map(|id| Mark::On(id).to_string()).collect();
    let blobs = record.made_blobs().map(|blob| &blob.descriptor.digest);
    marks.extend(blobs.map(|digest| Mark::Blob(digest).to_string()));
    match &record.kind {
        Kind::Layer { parent, blob: Some(blob), .. } => {
            let layer = Mark::Layer { parent: parent.as_deref(), diff_id: &blob.diff_id };
            marks.extend([layer.to_string(), Mark::Blob(&blob.descriptor.digest).to_string()]);
        }
        Kind::Scratch { .. } => drop(marks.insert(Mark::Mount.to_string())),
        _ => {}
    }
    marks
}

/// Keeps the index as a record changes from `before` to `after`.
pub fn update(
    index: &mut Table<'_, (&'static str, &'static str), ()>,
    id: &RefId,
    before: Option<&Record>,
    after: Option<&Record>,
) -> Result<()> {
    let (old, new) = (before.map(marks).unwrap_or_default(), after.map(marks).unwrap_or_default());
    for mark in old.difference(&new) {
        index.remove((&**mark, &**id)).map_err(failed)?;
    }
    for mark in new.difference(&old) {
        index.insert((&**mark, &**id), ()).map_err(failed)?;
    }
    Ok(())
}

/// Makes the index anew.
pub fn rebuild(txn: &WriteTransaction, rows: &[(RefId, Record)]) -> Result<()> {
    txn.delete_table(INDEX).map_err(failed)?;
    let mut index = txn.open_table(INDEX).map_err(failed)?;
    for (id, record) in rows {
        update(&mut index, id, None, Some(record))?;
    }
    index.insert(COMPLETE, ()).map_err(failed)?;
    Ok(())
}

/// Whether every state is found.
pub fn is_complete(index: &ReadOnlyTable<(&'static str, &'static str), ()>) -> Result<bool> {
    Ok(index.get(COMPLETE).map_err(failed)?.is_some())
}

/// The ids of the states with this mark.
pub fn marked(
    index: &ReadOnlyTable<(&'static str, &'static str), ()>,
    mark: &Mark<'_>,
) -> Result<Vec<RefId>> {
    let mark = mark.to_string();
    let mut ids = Vec::new();
    for row in index.range((&*mark, "")..).map_err(failed)? {
        let row = row.map_err(failed)?.0;
        let (name, id) = row.value();
        if name != mark {
            break;
        }
        ids.push(RefId::from(id));
    }
    Ok(ids)
}

/// All blobs of states, with the id of each that has it.
pub fn blobs(index: &ReadOnlyTable<(&'static str, &'static str), ()>) -> Result<Vec<(Digest, RefId)>> {
    let mut blobs = Vec::new();
    for row in index.range((BLOB, "")..).map_err(failed)? {
        let row = row.map_err(failed)?.0;
        let (name, id) = row.value();
        let Some(digest) = name.strip_prefix(BLOB) else { break };
        blobs.extend(digest.parse().ok().map(|digest| (digest, RefId::from(id))));
    }
    Ok(blobs)
}
