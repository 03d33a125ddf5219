//! A transfer without a wire: the tree and the receiver are in one process.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use errdefs::{Error, Result, ResultExt};
use tokio::task::spawn_blocking;

use crate::files::order::Checker;
use crate::files::{FileSink, SyncReceiver, Tree};

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// Files that a thread is given at once: to be woken for each costs more than a small file.
const BATCH: usize = 64;
/// Bytes after which a batch is large enough.
const BATCH_BYTES: u64 = 1 << 20;
/// Batches that wait for a thread.
const QUEUE: usize = 16;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Brings a tree to the receiver and gives that back once all contents are in, as a transfer over the wire would.
/// `on_bytes` hears how much came so far. Dropped, the transfer is broken off.
pub(crate) async fn direct<R: SyncReceiver>(
    tree: Arc<dyn Tree>,
    receiver: R,
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<R> {
    let state = Arc::new(State::default());
    let _stop = Stop(state.clone());
    let shared = state.clone();
    let mut work = spawn_blocking(move || copy(&*tree, receiver, &shared));
    let mut tick = tokio::time::interval(TELL_EVERY);
    let copied = loop {
        tokio::select! {
            copied = &mut work => break copied,
            _ = tick.tick() => on_bytes(state.bytes.load(Ordering::Relaxed)),
        }
    };
    on_bytes(state.bytes.load(Ordering::Relaxed));
    copied.unwrap_or_else(|e| Err(Error::internal(format!("file transfer ended: {e}"))))
}

#[derive(Default)]
struct State {
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl State {
    fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::canceled()) } else { Ok(()) }
    }
}

/// Breaks the transfer off when nobody waits for it any more.
struct Stop(Arc<State>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Files that are wanted.
type Wanted = Vec<(Vec<u8>, Box<dyn FileSink>)>;

/// This thread lists and decides; others read. Those are started as there is work for them: mostly there is none.
fn copy<R: SyncReceiver>(tree: &dyn Tree, mut receiver: R, state: &State) -> Result<R> {
    let failure = Mutex::new(None);
    let (queue, wanted) = sync_channel(QUEUE);
    let wanted = Mutex::new(wanted);
    let read = || {
        let failed = |e| {
            // The first one tells, before the others are broken off for it.
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
            state.stop.store(true, Ordering::SeqCst);
        };
        take_files(tree, &wanted, state, &failed);
    };
    std::thread::scope(|scope| {
        let (mut readers, mut most) = (Vec::new(), 1);
        let mut hand_on = |batch: Wanted| {
            if readers.len() < most {
                readers.push(scope.spawn(read));
                most = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
            }
            queue.send(batch).map_err(|_| Error::canceled())
        };
        let listed = list(tree, &mut receiver, &mut hand_on, state);
        drop(queue);
        for reader in readers {
            if let Err(panic) = reader.join() {
                std::panic::resume_unwind(panic);
            }
        }
        listed
    })
    .map_err(|e| failure.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(e))?;
    if let Some(e) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(e);
    }
    state.check()?;
    receiver.complete()?;
    Ok(receiver)
}

fn list<R: SyncReceiver>(
    tree: &dyn Tree,
    receiver: &mut R,
    hand_on: &mut dyn FnMut(Wanted) -> Result<()>,
    state: &State,
) -> Result<()> {
    let mut checker = Checker::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    tree.list(&mut |stat| {
        state.check()?;
        checker.check(&stat)?;
        state.bytes.fetch_add(stat.path.len() as u64, Ordering::Relaxed);
        let file = stat.has_data().then(|| (stat.path.clone(), stat.size));
        if let (Some(sink), Some((path, size))) = (receiver.entry(stat)?, file) {
            batch.push((path, sink));
            bytes += size;
            if batch.len() == BATCH || bytes >= BATCH_BYTES {
                bytes = 0;
                hand_on(std::mem::take(&mut batch))?;
            }
        }
        Ok(())
    })?;
    if !batch.is_empty() {
        hand_on(batch)?;
    }
    receiver.listed()
}

/// Takes files until there are no more to come. After a failure they are let go: the lister may wait for a place.
fn take_files(tree: &dyn Tree, wanted: &Mutex<Receiver<Wanted>>, state: &State, failed: &dyn Fn(Error)) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let next = wanted.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return };
        for (path, sink) in batch {
            let taken = state.check().and_then(|()| take_file(tree, &path, sink, &mut buffer, state));
            match taken.with_context(|| format!("failed to send `{}`", path.escape_ascii())) {
                Err(e) if !state.stop.load(Ordering::SeqCst) => failed(e),
                _ => {}
            }
        }
    }
}

fn take_file(
    tree: &dyn Tree,
    path: &[u8],
    mut sink: Box<dyn FileSink>,
    buffer: &mut [u8],
    state: &State,
) -> Result<()> {
    let mut file: Box<dyn Read> = match tree.open(path) {
        Ok(file) => file,
        // Gone since it was listed: an empty file, as from clients over the wire.
        Err(e) if e.is_not_found() => Box::new(std::io::empty()),
        Err(e) => return Err(e),
    };
    loop {
        state.check()?;
        let read = match file.read(buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return sink.finish();
        }
        sink.write(&buffer[..read])?;
        state.bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}
