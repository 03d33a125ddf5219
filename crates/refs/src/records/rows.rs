//! The rows of the database.

use std::sync::Arc;

use errdefs::{Error, Result};
use jiff::Timestamp;
use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};
use solver::{Entry, KeyId, KeyInfo, Link, Record, ResultId};

use super::keys::Change;
use crate::table::{begin, begin_lazy, begin_read, failed};

type Pair = (&'static str, &'static str);
type Triple = (&'static str, &'static str, &'static str);

/// What is known of a key, as JSON; empty while nothing is.
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("solver.keys.v1");
/// (key, link, key it leads to).
const LINKS: TableDefinition<'_, Triple, ()> = TableDefinition::new("solver.links.v1");
/// (key, key that leads to it, link).
const ORIGINS: TableDefinition<'_, Triple, ()> = TableDefinition::new("solver.origins.v1");
/// (key, result), with the time of the result in nanoseconds.
const RECORDS: TableDefinition<'_, Pair, i128> = TableDefinition::new("solver.records.v1");
/// (result, key).
const RESULTS: TableDefinition<'_, Pair, ()> = TableDefinition::new("solver.results.v1");

pub(super) struct Rows(Arc<Database>);

impl Rows {
    pub fn open(db: Arc<Database>) -> Result<Self> {
        let txn = begin_lazy(&db)?;
        drop(Tables::open(&txn)?);
        txn.commit().map_err(failed)?;
        Ok(Rows(db))
    }

    pub fn contains(&self, key: &KeyId) -> Result<bool> {
        let keys = begin_read(&self.0)?.open_table(KEYS).map_err(failed)?;
        Ok(keys.get(key.as_str()).map_err(failed)?.is_some())
    }

    pub fn targets(&self, from: &KeyId, link: &Link) -> Result<Vec<KeyId>> {
        let table = begin_read(&self.0)?.open_table(LINKS).map_err(failed)?;
        let link = encode(link);
        let mut targets = Vec::new();
        for row in table.range((from.as_str(), link.as_str(), "")..).map_err(failed)? {
            let row = row.map_err(failed)?.0;
            let (f, l, to) = row.value();
            if (f, l) != (from.as_str(), link.as_str()) {
                break;
            }
            targets.push(KeyId::from_stored(to));
        }
        Ok(targets)
    }

    pub fn origins(&self, to: &KeyId) -> Result<Vec<(KeyId, Link)>> {
        let table = begin_read(&self.0)?.open_table(ORIGINS).map_err(failed)?;
        let origins = triples_of(&table, to.as_str())?;
        origins.into_iter().map(|(from, link)| Ok((KeyId::from_stored(&from), decode(&link)?))).collect()
    }

    /// In no order.
    pub fn records(&self, key: &KeyId) -> Result<Vec<Record>> {
        let table = begin_read(&self.0)?.open_table(RECORDS).map_err(failed)?;
        let rows = pairs_of(&table, key.as_str(), |time| time)?;
        let record = |(result, time): (String, i128)| {
            let created_at = Timestamp::from_nanosecond(time).map_err(|_| damaged(&result))?;
            Ok(Record { result: ResultId(result), created_at })
        };
        rows.into_iter().map(record).collect()
    }

    pub fn info(&self, key: &KeyId) -> Result<Option<KeyInfo>> {
        let keys = begin_read(&self.0)?.open_table(KEYS).map_err(failed)?;
        match keys.get(key.as_str()).map_err(failed)? {
            Some(json) if !json.value().is_empty() => {
                serde_json::from_slice(json.value()).map(Some).map_err(|_| damaged(key.as_str()))
            }
            _ => Ok(None),
        }
    }

    pub fn keys_of(&self, result: &ResultId) -> Result<Vec<KeyId>> {
        let table = begin_read(&self.0)?.open_table(RESULTS).map_err(failed)?;
        let rows = pairs_of(&table, &result.0, |()| ())?;
        Ok(rows.into_iter().map(|(key, ())| KeyId::from_stored(&key)).collect())
    }

    pub fn results(&self) -> Result<Vec<ResultId>> {
        let table = begin_read(&self.0)?.open_table(RESULTS).map_err(failed)?;
        let mut results: Vec<ResultId> = Vec::new();
        for row in table.iter().map_err(failed)? {
            let row = row.map_err(failed)?.0;
            let result = row.value().0;
            if results.last().is_none_or(|last| last.0 != result) {
                results.push(ResultId(result.to_owned()));
            }
        }
        Ok(results)
    }

    /// Makes all changes, in order, or none.
    pub fn write(&self, changes: &[Change]) -> Result<()> {
        let txn = begin(&self.0)?;
        let mut tables = Tables::open(&txn)?;
        for change in changes {
            match change {
                Change::Add(entry) => tables.add(entry)?,
                Change::Forget(result) => tables.forget(result)?,
            }
        }
        drop(tables);
        txn.commit().map_err(failed)
    }
}

struct Tables<'t> {
    keys: Table<'t, &'static str, &'static [u8]>,
    links: Table<'t, Triple, ()>,
    origins: Table<'t, Triple, ()>,
    records: Table<'t, Pair, i128>,
    results: Table<'t, Pair, ()>,
}

