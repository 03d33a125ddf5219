//! Packs a stream on all cores. The stream is cut at fixed places and each piece is packed on its own, so the bytes
//! depend on the stream alone, not on the number of threads or on timing.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use errdefs::{Error, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::blobs::{Compression, CompressionKind};

type Piece = Arc<Vec<u8>>;
type Packed = io::Result<Vec<u8>>;

/// Writes what `produce` makes, packed, to `out`; gives the digest of the stream before packing. Ends early with an
/// error when `stop` is set.
pub fn pack(
    compression: Compression,
    threads: usize,
    stop: &AtomicBool,
    out: &mut (dyn Write + Send),
    produce: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
) -> Result<Digest> {
    std::thread::scope(|scope| {
        // As many pieces wait as there are threads to pack them: memory is bounded.
        let (order, packed) = sync_channel(threads * 2);
        let (to_hash, pieces) = sync_channel::<Piece>(4);
        let hashed = scope.spawn(move || {
            let mut sha = Sha256::new();
            for piece in pieces {
                sha.update(&*piece);
            }
            Digest::from_sha256(sha.finalize().into())
        });
        let jobs = workers(scope, compression, threads);
        let produced = scope.spawn(move || {
            let mut cutter = Cutter {
                piece: Vec::new(),
                size: piece_size(compression),
                any: false,
                to_hash,
                jobs,
                order,
                stop,
            };
            produce(&mut cutter)?;
            cutter.finish().map_err(Error::from)
        });
        let written = write_all(packed, out);
        let produced = produced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let digest = hashed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where writing fails, producing fails for that reason.
        written?;
        produced?;
        Ok(digest)
    })
}

fn write_all(packed: Receiver<Receiver<Packed>>, out: &mut (dyn Write + Send)) -> Result<()> {
    for piece in packed {
        match piece.recv() {
            Ok(bytes) => out.write_all(&bytes?)?,
            Err(_) => return Err(Error::internal("a packing thread ended")),
        }
    }
    Ok(())
}

/// What one thread packs at a time. Small enough to share the work, large enough to pack well.
fn piece_size(compression: Compression) -> usize {
    match compression.kind {
        CompressionKind::Uncompressed | CompressionKind::Gzip => 1 << 20,
        CompressionKind::Zstd => 4 << 20,
    }
}

/// A piece, and where the packed one goes.
type Job = (Piece, SyncSender<Packed>);

fn workers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    compression: Compression,
    threads: usize,
) -> SyncSender<Job> {
    let (sender, queue) = sync_channel::<Job>(threads);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..threads {
        let queue = queue.clone();
        scope.spawn(move || {
            let mut packer = Packer::new(compression);
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((piece, answer)) = job else { return };
                // Where nobody waits any more, another piece failed.
                let _ = answer.send(packer.as_mut().map_err(clone).and_then(|packer| packer.pack(&piece)));
            }
        });
    }
    sender
}

fn clone(e: &mut io::Error) -> io::Error {
    io::Error::new(e.kind(), e.to_string())
}

enum Packer {
    None,
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    fn new(compression: Compression) -> io::Result<Self> {
        let level = compression.level();
        Ok(match compression.kind {
            CompressionKind::Uncompressed => Packer::None,
            CompressionKind::Gzip => {
                let level = libdeflater::CompressionLvl::new(level)
                    .map_err(|_| io::Error::other(format!("no gzip level {level}")))?;
                Packer::Gzip(libdeflater::Compressor::new(level))
            }
            CompressionKind::Zstd => Packer::Zstd(zstd::bulk::Compressor::new(level)?),
        })
    }

    /// A whole gzip member or zstd frame; they may follow each other.
    fn pack(&mut self, piece: &[u8]) -> Packed {
        match self {
            Packer::None => Ok(piece.to_vec()),
            Packer::Gzip(packer) => {
                let mut packed = vec![0; packer.gzip_compress_bound(piece.len())];
                let len =
                    packer.gzip_compress(piece, &mut packed).map_err(|e| io::Error::other(e.to_string()))?;
                packed.truncate(len);
                Ok(packed)
            }
            Packer::Zstd(packer) => packer.compress(piece),
        }
    }
}

/// Cuts a stream into pieces and hands them on.
struct Cutter<'a> {
    piece: Vec<u8>,
    size: usize,
    any: bool,
    to_hash: SyncSender<Piece>,
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Packed>>,
    stop: &'a AtomicBool,
}

impl Cutter<'_> {
    fn send(&mut self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("context canceled"));
        }
        self.any = true;
        let piece = Arc::new(std::mem::take(&mut self.piece));
        let (answer, packed) = sync_channel(1);
        let sent = self.to_hash.send(piece.clone()).is_ok()
            && self.order.send(packed).is_ok()
            && self.jobs.send((piece, answer)).is_ok();
        if sent { Ok(()) } else { Err(io::Error::other("nobody takes the packed bytes")) }
    }

    fn finish(mut self) -> io::Result<()> {
        // An empty stream is one empty piece, so that it is a gzip file or zstd frame.
        if self.piece.is_empty() && self.any { Ok(()) } else { self.send() }
    }
}

impl Write for Cutter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(self.size);
        }
        let n = bytes.len().min(self.size - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        if self.piece.len() == self.size {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn packed(compression: Compression, threads: usize, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let produce = |w: &mut dyn Write| Ok(w.write_all(bytes)?);
        let digest = pack(compression, threads, &AtomicBool::new(false), &mut out, produce).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        out
    }

    #[test]
    fn the_bytes_do_not_depend_on_threads_and_unpack_to_the_same() {
        let bytes: Vec<u8> = (0..9_500_000u32).flat_map(|i| (i / 7).to_le_bytes()[..1].to_vec()).collect();
        for compression in [Compression::gzip(), Compression::zstd(), Compression::uncompressed()] {
            for bytes in [&bytes[..], &bytes[..1 << 20], b""] {
                let one = packed(compression, 1, bytes);
                assert!(one == packed(compression, 5, bytes));
                let mut back = Vec::new();
                snapshot::Decoder::detect(&one[..]).unwrap().read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{compression:?}");
            }
        }
    }

    #[test]
    fn failures_end_it() {
        let stop = AtomicBool::new(true);
        let many = |w: &mut dyn Write| (0..100).try_for_each(|_| Ok(w.write_all(&[7; 1 << 20])?));
        assert!(pack(Compression::gzip(), 2, &stop, &mut io::sink(), many).is_err());
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let e = pack(Compression::gzip(), 2, &AtomicBool::new(false), &mut Full, many).unwrap_err();
        assert_eq!(e.io_kind(), Some(io::ErrorKind::StorageFull));
        let e = pack(Compression::zstd(), 2, &AtomicBool::new(false), &mut io::sink(), |_| {
            Err(Error::user("no"))
        });
        assert_eq!(e.unwrap_err().message(), "no");
    }
}
