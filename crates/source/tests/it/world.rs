//! A store and its clients.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use errdefs::Result;
use llb::SourceOp;
use oci::{Digest, Platform};
use progress::{Event, Sink, Step};
use refs::{ImmutableRef, LastEnd, Refs};
use registry::{Anonymous, Config, Registry, Retry};
use session::{Attachables, Peer, Sessions};
use source::{Context, Key, Parts, Sources};
use tokio_util::sync::CancellationToken;

/// A store that can be opened again.
pub struct World {
    dir: tempfile::TempDir,
    pub refs: Refs,
    pub content: content::Store,
    pub sources: Sources,
    sessions: Sessions,
    log: Arc<Log>,
}

/// What a vertex has told.
#[derive(Default)]
struct Log(Mutex<Vec<(String, i64, bool)>>);

impl Sink for Log {
    fn emit(&self, event: Event) {
        if let Event::Status(s) = event {
            self.0.lock().expect("not poisoned").push((s.id, s.current, s.completed.is_some()));
        }
    }
}

impl World {
    pub async fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder")).await
    }

    async fn open(dir: tempfile::TempDir) -> Self {
        let db = Arc::new(redb::Database::create(dir.path().join("metadata")).expect("a database"));
        let content = content::Store::open(dir.path(), Arc::clone(&db)).expect("a store");
        let snapshots = snapshot::Store::open(dir.path(), snapshot::Options::default()).expect("a store");
        let refs = Refs::open(db, snapshots, content.clone(), LastEnd::Unknown).await.expect("a store");
        let wait = Duration::from_millis(1);
        let retry = Retry { attempts: 2, first_wait: wait, longest_wait: wait, ..Retry::default() };
        let registry = Registry::new(Config { retry, ..Config::default() }, Arc::new(Anonymous));
        let sources = Sources::new(Parts { refs: refs.clone(), content: content.clone(), registry });
        World { dir, refs, content, sources, sessions: Sessions::new(), log: Arc::default() }
    }

    /// The same store after an engine's end and start.
    pub async fn reopen(self) -> Self {
        let World { dir, refs, content, sources, .. } = self;
        refs.close().await;
        drop((sources, content, refs));
        // The tasks that hold the database end soon.
        for _ in 0..200 {
            match redb::Database::open(dir.path().join("metadata")) {
                Ok(db) => {
                    drop(db);
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        Self::open(dir).await
    }

    /// A client that offers this, as session `id`.
    pub async fn client(&self, id: &str, offers: Attachables) -> Context {
        self.client_of(None, id, offers).await
    }

    /// The same for a client of this machine, of which the kernel says that `uid` runs it.
    pub async fn neighbour(&self, uid: u32, id: &str, offers: Attachables) -> Context {
        let peer = Peer { pid: std::process::id().cast_signed(), uid };
        self.client_of(Some(peer), id, offers.hand_over()).await
    }

    async fn client_of(&self, peer: Option<Peer>, id: &str, offers: Attachables) -> Context {
        let (client, engine) = tokio::io::duplex(64 << 10);
        let hello = offers.hello(id, "test", "shared");
        let sessions = self.sessions.clone();
        tokio::spawn(async move { sessions.serve_peer(engine, hello, peer).await });
        tokio::spawn(offers.serve(client));
        self.sessions.get(id, Duration::from_secs(10)).await.expect("opens");
        self.context(&[id])
    }

    pub fn context(&self, ids: &[&str]) -> Context {
        Context {
            sessions: self.sessions.clone(),
            session_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            step: Step::attach(Arc::clone(&self.log) as Arc<dyn Sink>, Digest::of("vertex")),
            cancel: CancellationToken::new(),
            meanings: Default::default(),
        }
    }

    pub fn source(&self, identifier: &str, attrs: &[(&str, &str)]) -> Result<Box<dyn source::Source>> {
        let attrs: BTreeMap<_, _> = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let op = SourceOp { identifier: identifier.to_owned(), attrs };
        self.sources.identify(&op, &Platform::new("linux", "amd64", ""))
    }

    /// The files of a source.
    pub async fn get(&self, cx: &Context, identifier: &str, attrs: &[(&str, &str)]) -> Result<ImmutableRef> {
        let source = self.source(identifier, attrs)?;
        source.key(cx, 0).await?;
        Ok(source.snapshot(cx).await?.expect("has files"))
    }

    pub async fn key(
        &self,
        cx: &Context,
        identifier: &str,
        attrs: &[(&str, &str)],
        index: usize,
    ) -> Result<Key> {
        self.source(identifier, attrs)?.key(cx, index).await
    }

    /// The parts that the vertex told to have begun, in order, each once.
    pub fn parts(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for (id, ..) in self.log.0.lock().expect("not poisoned").iter() {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        ids
    }

    /// The last that was told of a part: how far it came, and whether it is over.
    pub fn part(&self, id: &str) -> Option<(i64, bool)> {
        let log = self.log.0.lock().expect("not poisoned");
        log.iter().rev().find(|(known, ..)| known == id).map(|(_, current, over)| (*current, *over))
    }
}

/// All paths of a state with what they are, one line each.
pub async fn listing(state: &ImmutableRef) -> Vec<String> {
    listing_with(state, |_| String::new()).await
}

/// The same with times.
pub async fn timed_listing(state: &ImmutableRef) -> Vec<String> {
    listing_with(state, |meta| format!(" at {}", meta.mtime.as_nanos())).await
}

async fn listing_with(state: &ImmutableRef, more: impl Fn(&snapshot::Meta) -> String) -> Vec<String> {
    let view = state.view().await.expect("is there");
    let mut lines = Vec::new();
    let mut todo = vec![Vec::new()];
    while let Some(dir) = todo.pop() {
        for entry in view.read_dir(&dir).expect("a folder") {
            let path =
                if dir.is_empty() { entry.name.to_vec() } else { [&dir[..], b"/", &entry.name].concat() };
            let meta = view.lstat(&path).expect("works").expect("is there");
            let shown = String::from_utf8_lossy(&path).into_owned();
            let what = match (meta.is_dir(), meta.is_symlink()) {
                (true, _) => String::from("/"),
                (_, true) => {
                    format!(" -> {}", String::from_utf8_lossy(&view.read_link(&path).expect("a link")))
                }
                _ => format!(
                    " = {}",
                    String::from_utf8_lossy(&view.read(&path, 1 << 20).expect("works").expect("a file"))
                ),
            };
            lines.push(format!("{shown}{what} {:o} {}:{}{}", meta.mode, meta.uid, meta.gid, more(&meta)));
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    lines.sort();
    lines
}

pub fn write(dir: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
}
