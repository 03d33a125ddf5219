//! Folders of the client (`local://name`).
//!
//! Only what changed is sent: a file that has size, time and mode of the last sync from the same place is taken from
//! there by a link, and where all is as it was the last state itself is given again. The client's files are objects of
//! the store, so that a later copy of them moves no bytes.

mod listing;
mod metadata;
mod receive;

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Digest;
use redb::Database;
use refs::{ImmutableRef, NewRef, RecordType, Refs};
use serde::{Deserialize, Serialize};
use session::files::SyncReceiver;
use session::{Session, SyncRequest};

use crate::context::Context;
use crate::memory::Memory;
use crate::sources::Shared;
use crate::{Key, Source};
use listing::{Listing, Listings};
use metadata::MetadataOnly;
use receive::{Last, Received, Receiver};

/// How many trees of changes lie on each other before all is put into one again.
const MOST_STACKED: u32 = 8;
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
    /// Only files of these patterns come; of the others a list does.
    pub metadata_only: Option<Vec<String>>,
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
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            metadata_transfer: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata_exceptions: Option<&'a [String]>,
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
            metadata_transfer: self.options.metadata_only.is_some(),
            metadata_exceptions: self.options.metadata_only.as_deref().and_then(list),
        });
        let text = format!("session:{}:{}", self.options.name, Digest::of(json));
        Ok(Key { text, transient: true, done: true })
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let session = cx.session_or_any(&self.options.session).await?;
        let LocalOptions { name, shared_key_hint, .. } = &self.options;
        let kind = if self.options.metadata_only.is_some() { ":metadata" } else { "" };
        let place = format!("{name}:{shared_key_hint}:{}{kind}", session.shared_key());
        let syncs = &self.shared.syncs;
        let last = syncs.last(&self.shared.refs, &place)?;
        let base = match &last {
            Some((synced, sync)) => Some(Last {
                view: synced.view().await?,
                entries: sync.entries,
                listing: syncs.listings.get(&sync.id),
                may_stack: sync.stacked < MOST_STACKED,
            }),
            None => None,
        };
        let compare = self.options.compare;
        let receiver = Receiver::new(Arc::clone(self.shared.refs.snapshots()), base, compare)?;
        let received = match &self.options.metadata_only {
            None => self.receive(cx, &session, receiver).await?,
            Some(wanted) => {
                self.receive(cx, &session, MetadataOnly::new(receiver, wanted)?).await?.into_receiver()
            }
        };
        let received = tokio::task::spawn_blocking(|| received.finish())
            .await
            .map_err(|e| Error::internal(format!("the receiver of files ended: {e}")))??;
        let (tree, entries, stacked, listing) = match (received, last.as_ref()) {
            (Received::Same(listing), Some((synced, sync))) => {
                syncs.listings.put(None, &sync.id, listing);
                return Ok(Some(synced.clone()));
            }
            (Received::Same(_), None) => {
                return Err(Error::internal("nothing can be as it was before the first time"));
            }
            (Received::New { tree, entries, stacked, listing }, _) => (tree, entries, stacked, listing),
        };
        let new = NewRef::new(format!("local source for {name}"), RecordType::LocalSource);
        let (below, height) = match last.as_ref().filter(|_| stacked) {
            Some((synced, sync)) => (Some(synced), sync.stacked + 1),
            None => (None, 0),
        };
        let synced = self.shared.refs.from_tree(below, tree, new).await?;
        synced.persist();
        let sync = Sync { id: synced.id().to_owned(), entries, stacked: height };
        syncs.put(&self.shared.refs, &place, sync, listing)?;
        Ok(Some(synced))
    }
}

impl LocalSource {
    async fn receive<R: SyncReceiver>(&self, cx: &Context, session: &Session, receiver: R) -> Result<R> {
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
        Ok(received)
    }
}

/// The last sync from each place.
pub struct Syncs {
    memory: Memory<Sync>,
    listings: Listings,
}

#[derive(Serialize, Deserialize)]
struct Sync {
    id: String,
    /// How many files, folders and links it has.
    entries: u64,
    /// How many trees of changes it has on the one that held all.
    #[serde(default)]
    stacked: u32,
}

impl Syncs {
    pub fn new(db: Arc<Database>) -> Self {
        Syncs { memory: Memory::new(db, "source.local.v1"), listings: Listings::default() }
    }

    fn last(&self, refs: &Refs, place: &str) -> Result<Option<(ImmutableRef, Sync)>> {
        let row = self.memory.get(place)?;
        Ok(row.and_then(|row| refs.get(&row.id).map(|synced| (synced, row))))
    }

    /// Notes the state of a place. The one before is of no use to anybody any more, but to the one that lies on it.
    fn put(&self, refs: &Refs, place: &str, sync: Sync, listing: Listing) -> Result<()> {
        let old = self.memory.get(place)?;
        self.memory.put(place, &sync)?;
        self.listings.put(old.as_ref().map(|old| old.id.as_str()), &sync.id, listing);
        if let Some(old) = old.and_then(|old| refs.get(&old.id)) {
            old.forget();
        }
        Ok(())
    }
}