impl<'t> Tables<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Self> {
        Ok(Tables {
            keys: txn.open_table(KEYS).map_err(failed)?,
            links: txn.open_table(LINKS).map_err(failed)?,
            origins: txn.open_table(ORIGINS).map_err(failed)?,
            records: txn.open_table(RECORDS).map_err(failed)?,
            results: txn.open_table(RESULTS).map_err(failed)?,
        })
    }

    fn add(&mut self, entry: &Entry) -> Result<()> {
        let to = entry.key.as_str();
        match &entry.info {
            Some(info) => {
                let json = serde_json::to_vec(info).map_err(|e| Error::internal(e.to_string()))?;
                self.keys.insert(to, json.as_slice()).map_err(failed)?;
            }
            None => self.ensure(to)?,
        }
        if let Some(record) = &entry.record {
            let result = record.result.0.as_str();
            self.records.insert((to, result), record.created_at.as_nanosecond()).map_err(failed)?;
            self.results.insert((result, to), ()).map_err(failed)?;
        }
        for (from, link) in &entry.links {
            let (from, link) = (from.as_str(), encode(link));
            self.ensure(from)?;
            self.links.insert((from, &*link, to), ()).map_err(failed)?;
            self.origins.insert((to, from, &*link), ()).map_err(failed)?;
        }
        Ok(())
    }

    fn ensure(&mut self, key: &str) -> Result<()> {
        if self.keys.get(key).map_err(failed)?.is_none() {
            self.keys.insert(key, &[][..]).map_err(failed)?;
        }
        Ok(())
    }

    fn forget(&mut self, result: &ResultId) -> Result<()> {
        let mut suspects = Vec::new();
        for (key, ()) in pairs_of(&self.results, &result.0, |()| ())? {
            self.results.remove((&*result.0, &*key)).map_err(failed)?;
            self.records.remove((&*key, &*result.0)).map_err(failed)?;
            suspects.push(key);
        }
        while let Some(key) = suspects.pop() {
            if !self.is_kept(&key)? {
                self.keys.remove(&*key).map_err(failed)?;
                for (from, link) in triples_of(&self.origins, &key)? {
                    self.origins.remove((&*key, &*from, &*link)).map_err(failed)?;
                    self.links.remove((&*from, &*link, &*key)).map_err(failed)?;
                    suspects.push(from);
                }
            }
        }
        Ok(())
    }

    fn is_kept(&self, key: &str) -> Result<bool> {
        let record = self.records.range((key, "")..).map_err(failed)?.next().transpose().map_err(failed)?;
        if record.is_some_and(|(at, _)| at.value().0 == key) {
            return Ok(true);
        }
        let link = self.links.range((key, "", "")..).map_err(failed)?.next().transpose().map_err(failed)?;
        Ok(link.is_some_and(|(at, _)| at.value().0 == key))
    }
}

/// The rows that begin with `first`, without it.
fn triples_of(table: &impl ReadableTable<Triple, ()>, first: &str) -> Result<Vec<(String, String)>> {
    let mut rows = Vec::new();
    for row in table.range((first, "", "")..).map_err(failed)? {
        let row = row.map_err(failed)?.0;
        let (of, second, third) = row.value();
        if of != first {
            break;
        }
        rows.push((second.to_owned(), third.to_owned()));
    }
    Ok(rows)
}

/// The rows that begin with `first`, without it, and their values.
fn pairs_of<V: redb::Value + 'static, T>(
    table: &impl ReadableTable<Pair, V>,
    first: &str,
    take: impl Fn(V::SelfType<'_>) -> T,
) -> Result<Vec<(String, T)>> {
    let mut rows = Vec::new();
    for row in table.range((first, "")..).map_err(failed)? {
        let (at, value) = row.map_err(failed)?;
        let (of, second) = at.value();
        if of != first {
            break;
        }
        rows.push((second.to_owned(), take(value.value())));
    }
    Ok(rows)
}

/// A link in text: `<input> <output> <digest> <selector>`, the selector empty where there is none.
fn encode(link: &Link) -> String {
    let selector = link.selector.as_ref().map_or("", |s| s.as_str());
    format!("{} {} {} {selector}", link.input, link.output, link.digest)
}

fn decode(text: &str) -> Result<Link> {
    let parse = || {
        let mut words = text.splitn(4, ' ');
        let link = Link {
            input: words.next()?.parse().ok()?,
            output: words.next()?.parse().ok()?,
            digest: words.next()?.parse().ok()?,
            selector: Some(words.next()?).filter(|s| !s.is_empty()).map(str::parse).transpose().ok()?,
        };
        Some(link)
    };
    parse().ok_or_else(|| damaged(text))
}

fn damaged(what: &str) -> Error {
    Error::environment(format!("the build cache is damaged at `{what}`"))
        .hint("`kiln prune --all` empties it, and builds fill it again")
}
