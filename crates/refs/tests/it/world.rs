use std::path::Path;
use std::sync::Arc;

use refs::{ImmutableRef, LastEnd, NewRef, Refs};
use snapshot::{FileOptions, MkdirOptions, RemoveOptions, TreeBuilder, View};

/// A store in a folder of its own.
pub struct World {
    pub refs: Refs,
    pub dir: tempfile::TempDir,
}

async fn open(dir: &Path, last_end: LastEnd) -> Refs {
    let db = Arc::new(redb::Database::create(dir.join("metadata")).unwrap());
    let snapshots = snapshot::Store::open(dir, snapshot::Options::default()).unwrap();
    let content = content::Store::open(dir, db.clone()).unwrap();
    Refs::open(db, snapshots, content, last_end).await.unwrap()
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        World { refs: open(dir.path(), LastEnd::Unknown).await, dir }
    }

    /// Ends the store and opens it again.
    pub async fn reopen(self) -> Self {
        let last_end = self.refs.close().await;
        let World { refs, dir } = self;
        drop(refs);
        World { refs: open(dir.path(), last_end).await, dir }
    }

    /// Opens the store again as if it had not come to a clean end.
    pub async fn recover(self) -> Self {
        self.refs.close().await;
        let World { refs, dir } = self;
        drop(refs);
        World { refs: open(dir.path(), LastEnd::Unknown).await, dir }
    }

    /// Opens the store again as if the machine had been started anew.
    pub async fn reboot(self) -> Self {
        self.refs.close().await;
        let World { refs, dir } = self;
        let db = refs.database().clone();
        drop(refs);
        let table = redb::TableDefinition::<&str, &str>::new("content.boot.v1");
        let txn = db.begin_write().unwrap();
        txn.open_table(table).unwrap().insert("", "another boot").unwrap();
        txn.commit().unwrap();
        drop(db);
        World { refs: open(dir.path(), LastEnd::Unknown).await, dir }
    }

    /// A state on `parent`: `text` is a row of `path=data`, `path/` and `-path`.
    pub async fn state(&self, parent: Option<&ImmutableRef>, text: &str) -> ImmutableRef {
        self.described(parent, text, text).await
    }

    pub async fn described(
        &self,
        parent: Option<&ImmutableRef>,
        text: &str,
        new: impl Into<NewRef>,
    ) -> ImmutableRef {
        let base = match parent {
            Some(parent) => parent.view().await.unwrap(),
            None => View::empty(),
        };
        let mut tree = self.refs.new_tree().unwrap().builder(base);
        edit(&mut tree, text);
        self.refs.from_tree(parent, tree.finish().unwrap(), new).await.unwrap()
    }

    /// The number of layer trees on disk.
    pub fn layers(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("layers-v1")).unwrap().count()
    }

    /// Waits until a folder holds so many files: layers are removed in the background.
    pub async fn files_become(&self, folder: &str, count: usize) {
        let now = || std::fs::read_dir(self.dir.path().join(folder)).unwrap().count();
        for _ in 0..500 {
            if now() == count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(now(), count);
    }
}

/// Edits a tree by a row of `path=data`, `path/` and `-path`.
pub fn edit(tree: &mut TreeBuilder, text: &str) {
    for word in text.split_whitespace() {
        if let Some(path) = word.strip_prefix('-') {
            tree.remove(path.as_bytes(), &RemoveOptions::default()).unwrap();
        } else if let Some((path, data)) = word.split_once('=') {
            let options = FileOptions { mode: 0o644, ..FileOptions::default() };
            tree.mkfile(path.as_bytes(), data.as_bytes(), &options).unwrap();
        } else {
            tree.mkdir(word.as_bytes(), &MkdirOptions { mode: 0o755, ..MkdirOptions::default() }).unwrap();
        }
    }
}

/// The files of a state as a row of `path=data` and `path/`.
pub async fn show(state: &ImmutableRef) -> String {
    let view = state.view().await.unwrap();
    let mut out = Vec::new();
    for entry in view.walk(b"").unwrap().skip(1).map(Result::unwrap) {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        out.push(if entry.meta.is_dir() {
            format!("{path}/")
        } else {
            let text = view.read(&entry.path, 1 << 20).unwrap().unwrap();
            format!("{path}={}", String::from_utf8_lossy(&text))
        });
    }
    out.join(" ")
}
