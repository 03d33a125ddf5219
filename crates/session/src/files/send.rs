//! The sending side. One thread lists the tree; a few others read the files that are asked for.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use errdefs::{Class, Code, Error, Result, ResultExt};
use futures_util::{Stream, StreamExt};
use proto::fsutil::Packet;
use proto::fsutil::packet::PacketType;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tonic::Status;

use crate::files::packet;
use crate::files::stat::Stat;
use crate::grpcerr;

/// A tree of files to be sent. Called on threads that may block.
pub trait Tree: Send + Sync + 'static {
    /// Gives all entries to `each`, in wire order ([`compare_paths`](super::compare_paths)), folders before what they
    /// hold, hard links after the file that they name.
    fn list(&self, each: &mut dyn FnMut(Stat) -> Result<()>) -> Result<()>;

    /// Opens a regular file of the listing.
    fn open(&self, path: &[u8]) -> Result<Box<dyn Read + Send>>;
}

/// Most bytes in one packet. Go servers take up to 4 MiB.
const CHUNK: usize = 256 << 10;
/// Threads that read files, as fsutil has.
const READERS: usize = 4;

/// Sends a tree to a peer that asks for what it needs, and ends when the peer has all.
pub(crate) async fn send(
    tree: Arc<dyn Tree>,
    mut packets: impl Stream<Item = Result<Packet, Status>> + Unpin,
    out: mpsc::Sender<Packet>,
) -> Result<()> {
    let listed = Arc::new(Listed::default());
    let mut threads = JoinSet::new();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (queue, ids) = mpsc::unbounded_channel();
            let (tree, listed, out) = (tree.clone(), listed.clone(), out.clone());
            threads.spawn(run(move || send_files(&*tree, &listed, ids, &out)));
            queue
        })
        .collect();
    let lister = {
        let (listed, out) = (listed.clone(), out.clone());
        run(move || send_listing(&*tree, &listed, &out))
    };
    threads.spawn(lister);
    let result = tokio::select! {
        biased;
        failure = first_failure(&mut threads) => Err(failure),
        done = take_requests(&mut packets, &readers) => done,
    };
    let last = match &result {
        Ok(()) => packet::fin(),
        Err(e) => packet::error(e.to_string()),
    };
    let _peer_may_be_gone = out.send(last).await;
    result
}

async fn run(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::internal(format!("file sender ended: {e}"))))
}

/// Ends when a thread fails, and never when all succeed.
async fn first_failure(threads: &mut JoinSet<Result<()>>) -> Error {
    while let Some(ended) = threads.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return e,
            Err(e) => return Error::internal(format!("file sender ended: {e}")),
        }
    }
    std::future::pending().await
}

async fn take_requests(
    packets: &mut (impl Stream<Item = Result<Packet, Status>> + Unpin),
    readers: &[mpsc::UnboundedSender<u32>],
) -> Result<()> {
    while let Some(packet) = packets.next().await {
        let packet = packet.map_err(grpcerr::from_status)?;
        match PacketType::try_from(packet.r#type) {
            Ok(PacketType::PacketReq) => {
                let queue = &readers[packet.id as usize % readers.len()];
                if queue.send(packet.id).is_err() {
                    // The thread has failed, and its reason is about to end this.
                    return std::future::pending().await;
                }
            }
            Ok(PacketType::PacketFin) => return Ok(()),
            Ok(PacketType::PacketErr) => {
                let message = format!("error from receiver: {}", String::from_utf8_lossy(&packet.data));
                return Err(Error::environment(message));
            }
            // Stock peers pass over packets that they do not expect; a newer one may rely on that.
            _ => {}
        }
    }
    Err(Error::new(Class::Environment, Code::Unavailable, "file transfer ended before it was complete"))
}

/// Files that may be asked for, each once.
#[derive(Default)]
struct Listed(Mutex<HashMap<u32, Vec<u8>>>);

impl Listed {
    fn add(&self, id: u32, path: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, path);
    }

    fn take(&self, id: u32) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

fn send_listing(tree: &dyn Tree, listed: &Listed, out: &mpsc::Sender<Packet>) -> Result<()> {
    let mut next_id = 0;
    tree.list(&mut |stat| {
        let packet = packet::stat(&stat);
        if stat.has_data() {
            listed.add(next_id, stat.path);
        }
        next_id += 1;
        out.blocking_send(packet).map_err(|_| Error::canceled())
    })?;
    out.blocking_send(packet::end_of_listing()).map_err(|_| Error::canceled())
}

fn send_files(
    tree: &dyn Tree,
    listed: &Listed,
    mut ids: mpsc::UnboundedReceiver<u32>,
    out: &mpsc::Sender<Packet>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    while let Some(id) = ids.blocking_recv() {
        let path = listed.take(id).ok_or_else(|| Error::user(format!("invalid file id {id}")))?;
        send_file(tree, id, &path, &mut buffer, out)
            .with_context(|| format!("failed to send `{}`", path.escape_ascii()))?;
    }
    Ok(())
}

fn send_file(
    tree: &dyn Tree,
    id: u32,
    path: &[u8],
    buffer: &mut [u8],
    out: &mpsc::Sender<Packet>,
) -> Result<()> {
    let mut file: Box<dyn Read> = match tree.open(path) {
        Ok(file) => file,
        // Gone since it was listed: the peer gets an empty file, as from stock clients.
        Err(e) if e.is_not_found() => Box::new(std::io::empty()),
        Err(e) => return Err(e),
    };
    loop {
        let read = match file.read(buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let chunk = Bytes::copy_from_slice(&buffer[..read]);
        out.blocking_send(packet::data(id, chunk)).map_err(|_| Error::canceled())?;
        if read == 0 {
            return Ok(());
        }
    }
}
