//! Trees over the wire.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use errdefs::{Error, Result};
use session::files::{FileSink, Stat, SyncReceiver, Tree};
use session::{Attachables, SyncRequest};

use crate::wire;

/// Entries with their contents, in wire order.
#[derive(Default)]
pub struct Memory {
    entries: Vec<Stat>,
    contents: HashMap<Vec<u8>, Vec<u8>>,
    /// Told at the end of the listing.
    listed: Option<Sender<()>>,
    /// Entry at which listing fails.
    pub breaks_at: Option<usize>,
}

impl Memory {
    pub fn add(mut self, path: &[u8], mode: u32, data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        let stat =
            Stat { path: path.into(), mode, size: data.len() as u64, mtime_ns: -5, ..Default::default() };
        self.entries.push(stat);
        self.contents.insert(path.into(), data);
        self
    }

    pub fn link(mut self, path: &[u8], mode: u32, linkname: &[u8]) -> Self {
        let stat = Stat { path: path.into(), mode, linkname: linkname.into(), ..Default::default() };
        self.entries.push(stat);
        self
    }

    fn many(count: usize) -> Self {
        let memory = Memory::default().add(b"d", 0o040_755, "");
        (0..count).fold(memory, |m, i| m.add(format!("d/{i:06}").as_bytes(), 0o100_644, "hi"))
    }
}

impl Tree for Memory {
    fn list(&self, each: &mut dyn FnMut(Stat) -> Result<()>) -> Result<()> {
        for (at, stat) in self.entries.iter().enumerate() {
            if self.breaks_at == Some(at) {
                return Err(Error::environment("disk on fire"));
            }
            each(stat.clone())?;
        }
        if let Some(listed) = &self.listed {
            // On a slow machine nobody waits for it any more.
            let _ = listed.send(());
        }
        Ok(())
    }

    fn open(&self, path: &[u8]) -> Result<Box<dyn Read + Send>> {
        let data = self.contents.get(path).ok_or_else(|| Error::not_found("gone"))?;
        Ok(Box::new(Cursor::new(data.clone())))
    }
}

type Files = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// Keeps all that comes.
#[derive(Default)]
struct Keeper {
    entries: Vec<Stat>,
    files: Files,
    /// Waited for before the first entry.
    stall: Option<Receiver<()>>,
    /// Entry at which it gives up.
    breaks_at: Option<usize>,
}

struct Sink {
    path: Vec<u8>,
    data: Vec<u8>,
    files: Files,
}

impl SyncReceiver for Keeper {
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>> {
        if let Some(stall) = self.stall.take() {
            // The sender may be held back before its end, which is as good a stall.
            let _told_or_not = stall.recv_timeout(Duration::from_secs(2));
        }
        if self.breaks_at == Some(self.entries.len()) {
            return Err(Error::environment("no space left"));
        }
        let path = stat.path.clone();
        self.entries.push(stat);
        Ok(Some(Box::new(Sink { path, data: Vec::new(), files: self.files.clone() })))
    }
}

impl FileSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.data.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.files.lock().expect("no panic").insert(self.path, self.data);
        Ok(())
    }
}

async fn sync(memory: Memory, keeper: Keeper) -> Result<Keeper> {
    let pair = wire::open(Attachables::new().tree("context", Arc::new(memory))).await;
    let request = SyncRequest { dir: "context".into(), ..Default::default() };
    let mut total = 0;
    let result = pair.session.sync_dir(&request, keeper, &mut |bytes| total = bytes).await;
    assert!(total > 0);
    result
}

#[tokio::test]
async fn entries_and_contents_come_as_they_are() {
    let big: Vec<u8> = (0..9_000_000_u32).map(|i| (i >> 3) as u8).collect();
    let mut memory = Memory::default()
        .add(b"a", 0o100_755, "x")
        .add(b"bad\xff\xfename", 0o100_600, "odd")
        .add(b"big", 0o100_644, big.clone())
        .add(b"dir", 0o041_777, "")
        .add(b"dir/empty", 0o100_644, "")
        .link(b"dir/link", 0o120_777, b"../\xffa")
        .link(b"hard", 0o100_755, b"a");
    memory.entries[0].xattrs.insert(b"user.\xff".to_vec(), b"v".to_vec());
    let sent = memory.entries.clone();
    let keeper = sync(memory, Keeper::default()).await.expect("comes");
    assert_eq!(keeper.entries, sent);
    let files = keeper.files.lock().expect("no panic");
    let names: Vec<_> = files.keys().map(|name| name.escape_ascii().to_string()).collect();
    assert_eq!(names, ["a", r"bad\xff\xfename", "big", "dir/empty"]);
    assert_eq!(files[&b"big"[..]], big);
}

/// Small frames that wait are what h2 counts and ends connections for.
#[tokio::test]
async fn sixty_thousand_small_files_wait_for_a_stalled_reader() {
    let (listed, stall) = channel();
    let memory = Memory { listed: Some(listed), ..Memory::many(60_000) };
    let keeper = Keeper { stall: Some(stall), ..Default::default() };
    let keeper = sync(memory, keeper).await.expect("comes");
    assert_eq!(keeper.entries.len(), 60_001);
    assert_eq!(keeper.files.lock().expect("no panic").len(), 60_000);
}

#[tokio::test]
async fn a_failing_sender_is_heard() {
    let memory = Memory { breaks_at: Some(50), ..Memory::many(100) };
    let error = sync(memory, Keeper::default()).await.err().expect("fails");
    assert_eq!(error.message(), "error from sender: disk on fire");
}

#[tokio::test]
async fn a_failing_receiver_ends_the_transfer() {
    let keeper = Keeper { breaks_at: Some(50), ..Default::default() };
    let error = sync(Memory::many(10_000), keeper).await.err().expect("fails");
    assert_eq!(error.message(), "no space left");
}

#[tokio::test]
async fn listings_out_of_order_are_refused() {
    let memory = Memory::default().add(b"b", 0o100_644, "").add(b"a", 0o100_644, "");
    let error = sync(memory, Keeper::default()).await.err().expect("fails");
    assert_eq!(error.message(), "invalid file listing: changes out of order: `a`");
}

#[tokio::test]
async fn thousands_of_patterns_fit() {
    let pair = wire::open(Attachables::new().tree("context", Arc::new(Memory::default()))).await;
    let exclude = (0..5_000).map(|i| format!("some/longish/folder/{i}/**/*.é")).collect();
    let request = SyncRequest { dir: "context".into(), exclude, ..Default::default() };
    pair.session.sync_dir(&request, Keeper::default(), &mut |_| {}).await.map(drop).expect("comes");
}

#[tokio::test]
async fn unknown_folders_are_refused() {
    let pair = wire::open(Attachables::new().tree("context", Arc::new(Memory::default()))).await;
    let request = SyncRequest { dir: "other".into(), ..Default::default() };
    let error = pair.session.sync_dir(&request, Keeper::default(), &mut |_| {}).await.err().expect("fails");
    assert_eq!(error.message(), "no access allowed to dir \"other\"");
}
