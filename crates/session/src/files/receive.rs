//! The receiving side. One thread takes the listing and decides what is needed; a few others take contents.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use errdefs::{Class, Code, Error, Result};
use futures_util::{Stream, StreamExt};
use prost::Message;
use proto::fsutil::Packet;
use proto::fsutil::packet::PacketType;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::Status;

use crate::files::order::Checker;
use crate::files::packet;
use crate::files::stat::Stat;
use crate::grpcerr;

/// Decides which files of a listing are needed, and where their contents go. Called on a thread that may block.
pub trait SyncReceiver: Send + 'static {
    /// Takes the next entry, in wire order. Gives a sink to have the contents sent; that is looked at only where
    /// [`Stat::has_data`]. Links and folders before it are checked: parents exist, links name earlier files.
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>>;

    /// The listing is complete; contents may still be on their way.
    fn listed(&mut self) -> Result<()> {
        Ok(())
    }

    /// All contents are in. The sender hears of the end when this has succeeded.
    fn complete(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Takes the contents of one file. Called on a thread that may block; dropped without `finish` when the transfer
/// fails.
pub trait FileSink: Send {
    fn write(&mut self, chunk: &[u8]) -> Result<()>;

    /// The contents are complete.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Packets that came together are handed on together, up to this many: waking a thread costs more than most of them.
const TOGETHER: usize = 32;
/// What waits for one thread, in such bundles, so that what a peer sends ahead stays bounded.
const QUEUE: usize = 2;
/// Entries that wait for the decision, in such bundles.
const LISTING_QUEUE: usize = 32;

/// Receives a tree and gives the receiver back once all contents are in. `on_bytes` hears how much came so far.
pub async fn receive<R: SyncReceiver>(
    mut packets: impl Stream<Item = Result<Packet, Status>> + Unpin,
    replies: mpsc::UnboundedSender<Packet>,
    receiver: R,
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<R> {
    let (failed, mut failures) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(replies.clone(), failed));
    let (listing, entries) = mpsc::channel(LISTING_QUEUE);
    let lister: JoinHandle<R> = {
        let shared = shared.clone();
        spawn_blocking(move || take_listing(receiver, entries, &shared))
    };
    let result = tokio::select! {
        biased;
        failure = failures.recv() => Err(failure.unwrap_or_else(Error::canceled)),
        done = take_packets(&mut packets, &shared, listing, on_bytes) => done,
    };
    if let Err(e) = result {
        // A queue that closed early has its reason here.
        let e = failures.try_recv().unwrap_or(e);
        let _peer_may_be_gone = replies.send(packet::error(e.to_string()));
        return Err(e);
    }
    let receiver = lister.await.map_err(|e| Error::internal(format!("file receiver ended: {e}")))?;
    failures.try_recv().map_or(Ok(receiver), Err)
}

/// Hands each packet to the thread that it is for, and speaks the end of the protocol.
async fn take_packets(
    packets: &mut (impl Stream<Item = Result<Packet, Status>> + Unpin),
    shared: &Arc<Shared>,
    listing: mpsc::Sender<Vec<Entry>>,
    on_bytes: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let mut packets = packets.ready_chunks(TOGETHER);
    let (mut finished, mut total) = (false, 0);
    let (mut entries, mut writers) = (Vec::new(), Vec::new());
    loop {
        let bundle = tokio::select! {
            () = shared.complete.notified(), if !finished => {
                finished = true;
                listing.send(vec![Entry::Complete]).await.map_err(|_| Error::canceled())?;
                continue;
            }
            bundle = packets.next() => bundle,
        };
        let Some(bundle) = bundle else {
            return if finished { Ok(()) } else { Err(cut_short()) };
        };
        for packet in bundle {
            let packet = packet.map_err(grpcerr::from_status)?;
            total += packet.encoded_len() as u64;
            let kind = PacketType::try_from(packet.r#type);
            match kind.map_err(|_| Error::user(format!("unknown packet type {}", packet.r#type)))? {
                PacketType::PacketStat => {
                    let stat = packet.stat.map(Stat::try_from).transpose().map_err(bad_stat)?;
                    entries.push(stat.map_or(Entry::End, Entry::Next));
                }
                PacketType::PacketData => {
                    // Mostly nothing changed, and none is needed.
                    if writers.is_empty() {
                        writers = start_writers(shared);
                    }
                    let writer = packet.id as usize % writers.len();
                    writers[writer].1.push((packet.id, packet.data));
                }
                PacketType::PacketFin if finished => return Ok(()),
                PacketType::PacketFin => return Err(cut_short()),
                PacketType::PacketErr => {
                    let message = format!("error from sender: {}", String::from_utf8_lossy(&packet.data));
                    return Err(Error::environment(message));
                }
                PacketType::PacketReq => return Err(Error::user("the sender of files asked for a file")),
            }
        }
        on_bytes(total);
        hand_on(&listing, &mut entries).await?;
        for (queue, chunks) in &mut writers {
            hand_on(queue, chunks).await?;
        }
    }
}

async fn hand_on<T>(queue: &mpsc::Sender<Vec<T>>, bundle: &mut Vec<T>) -> Result<()> {
    if bundle.is_empty() {
        return Ok(());
    }
    queue.send(std::mem::take(bundle)).await.map_err(|_| Error::canceled())
}

/// A piece of the file that was asked for by this number; an empty one is its end.
type Chunk = (u32, Bytes);

enum Entry {
    Next(Stat),
    End,
    Complete,
}

/// What the threads of one transfer share.
struct Shared {
    /// Sinks of files that were asked for and have not begun to come.
    waiting: Mutex<HashMap<u32, Box<dyn FileSink>>>,
    /// Files that are not complete, and one more while the listing is not.
    open: AtomicUsize,
    complete: Notify,
    replies: mpsc::UnboundedSender<Packet>,
    failed: mpsc::UnboundedSender<Error>,
}

impl Shared {
    fn new(replies: mpsc::UnboundedSender<Packet>, failed: mpsc::UnboundedSender<Error>) -> Self {
        let (waiting, open, complete) = (Mutex::default(), AtomicUsize::new(1), Notify::new());
        Shared { waiting, open, complete, replies, failed }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u32, Box<dyn FileSink>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, id: u32, sink: Box<dyn FileSink>) {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.waiting().insert(id, sink);
        self.reply(packet::request(id));
    }

    fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    /// A peer that takes no replies has ended the transfer, and says why in its own stream.
    fn reply(&self, packet: Packet) {
        let _peer_is_gone = self.replies.send(packet);
    }

    fn fail(&self, error: Error) {
        let _nobody_waits_any_more = self.failed.send(error);
    }
}

fn take_listing<R: SyncReceiver>(
    mut receiver: R,
    mut entries: mpsc::Receiver<Vec<Entry>>,
    shared: &Shared,
) -> R {
    let mut checker = Checker::default();
    let mut next_id = 0;
    for entry in std::iter::from_fn(|| entries.blocking_recv()).flatten() {
        let result = match entry {
            Entry::Next(stat) => {
                let id = next_id;
                next_id += 1;
                take_entry(&mut receiver, &mut checker, id, stat, shared)
            }
            Entry::End => receiver.listed().map(|()| shared.close_one()),
            Entry::Complete => receiver.complete().map(|()| shared.reply(packet::fin())),
        };
        if let Err(e) = result {
            shared.fail(e);
            break;
        }
    }
    receiver
}

fn take_entry(
    receiver: &mut impl SyncReceiver,
    checker: &mut Checker,
    id: u32,
    stat: Stat,
    shared: &Shared,
) -> Result<()> {
    checker.check(&stat)?;
    let has_data = stat.has_data();
    if let Some(sink) = receiver.entry(stat)?.filter(|_| has_data) {
        shared.request(id, sink);
    }
    Ok(())
}

/// The way to a thread that writes, and what is gathered for it.
type Writer = (mpsc::Sender<Vec<Chunk>>, Vec<Chunk>);

/// Starts the threads that write; all pieces of one file go to the same one.
fn start_writers(shared: &Arc<Shared>) -> Vec<Writer> {
    let count = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let start = |_| {
        let (queue, mut chunks) = mpsc::channel(QUEUE);
        let shared = shared.clone();
        spawn_blocking(move || {
            if let Err(e) = write_chunks(&mut chunks, &shared) {
                // Before the queue closes, so that who finds it closed finds the reason.
                shared.fail(e);
            }
        });
        (queue, Vec::new())
    };
    (0..count).map(start).collect()
}

fn write_chunks(chunks: &mut mpsc::Receiver<Vec<Chunk>>, shared: &Shared) -> Result<()> {
    let mut open: HashMap<u32, Box<dyn FileSink>> = HashMap::new();
    for (id, chunk) in std::iter::from_fn(|| chunks.blocking_recv()).flatten() {
        let sink = open.remove(&id).or_else(|| shared.waiting().remove(&id));
        let mut sink = sink.ok_or_else(|| Error::user(format!("invalid file request {id}")))?;
        if chunk.is_empty() {
            sink.finish()?;
            shared.close_one();
        } else {
            sink.write(&chunk)?;
            open.insert(id, sink);
        }
    }
    Ok(())
}

fn bad_stat(why: &'static str) -> Error {
    Error::user(why).context("invalid file listing")
}

fn cut_short() -> Error {
    Error::new(Class::Environment, Code::Unavailable, "file transfer ended before it was complete")
}
