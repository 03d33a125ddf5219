//! The caches of other engines that a build looks into.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use errdefs::Result;
use frontend::{Bridge, CacheImport, Scope, SolveRequest};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use ops::{BuildDomain, Value};
use progress::{Sink, Step};
use remote_cache::{Clients, Import, Imported, Importer, import_key};
use serde::Deserialize;
use solver::{Jobs, KeyId, Link, OpContext, Record, RemoteCache, RemoteKeys, ResultId};
use tokio_util::sync::CancellationToken;

use crate::bridge::BuildBridge;

/// The imports of one build, each done once.
pub struct Caches {
    importer: Arc<Importer>,
    build: String,
    session: String,
    sink: Arc<dyn Sink>,
    cancel: CancellationToken,
    known: Mutex<HashMap<String, Pending>>,
}

/// An import on its way. One that failed has nothing to give: a build without a cache is better than none.
pub type Pending = Shared<BoxFuture<'static, Option<Arc<BuildCache>>>>;

impl Caches {
    pub fn new(
        importer: Arc<Importer>,
        build: &str,
        session: &str,
        sink: Arc<dyn Sink>,
        cancel: CancellationToken,
    ) -> Self {
        let (build, session) = (build.to_owned(), session.to_owned());
        Caches { importer, build, session, sink, cancel, known: Mutex::default() }
    }

    /// Begins to import what was not begun yet.
    pub fn import(&self, imports: &[CacheImport]) -> Vec<Pending> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pending = Vec::new();
        for import in imports {
            let key = import_key(&import.kind, &import.attrs);
            let number = known.len();
            let entry = known.entry(key.clone()).or_insert_with(|| self.begin(&key, number, import.clone()));
            pending.push(entry.clone());
        }
        pending
    }

    fn begin(&self, key: &str, number: usize, import: CacheImport) -> Pending {
        let (importer, session, cancel) = (self.importer.clone(), self.session.clone(), self.cancel.clone());
        let name = format!("{}-{number}", self.build);
        let (vertex, title) = (format!("{name}:import"), format!("importing cache manifest from {key}"));
        let sink = self.sink.clone();
        let task = tokio::spawn(async move {
            let step = Step::start(sink, &vertex, title);
            let work = async {
                let import = Import::parse(&import.kind, &import.attrs)?;
                importer.import(&import, &name, &session, &step).await
            };
            let imported = cancel.run_until_cancelled(work).await;
            let imported = step.finish(imported.unwrap_or_else(|| Err(errdefs::Error::canceled())));
            let imported = imported.inspect_err(|e| tracing::debug!("a cache cannot be imported: {e}"));
            imported.ok().map(|cache| Arc::new(BuildCache(Arc::new(cache))))
        });
        task.map(|done| done.ok().flatten()).boxed().shared()
    }

    /// All that were imported so far.
    pub async fn imported(&self) -> Vec<Arc<Imported>> {
        let known: Vec<Pending> =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        ready(&known).await.into_iter().map(|cache| cache.0.clone()).collect()
    }
}

/// The caches that could be imported, when all have been tried.
pub async fn ready(pending: &[Pending]) -> Vec<Arc<BuildCache>> {
    join_all(pending.iter().cloned()).await.into_iter().flatten().collect()
}

/// A cache as the solver looks into it.
pub struct BuildCache(Arc<Imported>);

impl RemoteKeys for BuildCache {
    fn contains(&self, key: &KeyId) -> bool {
        self.0.contains(key)
    }

    fn targets(&self, from: &KeyId, link: &Link) -> Vec<KeyId> {
        self.0.targets(from, link)
    }

    fn records(&self, key: &KeyId) -> Vec<Record> {
        self.0.records(key)
    }
}

#[async_trait]
impl RemoteCache<BuildDomain> for BuildCache {
    async fn load(&self, id: &ResultId, cx: &OpContext<BuildDomain>) -> Result<Option<Value>> {
        Ok(self.0.load(id, Arc::new(Users(cx.jobs())), &cx.step).map(Some))
    }
}

/// The builds that want a vertex.
struct Users(Jobs<BuildDomain>);

impl Clients for Users {
    fn session_ids(&self) -> Vec<String> {
        self.0.contexts().iter().map(|build| build.session.clone()).collect()
    }
}

/// The bridge of a frontend that does not say which caches its graphs may look into: all look into the same.
pub struct Importing {
    pub bridge: BuildBridge,
    pub imports: Vec<CacheImport>,
}

impl Scope for Importing {
    fn bridge(&self) -> &dyn Bridge {
        &self.bridge
    }

    fn before_solve(&self, mut request: SolveRequest) -> SolveRequest {
        add_imports(&mut request.cache_imports, self.imports.iter().cloned());
        request
    }
}

/// Adds imports that are not there yet.
pub fn add_imports(known: &mut Vec<CacheImport>, more: impl IntoIterator<Item = CacheImport>) {
    for import in more {
        let key = import_key(&import.kind, &import.attrs);
        if known.iter().all(|k| import_key(&k.kind, &k.attrs) != key) {
            known.push(import);
        }
    }
}

/// The caches that are named in the options of a frontend: `cache-imports`, or the older `cache-from`.
pub fn imports_of(opts: &BTreeMap<String, String>) -> Result<Vec<CacheImport>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        r#type: String,
        attrs: Option<BTreeMap<String, String>>,
    }
    if let Some(json) = opts.get("cache-imports") {
        let entries: Option<Vec<Entry>> = serde_json::from_str(json).map_err(|e| {
            errdefs::Error::user(format!("failed to unmarshal cache-imports ({json:?}): {e}"))
        })?;
        let entries = entries.unwrap_or_default().into_iter();
        return Ok(entries
            .map(|e| CacheImport { kind: e.r#type, attrs: e.attrs.unwrap_or_default() })
            .collect());
    }
    let references = opts.get("cache-from").map_or("", String::as_str).split(',').filter(|r| !r.is_empty());
    let import = |reference: &str| CacheImport {
        kind: "registry".into(),
        attrs: BTreeMap::from([("ref".to_owned(), reference.to_owned())]),
    };
    Ok(references.map(import).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_caches() {
        let check = |key: &str, value: &str, expected: &[&str]| {
            let opts = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let told = match imports_of(&opts) {
                Ok(imports) => imports.iter().map(|i| format!("{} {:?}", i.kind, i.attrs)).collect(),
                Err(e) => vec![e.to_string()],
            };
            assert_eq!(told, expected, "{value}");
        };
        check("cache-from", "a/b,c", &["registry {\"ref\": \"a/b\"}", "registry {\"ref\": \"c\"}"]);
        check("cache-from", "", &[]);
        check("cache-imports", r#"[{"Type":"local","Attrs":{"src":"x"}}]"#, &["local {\"src\": \"x\"}"]);
        check("cache-imports", r#"[{"Type":"gha","Attrs":null}]"#, &["gha {}"]);
        check("cache-imports", "null", &[]);
        let opts = BTreeMap::from([("cache-imports".to_owned(), "{".to_owned())]);
        let error = imports_of(&opts).expect_err("no JSON").to_string();
        assert!(error.starts_with(r#"failed to unmarshal cache-imports ("{"): "#), "{error}");
    }

    #[test]
    fn a_cache_is_imported_once() {
        let import = |reference: &str| CacheImport {
            kind: "registry".into(),
            attrs: BTreeMap::from([("ref".to_owned(), reference.to_owned())]),
        };
        let mut known = vec![import("a")];
        add_imports(&mut known, [import("a"), import("b"), import("b")]);
        assert_eq!(known, [import("a"), import("b")]);
    }
}
