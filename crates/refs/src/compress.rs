//! Packs a stream on all cores. The stream is cut into pieces and each piece is packed on its own, so the bytes depend
//! on the stream alone, not on the number of threads or on timing. A piece that was packed before is not packed again.

mod cut;
pub mod estargz;
mod known;
mod spare;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use errdefs::{Error, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::blobs::{Compression, CompressionKind};
use cut::{Cutter, Piece};
use known::{Key, Place};
pub use known::{KnownPieces, Reader};
use spare::{Buffer, Spare};

/// A packed piece, and what the piece is known by; nothing where it is not to be remembered.
type Packed = io::Result<(Buffer, Option<Key>)>;

/// What packing gave.
#[derive(Debug)]
pub struct Done {
    /// Of the stream before it was packed.
    pub stream: Digest,
    /// Of what the blob unpacks to: the stream, and what the packing puts behind it.
    pub diff_id: Digest,
    /// Where the pieces lie in what was written.
    pub places: Vec<(Key, Place)>,
    /// What those who unpack it may need to know.
    pub annotations: BTreeMap<String, String>,
}

/// Writes what `produce` makes, packed, to `out`.
pub fn pack(
    compression: Compression,
    threads: usize,
    stop: &AtomicBool,
    known: &Reader<'_>,
    out: &mut (dyn Write + Send),
    produce: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
) -> Result<Done> {
    let spare = Spare::default();
    std::thread::scope(|scope| {
        // As many pieces wait as there are threads to pack them: memory is bounded.
        let (order, packed) = sync_channel(threads * 2);
        let (to_hash, pieces) = sync_channel::<Piece>(1);
        let hashed = scope.spawn(move || {
            let mut sha = Sha256::new();
            let mut len = 0;
            for piece in pieces {
                sha.update(piece.as_slice());
                len += piece.len() as u64;
            }
            (sha, len)
        });
        let jobs = workers(scope, compression, threads, known, &spare);
        let of_stream = spare.clone();
        let produced = scope.spawn(move || {
            let mut next = |piece: Piece| {
                let (answer, packed) = sync_channel(1);
                let sent = to_hash.send(piece.clone()).is_ok()
                    && order.send(packed).is_ok()
                    && jobs.send((piece, answer)).is_ok();
                if sent { Ok(()) } else { Err(io::Error::other("nobody takes the packed bytes")) }
            };
            if compression.kind == CompressionKind::Estargz {
                return estargz::cut(scope, produce, stop, &mut next).map(Some);
            }
            let mut cutter = Cutter::new(piece_size(compression), of_stream, stop, &mut next);
            produce(&mut cutter)?;
            cutter.finish()?;
            Ok(None)
        });
        let written = write_all(packed, out);
        let produced = produced.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (sha, len) = hashed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where writing fails, producing fails for that reason.
        let Written { places, starts, end } = written?;
        let table = produced?;
        let stream = Digest::from_sha256(sha.clone().finalize().into());
        match table {
            None => Ok(Done { diff_id: stream.clone(), stream, places, annotations: BTreeMap::new() }),
            Some(table) => {
                let (archive, digest) = table.archive(&starts)?;
                let mut packed = spare.take();
                Packer::new(compression)?.pack(&archive, &mut packed)?;
                out.write_all(&packed)?;
                out.write_all(&estargz::footer(end))?;
                let annotations = BTreeMap::from([
                    (estargz::TABLE_DIGEST.to_owned(), digest.to_string()),
                    (estargz::UNPACKED_SIZE.to_owned(), (len + archive.len() as u64).to_string()),
                ]);
                let diff_id = Digest::from_sha256(sha.chain_update(&archive).finalize().into());
                Ok(Done { stream, diff_id, places, annotations })
            }
        }
    })
}

/// Where things are in the blob.
#[derive(Default)]
struct Written {
    places: Vec<(Key, Place)>,
    /// Of each piece.
    starts: Vec<u64>,
    end: u64,
}

fn write_all(packed: Receiver<Receiver<Packed>>, out: &mut (dyn Write + Send)) -> Result<Written> {
    let mut written = Written::default();
    for piece in packed {
        let packed = piece.recv().map_err(|_| Error::internal("a packing thread ended"))?;
        let (bytes, key) = packed?;
        out.write_all(&bytes)?;
        let offset = written.end;
        if let Some(key) = key {
            written.places.push((key, Place { offset, len: bytes.len(), crc: known::crc(&bytes) }));
        }
        written.starts.push(offset);
        written.end += bytes.len() as u64;
    }
    Ok(written)
}

/// The most that one thread packs at a time. Small enough to share the work, large enough to pack well. eStargz has its own
/// pieces.
fn piece_size(compression: Compression) -> usize {
    match compression.kind {
        CompressionKind::Uncompressed | CompressionKind::Gzip => 1 << 20,
        CompressionKind::Zstd | CompressionKind::Estargz => 4 << 20,
    }
}

/// A piece, and where the packed one goes.
type Job = (Piece, SyncSender<Packed>);

fn workers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    compression: Compression,
    threads: usize,
    known: &'scope Reader<'_>,
    spare: &Spare,
) -> SyncSender<Job> {
    let (sender, queue) = sync_channel::<Job>(threads);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..threads {
        let (queue, spare) = (queue.clone(), spare.clone());
        scope.spawn(move || {
            let mut packer = Packer::new(compression);
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((piece, answer)) = job else { return };
                let packed = match &mut packer {
                    Ok(packer) => pack_one(packer, compression, &piece, known, spare.take()),
                    Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
                };
                // Where nobody waits any more, another piece failed.
                let _ = answer.send(packed);
            }
        });
    }
    sender
}

