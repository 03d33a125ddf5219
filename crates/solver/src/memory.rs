//! Stores in memory: for tests, and for runs that nobody is to find again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use errdefs::Result;

use crate::keys::{Entry, KeyId, KeyInfo, KeyStore, Link};
use crate::results::{Record, ResultId, ResultStore};

/// A [`KeyStore`] in memory.
#[derive(Default)]
pub struct MemoryKeys {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    keys: HashMap<KeyId, Key>,
    by_result: HashMap<ResultId, BTreeSet<KeyId>>,
}

#[derive(Default)]
struct Key {
    records: Vec<Record>,
    info: Option<KeyInfo>,
    links: BTreeMap<Link, BTreeSet<KeyId>>,
    origins: BTreeSet<(KeyId, Link)>,
}

impl MemoryKeys {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.read().keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyStore for MemoryKeys {
    fn contains(&self, key: &KeyId) -> Result<bool> {
        Ok(self.read().keys.contains_key(key))
    }

    fn targets(&self, from: &KeyId, link: &Link) -> Result<Vec<KeyId>> {
        let tables = self.read();
        let targets = tables.keys.get(from).and_then(|k| k.links.get(link));
        Ok(targets.map(|t| t.iter().cloned().collect()).unwrap_or_default())
    }

    fn origins(&self, to: &KeyId) -> Result<Vec<(KeyId, Link)>> {
        Ok(self.read().keys.get(to).map(|k| k.origins.iter().cloned().collect()).unwrap_or_default())
    }

    fn records(&self, key: &KeyId) -> Result<Vec<Record>> {
        Ok(self.read().keys.get(key).map(|k| k.records.clone()).unwrap_or_default())
    }

    fn info(&self, key: &KeyId) -> Result<Option<KeyInfo>> {
        Ok(self.read().keys.get(key).and_then(|k| k.info.clone()))
    }

    fn keys_of(&self, result: &ResultId) -> Result<Vec<KeyId>> {
        Ok(self.read().by_result.get(result).map(|k| k.iter().cloned().collect()).unwrap_or_default())
    }

    fn results(&self) -> Result<Vec<ResultId>> {
        Ok(self.read().by_result.keys().cloned().collect())
    }

    fn add(&self, entry: &Entry) -> Result<()> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.add(entry);
        Ok(())
    }

    fn forget(&self, result: &ResultId) -> Result<()> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for id in tables.by_result.remove(result).unwrap_or_default() {
            if let Some(key) = tables.keys.get_mut(&id) {
                key.records.retain(|r| r.result != *result);
                tables.drop_unkept(id);
            }
        }
        Ok(())
    }
}

impl Tables {
    fn add(&mut self, entry: &Entry) {
        let Entry { key: id, links, record, info } = entry;
        let key = self.keys.entry(id.clone()).or_default();
        if let Some(info) = info {
            key.info = Some(info.clone());
        }
        if let Some(record) = record {
            key.records.retain(|r| r.result != record.result);
            let at = key.records.partition_point(|r| r.created_at > record.created_at);
            key.records.insert(at, record.clone());
            self.by_result.entry(record.result.clone()).or_default().insert(id.clone());
        }
        key.origins.extend(links.iter().cloned());
        for (from, link) in links {
            let from = self.keys.entry(from.clone()).or_default();
            from.links.entry(link.clone()).or_default().insert(id.clone());
        }
    }

    /// Removes `id` when nothing keeps it, and then whatever it alone kept.
    fn drop_unkept(&mut self, id: KeyId) {
        let mut suspects = vec![id];
        while let Some(id) = suspects.pop() {
            if !self.keys.get(&id).is_some_and(|k| k.records.is_empty() && k.links.is_empty()) {
                continue;
            }
            let Some(key) = self.keys.remove(&id) else { continue };
            for (from, link) in key.origins {
                let Some(origin) = self.keys.get_mut(&from) else { continue };
                if let Some(targets) = origin.links.get_mut(&link) {
                    targets.remove(&id);
                    if targets.is_empty() {
                        origin.links.remove(&link);
                    }
                }
                suspects.push(from);
            }
        }
    }
}

/// A [`ResultStore`] in memory, which holds what it is given.
pub struct MemoryResults<V> {
    values: Mutex<(u64, HashMap<ResultId, V>)>,
}

impl<V> Default for MemoryResults<V> {
    fn default() -> Self {
        MemoryResults { values: Mutex::new((0, HashMap::new())) }
    }
}

impl<V> MemoryResults<V> {
    /// Loses a result.
    pub fn remove(&self, id: &ResultId) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).1.remove(id);
    }

    /// Loses all results.
    pub fn clear(&self) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}

#[async_trait]
impl<V: Clone + Send + Sync + 'static> ResultStore<V> for MemoryResults<V> {
    async fn save(&self, value: &V) -> Result<ResultId> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.0 += 1;
        let id = ResultId(format!("r{}", values.0));
        values.1.insert(id.clone(), value.clone());
        Ok(id)
    }

    async fn load(&self, id: &ResultId) -> Result<Option<V>> {
        Ok(self.values.lock().unwrap_or_else(PoisonError::into_inner).1.get(id).cloned())
    }

    fn exists(&self, id: &ResultId) -> bool {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).1.contains_key(id)
    }
}
