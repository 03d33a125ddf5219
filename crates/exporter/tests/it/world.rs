//! A store, and a client with outputs, joined by a pipe.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use errdefs::Result;
use exporter::{ExportContext, Exportable, Exported, Exporters, Refs as ExportRefs};
use jiff::Timestamp;
use progress::{Event, Sink, Step};
use refs::{ImmutableRef, LastEnd, NewRef, RecordType, Refs};
use registry::{Anonymous, Config, Registry};
use session::{Attachables, Output, Sessions};
use snapshot::{FileOptions, MkdirOptions, View};
use tokio_util::sync::CancellationToken;

pub struct World {
    pub refs: Refs,
    pub dir: tempfile::TempDir,
    pub told: Arc<Told>,
    sessions: Sessions,
}

impl World {
    /// The outputs are those of the exporters of these numbers.
    pub async fn new(outputs: Vec<(u32, Output)>) -> Self {
        Self::offering(
            outputs.into_iter().fold(Attachables::new(), |all, (id, output)| all.output(id, output)),
        )
        .await
    }

    /// What the client offers is `offers`.
    pub async fn offering(offers: Attachables) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(redb::Database::create(dir.path().join("metadata")).unwrap());
        let snapshots = snapshot::Store::open(dir.path(), snapshot::Options::default()).unwrap();
        let content = content::Store::open(dir.path(), db.clone()).unwrap();
        let refs = Refs::open(db, snapshots, content, LastEnd::Unknown).await.unwrap();
        let sessions = Sessions::new();
        let hello = offers.hello("id", "test", "key");
        let (client, engine) = tokio::io::duplex(64 << 10);
        let serving = sessions.clone();
        tokio::spawn(async move { serving.serve(engine, hello).await });
        tokio::spawn(offers.serve(client));
        World { refs, dir, told: Arc::default(), sessions }
    }

    /// A path beside the store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A layer on `parent`: `text` is a row of `path=data`, `path/` and `path>target`.
    pub async fn layer(&self, parent: Option<&ImmutableRef>, text: &str, second: i64) -> ImmutableRef {
        let base = match parent {
            Some(parent) => parent.view().await.unwrap(),
            None => View::empty(),
        };
        let timestamp = Some(snapshot::Time { secs: 1_600_000_000, nanos: 600_000_000 });
        let file = FileOptions { mode: 0o640, timestamp, ..FileOptions::default() };
        let mut tree = self.refs.new_tree().unwrap().builder(base);
        for word in text.split_whitespace() {
            if let Some((path, data)) = word.split_once('=') {
                tree.mkfile(path.as_bytes(), data.as_bytes(), &file).unwrap();
            } else if let Some((path, target)) = word.split_once('>') {
                tree.symlink(target.as_bytes(), path.as_bytes(), &file).unwrap();
            } else {
                let options = MkdirOptions { mode: 0o755, timestamp, ..MkdirOptions::default() };
                tree.mkdir(word.as_bytes(), &options).unwrap();
            }
        }
        let created_at = Some(Timestamp::new(second, 500_000_000).unwrap());
        let new =
            NewRef { description: format!("made {text}"), record_type: RecordType::Regular, created_at };
        self.refs.from_tree(parent, tree.finish().unwrap(), new).await.unwrap()
    }

    /// Exports as the exporter of number 0, finish and all.
    pub async fn export(
        &self,
        kind: &str,
        attrs: &str,
        result: &Exportable,
    ) -> Result<BTreeMap<String, String>> {
        let exporters =
            Exporters::new(self.refs.clone(), Registry::new(Config::default(), Arc::new(Anonymous)));
        let exporter = exporters.resolve(kind, &parse(attrs))?;
        let cx = ExportContext {
            inline_cache: None,
            index: 0,
            sessions: self.sessions.clone(),
            session_id: "id".into(),
            step: Step::start(self.told.clone(), "export", exporter.name()),
            cancel: CancellationToken::new(),
        };
        let Exported { response, finalize, .. } = exporter.export(result, &cx).await?;
        if let Some(finalize) = finalize {
            finalize.run(cx).await?;
        }
        Ok(response)
    }
}

/// `a=b c=d` as attributes.
pub fn parse(attrs: &str) -> BTreeMap<String, String> {
    let pairs = attrs.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, "")));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A result of one file system.
pub fn single(reference: Option<&ImmutableRef>, config: Option<&str>) -> Exportable {
    let config = config.map(|c| ("containerimage.config".to_owned(), Bytes::copy_from_slice(c.as_bytes())));
    let (refs, metadata) = (ExportRefs::Single(reference.cloned()), config.into_iter().collect());
    Exportable { refs, metadata, attestations: BTreeMap::new() }
}

/// A result by platform.
pub fn by_platform(refs: &[(&str, &ImmutableRef)]) -> Exportable {
    let platforms: Vec<_> = refs
        .iter()
        .map(|(id, _)| {
            let (os, architecture) = id.split_once('/').unwrap();
            serde_json::json!({"ID": id, "Platform": {"os": os, "architecture": architecture}})
        })
        .collect();
    let platforms = serde_json::json!({ "Platforms": platforms }).to_string();
    let mut metadata = BTreeMap::from([("refs.platforms".to_owned(), Bytes::from(platforms))]);
    for (id, _) in refs {
        let architecture = id.split_once('/').unwrap().1;
        let config = format!(r#"{{"architecture":"{architecture}","os":"linux"}}"#);
        metadata.insert(format!("containerimage.config/{id}"), Bytes::from(config));
    }
    let refs = refs.iter().map(|(id, r)| ((*id).to_owned(), Some((*r).clone()))).collect();
    Exportable { refs: ExportRefs::Map(refs), metadata, attestations: BTreeMap::new() }
}

/// Keeps the names of what is shown, in order, each once.
#[derive(Default)]
pub struct Told(Mutex<Vec<String>>);

impl Sink for Told {
    fn emit(&self, event: Event) {
        let name = match event {
            Event::Vertex(vertex) => vertex.name,
            Event::Status(status) => status.id,
            _ => return,
        };
        let mut told = self.0.lock().unwrap();
        if !told.contains(&name) {
            told.push(name);
        }
    }
}

impl Told {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// What a program prints; it has to end well.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