fn pack_one(
    packer: &mut Packer,
    compression: Compression,
    piece: &[u8],
    known: &Reader<'_>,
    mut packed: Buffer,
) -> Packed {
    if let Packer::None = packer {
        packer.pack(piece, &mut packed)?;
        return Ok((packed, None));
    }
    let key = known::key(compression, piece);
    if !known.read(&key, &mut packed) {
        packed.clear();
        packer.pack(piece, &mut packed)?;
    }
    Ok((packed, Some(key)))
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
            CompressionKind::Gzip | CompressionKind::Estargz => {
                let level = libdeflater::CompressionLvl::new(level)
                    .map_err(|_| io::Error::other(format!("no gzip level {level}")))?;
                Packer::Gzip(libdeflater::Compressor::new(level))
            }
            CompressionKind::Zstd => Packer::Zstd(zstd::bulk::Compressor::new(level)?),
        })
    }

    /// Gives a whole gzip member or zstd frame; they may follow each other.
    fn pack(&mut self, piece: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Packer::None => packed.extend_from_slice(piece),
            Packer::Gzip(packer) => {
                packed.resize(packer.gzip_compress_bound(piece.len()), 0);
                let len = packer.gzip_compress(piece, packed).map_err(|e| io::Error::other(e.to_string()))?;
                packed.truncate(len);
            }
            Packer::Zstd(packer) => {
                packed.reserve(zstd::zstd_safe::compress_bound(piece.len()));
                packer.compress_to_buffer(piece, packed)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::fs::FileExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn packed(compression: Compression, threads: usize, bytes: &[u8], known: &Reader<'_>) -> (Vec<u8>, Done) {
        let mut out = Vec::new();
        let produce = |w: &mut dyn Write| Ok(w.write_all(bytes)?);
        let done = pack(compression, threads, &AtomicBool::new(false), known, &mut out, produce).unwrap();
        assert_eq!(done.diff_id, Digest::of(bytes));
        (out, done)
    }

    fn nothing(_: &Digest) -> Option<File> {
        None
    }

    #[test]
    fn the_bytes_do_not_depend_on_threads_and_unpack_to_the_same() {
        let bytes: Vec<u8> = (0..9_500_000u32).flat_map(|i| (i / 7).to_le_bytes()[..1].to_vec()).collect();
        for compression in [Compression::gzip(), Compression::zstd(), Compression::uncompressed()] {
            for bytes in [&bytes[..], &bytes[..1 << 20], b""] {
                let pieces = KnownPieces::default();
                let known = Reader::new(&pieces, &nothing);
                let (one, _) = packed(compression, 1, bytes, &known);
                assert!(one == packed(compression, 5, bytes, &known).0);
                let mut back = Vec::new();
                fsutil::Decoder::detect(&one[..]).unwrap().read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{compression:?}");
            }
        }
    }

    #[test]
    fn what_was_packed_before_is_taken_from_there() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i / 5) as u8).collect();
        let gzip = Compression::gzip();
        let pieces = KnownPieces::default();
        let (first, done) = packed(gzip, 2, &bytes, &Reader::new(&pieces, &nothing));
        let blob = Digest::of(&first);
        assert_eq!(done.places.iter().map(|(_, place)| place.len).sum::<usize>(), first.len());
        let last = done.places[2];
        pieces.add(&blob, done.places);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&first).unwrap();
        let opened = AtomicUsize::new(0);
        let open = |digest: &Digest| {
            opened.fetch_add(1, Ordering::Relaxed);
            (*digest == blob).then(|| file.try_clone().unwrap())
        };
        let known = Reader::new(&pieces, &open);
        let is_known = |key: &Key| known.read(key, &mut Buffer::from(Vec::new()));
        assert!(packed(gzip, 2, &bytes, &known).0 == first);
        assert_eq!((opened.load(Ordering::Relaxed), is_known(&last.0)), (1, true));
        // Another level is another piece.
        let high = Compression { level: Some(9), ..gzip };
        assert!(packed(high, 2, &bytes, &known).0 != first);
        // What is damaged is packed again.
        file.write_all_at(b"x", last.1.offset + 100).unwrap();
        assert!(!is_known(&last.0));
        assert!(packed(gzip, 2, &bytes, &known).0 == first);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let pieces = KnownPieces::default();
        let place = Place { offset: 0, len: 1, crc: known::crc(b"x") };
        let open = |_: &Digest| {
            let mut file = tempfile::tempfile().ok()?;
            file.write_all(b"x").ok()?;
            Some(file)
        };
        let key = |i: u32| known::key(Compression::gzip(), &i.to_le_bytes());
        for blob in 0..5u32 {
            let own = (0..10_000).map(|i| (key(blob * 10_000 + i), place)).chain([(key(7), place)]);
            pieces.add(&Digest::of(blob.to_le_bytes()), own.collect());
        }
        let known = Reader::new(&pieces, &open);
        let is_known = |key: &Key| known.read(key, &mut Buffer::from(Vec::new()));
        let there = [0, 7, 9_999, 20_000, 49_999].map(|i| is_known(&key(i)));
        assert_eq!(there, [false, true, false, true, true]);
    }

    #[test]
    fn failures_end_it() {
        let pieces = KnownPieces::default();
        let known = Reader::new(&pieces, &nothing);
        let stop = AtomicBool::new(true);
        let many = |w: &mut dyn Write| (0..100).try_for_each(|_| Ok(w.write_all(&[7; 1 << 20])?));
        assert!(pack(Compression::gzip(), 2, &stop, &known, &mut io::sink(), many).is_err());
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let e = pack(Compression::gzip(), 2, &AtomicBool::new(false), &known, &mut Full, many).unwrap_err();
        assert_eq!(e.io_kind(), Some(io::ErrorKind::StorageFull));
        let e = pack(Compression::zstd(), 2, &AtomicBool::new(false), &known, &mut io::sink(), |_| {
            Err(Error::user("no"))
        });
        assert_eq!(e.unwrap_err().message(), "no");
    }
}
