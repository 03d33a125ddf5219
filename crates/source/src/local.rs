//! Folders of the client (`local://name`).
//!
//! Only what changed is sent: a file that has size, time and mode of the last sync from the same place is taken from
//! there by a link, and where all is as it was the last state itself is given again. The client's files are objects of
//! the store, so that a later copy of them moves no bytes.

mod receive;

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Digest;
use redb::Database;
use refs::{ImmutableRef, NewRef, RecordType, Refs};
use serde::{Deserialize, Serialize};
use session::{Session, SyncRequest};

use crate::context::Context;
use crate::memory::Memory;
use crate::sources::Shared;
use crate::{Key, Source};
use receive::{Received, Receiver};

/// How often progress is told.
const TELL_EVERY_MS: u128 = 100;

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
    pub shared: Arc<Shared>,
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
            include_patterns: Option<&'a [String]>,
            exclude_patterns: Option<&'a [String]>,
            follow_paths: Option<&'a [String]>,
        }
        // Go's empty lists are null.
        fn list(list: &[String]) -> Option<&[String]> {
            (!list.is_empty()).then_some(list)
        }
        let first = cx.session_ids.first().map(String::as_str);
        let session_id = match self.options.session.as_str() {
            "" => first.ok_or_else(|| Error::user("could not access local files without session"))?,
            id => id,
        };
        let json = oci::json::to_vec(&Ingredients {
            session_id,
            include_patterns: list(&self.options.include),
            exclude_patterns: list(&self.options.exclude),
            follow_paths: list(&self.options.follow),
        });
        let text = format!("session:{}:{}", self.options.name, Digest::of(json));
        Ok(Key { text, transient: true, done: true })
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let session = cx.session_or_any(&self.options.session).await?;
        let LocalOptions { name, shared_key_hint, .. } = &self.options;
        let place = format!("{name}:{shared_key_hint}:{}", session.shared_key());
        let last = self.shared.syncs.last(&self.shared.refs, &place)?;
        let base = match &last {
            Some((synced, entries)) if self.options.compare => Some((synced.view().await?, *entries)),
            _ => None,
        };
        let receiver = Receiver::new(Arc::clone(self.shared.refs.snapshots()), base)?;
        let received = self.receive(cx, &session, receiver).await?;
        let (tree, entries) = match (received, last) {
            (Received::Same, Some((synced, _))) => return Ok(Some(synced)),
            (Received::Same, None) => {
                return Err(Error::internal("nothing can be as it was before the first time"));
            }
            (Received::New { tree, entries }, _) => (tree, entries),
        };
        let new = NewRef::new(format!("local source for {name}"), RecordType::LocalSource);
        let synced = self.shared.refs.from_tree(None, tree, new).await?;
        synced.persist();
        self.shared.syncs.put(&self.shared.refs, &place, &synced, entries)?;
        Ok(Some(synced))
    }
}

impl LocalSource {
    async fn receive(&self, cx: &Context, session: &Session, receiver: Receiver) -> Result<Received> {
        let request = SyncRequest {
            dir: self.options.name.clone(),
            include: self.options.include.clone(),
            exclude: self.options.exclude.clone(),
            follow: self.options.follow.clone(),
        };
        let id = format!("transferring {}:", self.options.name);
        let started = Timestamp::now();
        cx.step.transfer(&id, 0, started, false);
        let (mut bytes, mut told) = (0, started);
        let mut on_bytes = |n: u64| {
            bytes = n as i64;
            let now = Timestamp::now();
            if now.duration_since(told).as_millis() >= TELL_EVERY_MS.cast_signed() {
                told = now;
                cx.step.transfer(&id, bytes, started, false);
            }
        };
        let received = tokio::select! {
            received = session.sync_dir(&request, receiver, &mut on_bytes) => received?,
            () = cx.cancel.cancelled() => return Err(Error::canceled()),
        };
        cx.step.transfer(&id, bytes, started, true);
        tokio::task::spawn_blocking(|| received.finish())
            .await
            .map_err(|e| Error::internal(format!("the receiver of files ended: {e}")))?
    }
}

/// The last sync from each place.
pub struct Syncs {
    memory: Memory<Sync>,
}

#[derive(Serialize, Deserialize)]
struct Sync {
    id: String,
    /// How many files, folders and links it has.
    entries: u64,
}

impl Syncs {
    pub fn new(db: Arc<Database>) -> Self {
        Syncs { memory: Memory::new(db, "source.local.v1") }
    }

    fn last(&self, refs: &Refs, place: &str) -> Result<Option<(ImmutableRef, u64)>> {
        let row = self.memory.get(place)?;
        Ok(row.and_then(|row| refs.get(&row.id).map(|synced| (synced, row.entries))))
    }

    /// Notes the state of a place. The one before is of no use to anybody any more.
    fn put(&self, refs: &Refs, place: &str, synced: &ImmutableRef, entries: u64) -> Result<()> {
        let old = self.memory.get(place)?.and_then(|old| refs.get(&old.id));
        self.memory.put(place, &Sync { id: synced.id().to_owned(), entries })?;
        if let Some(old) = old {
            old.forget();
        }
        Ok(())
    }
}
