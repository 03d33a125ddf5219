//! Folders of the client (`local://name`).
//!
//! Only what changed is sent: a file that has size, time and mode of the last sync from the same place is taken from
//! there by a link. The client's files are objects of the store, so that a later copy of them moves no bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use errdefs::{Error, Result, ResultExt};
use jiff::Timestamp;
use oci::Digest;
use refs::{ImmutableRef, NewRef, RecordType};
use serde::Serialize;
use session::SyncRequest;
use session::files::{FileSink, Kind, Stat, SyncReceiver};
use snapshot::{Attrs, FileType, HashOptions, Object, ObjectWriter, Owner, Store, Time, TreeBuilder, View};

use crate::context::Context;
use crate::sources::Parts;
use crate::{Key, Source};

/// The last sync from each place, by shared key.
#[derive(Default)]
pub struct LocalIndex(Mutex<HashMap<String, ImmutableRef>>);

/// Folders that are remembered.
const REMEMBERED: usize = 64;

impl LocalIndex {
    fn get(&self, key: &str) -> Option<ImmutableRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: String, synced: ImmutableRef) {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if index.len() >= REMEMBERED && !index.contains_key(&key) {
            index.clear();
        }
        index.insert(key, synced);
    }
}

/// What the attributes of a local source say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalOptions {
    pub name: String,
    pub session: String,
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub follow: Vec<String>,
    pub shared_key_hint: String,
    /// Files are compared by time and size; else all are sent.
    pub compare: bool,
}

pub struct LocalSource {
    pub parts: Arc<Parts>,
    pub index: Arc<LocalIndex>,
    pub options: LocalOptions,
}

#[async_trait]
impl Source for LocalSource {
    async fn key(&self, cx: &Context, _: usize) -> Result<Key> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Ingredients<'a> {
            #[serde(rename = "SessionID")]
            session_id: &'a str,
            include_patterns: &'a [String],
            exclude_patterns: &'a [String],
            follow_paths: &'a [String],
        }
        let first = cx.session_ids.first().map(String::as_str);
        let session_id = match self.options.session.as_str() {
            "" => first.ok_or_else(|| Error::user("could not access local files without session"))?,
            id => id,
        };
        let json = oci::json::to_vec(&Ingredients {
            session_id,
            include_patterns: &self.options.include,
            exclude_patterns: &self.options.exclude,
            follow_paths: &self.options.follow,
        });
        let text = format!("session:{}:{}", self.options.name, Digest::of(json));
        Ok(Key { text, transient: true, done: true })
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let session = cx.session_or_any(&self.options.session).await?;
        let shared =
            format!("{}:{}:{}", self.options.name, self.options.shared_key_hint, session.shared_key());
        let last = if self.options.compare { self.index.get(&shared) } else { None };
        let last = match &last {
            Some(last) => Some(last.view().await?),
            None => None,
        };
        let store = Arc::clone(self.parts.refs.snapshots());
        let receiver = Receiver::new(&store, last)?;
        let request = SyncRequest {
            dir: self.options.name.clone(),
            include: self.options.include.clone(),
            exclude: self.options.exclude.clone(),
            follow: self.options.follow.clone(),
        };
        let started = Timestamp::now();
        let id = format!("transferring {}:", self.options.name);
        let mut bytes = 0;
        let mut told = Timestamp::UNIX_EPOCH;
        let mut on_bytes = |n: u64| {
            bytes = n;
            let now = Timestamp::now();
            if now.duration_since(told).as_millis() > 100 {
                told = now;
                cx.step.status(&id, n as i64, 0, started, false);
            }
        };
        let received = tokio::select! {
            received = session.sync_dir(&request, receiver, &mut on_bytes) => received?,
            () = cx.cancel.cancelled() => return Err(Error::canceled()),
        };
        cx.step.status(&id, bytes as i64, 0, started, true);
        let tree = received.builder.finish()?;
        let new = NewRef::new(format!("local source for {}", self.options.name), RecordType::LocalSource);
        let synced = self.parts.refs.from_tree(None, tree, new).await?;
        synced.persist();
        self.index.put(shared, synced.clone());
        Ok(Some(synced))
    }
}

/// Files whose contents came, by path.
type Done = Arc<Mutex<Vec<(Vec<u8>, Object)>>>;

/// Builds the tree of a sync.
struct Receiver {
    builder: TreeBuilder,
    store: Arc<Store>,
    /// What the last sync left.
    last: Option<View>,
    /// Files whose contents came, from the threads that took them.
    done: Done,
    /// Path and target; made when all files are there.
    hardlinks: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Receiver {
    fn new(store: &Arc<Store>, last: Option<View>) -> Result<Self> {
        let builder = store.new_tree()?.builder(View::empty());
        Ok(Receiver { builder, store: Arc::clone(store), last, done: Arc::default(), hardlinks: Vec::new() })
    }

    /// The file as the last sync had it, if it has not changed since.
    fn known(&self, stat: &Stat, attrs: &Attrs) -> Result<Option<Object>> {
        let Some(last) = &self.last else { return Ok(None) };
        let Some(meta) = last.lstat(&stat.path)?.filter(snapshot::Meta::is_file) else { return Ok(None) };
        let same = meta.size == stat.size && meta.mtime == attrs.mtime && meta.mode == attrs.mode;
        if !same || last.xattrs(&stat.path)? != attrs.xattrs {
            return Ok(None);
        }
        let digest = last.path_hash(&stat.path, &HashOptions::default())?;
        self.store.objects().find(&digest, attrs)
    }
}

impl SyncReceiver for Receiver {
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>> {
        let attrs = Attrs {
            mode: stat.mode & 0o7777,
            owner: Owner::default(),
            mtime: Time::from_nanos(stat.mtime_ns),
            xattrs: stat.xattrs.clone(),
        };
        let path = stat.path.as_slice();
        match stat.kind() {
            Kind::Dir => self.builder.put_dir(path, &attrs)?,
            Kind::Symlink => self.builder.put_symlink(path, &stat.linkname, &attrs)?,
            Kind::File if stat.is_hardlink() => self.hardlinks.push((stat.path, stat.linkname)),
            Kind::File => {
                if let Some(object) = self.known(&stat, &attrs)? {
                    self.builder.put_object(path, &object)?;
                    return Ok(None);
                }
                let writer = self.store.objects().create(&attrs, stat.size)?;
                return Ok(Some(Box::new(Sink { path: stat.path, writer, done: Arc::clone(&self.done) })));
            }
            kind => {
                let file_type = match kind {
                    Kind::Char => FileType::Char,
                    Kind::Block => FileType::Block,
                    Kind::Fifo => FileType::Fifo,
                    _ => FileType::Socket,
                };
                self.builder.put_special(path, file_type, (stat.dev_major, stat.dev_minor), &attrs)?;
            }
        }
        Ok(None)
    }

    fn complete(&mut self) -> Result<()> {
        for (path, object) in self.done.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.builder.put_object(&path, &object)?;
        }
        for (path, target) in self.hardlinks.drain(..) {
            self.builder.put_hardlink(&path, &target)?;
        }
        Ok(())
    }
}

/// Takes the contents of one file.
struct Sink {
    path: Vec<u8>,
    writer: ObjectWriter,
    done: Done,
}

impl FileSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        std::io::Write::write_all(&mut self.writer, chunk).context("failed to store a file of the context")
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let object = self.writer.finish()?;
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((self.path, object));
        Ok(())
    }
}
