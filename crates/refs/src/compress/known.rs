//! Pieces that were packed before.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use oci::Digest;

use super::spare::Buffer;

use crate::blobs::Compression;

/// Pieces that are remembered, of all blobs together.
const MOST: usize = 40_000;

/// What a piece is known by: its bytes, and how they are packed.
pub type Key = [u8; 32];

/// Where packed pieces lie in the blobs of the store. The blobs may go at any time; then the pieces are packed again.
#[derive(Default)]
pub struct KnownPieces(Mutex<Table>);

#[derive(Default)]
struct Table {
    places: HashMap<Key, (Arc<Digest>, Place)>,
    /// The latest last.
    blobs: VecDeque<(Arc<Digest>, Vec<Key>)>,
}

/// A packed piece in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub len: usize,
    /// Of the packed bytes, so that damage on the disk is not handed on.
    pub crc: u32,
}

/// Made of each byte that is packed, so by a hash several times as fast as sha256.
pub fn key(compression: Compression, piece: &[u8]) -> Key {
    let mut hash = blake3::Hasher::new();
    hash.update(compression.key().as_bytes()).update(b"\0").update(piece);
    hash.finalize().into()
}

pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = libdeflater::Crc::new();
    crc.update(bytes);
    crc.sum()
}

impl KnownPieces {
    /// Remembers the pieces of a blob.
    pub fn add(&self, blob: &Digest, pieces: Vec<(Key, Place)>) {
        let blob = Arc::new(blob.clone());
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Key> = pieces.iter().map(|(key, _)| *key).collect();
        table.places.extend(pieces.into_iter().map(|(key, place)| (key, (blob.clone(), place))));
        table.blobs.push_back((blob, keys));
        while table.blobs.iter().map(|(_, keys)| keys.len()).sum::<usize>() > MOST {
            let Some((oldest, keys)) = table.blobs.pop_front() else { break };
            for key in keys {
                if table.places.get(&key).is_some_and(|(blob, _)| Arc::ptr_eq(blob, &oldest)) {
                    table.places.remove(&key);
                }
            }
        }
    }

    fn get(&self, key: &Key) -> Option<(Arc<Digest>, Place)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).places.get(key).cloned()
    }
}

/// Reads packed pieces from blobs, which stay open meanwhile.
pub struct Reader<'a> {
    known: &'a KnownPieces,
    open: &'a (dyn Fn(&Digest) -> Option<File> + Sync),
    files: Mutex<HashMap<Digest, Option<Arc<File>>>>,
}

impl<'a> Reader<'a> {
    pub fn new(known: &'a KnownPieces, open: &'a (dyn Fn(&Digest) -> Option<File> + Sync)) -> Self {
        Reader { known, open, files: Mutex::default() }
    }

    /// Reads the packed bytes; `false` where they are not known, or not as they were any more.
    pub fn read(&self, key: &Key, into: &mut Buffer) -> bool {
        self.read_known(key, into).is_some()
    }

    fn read_known(&self, key: &Key, into: &mut Buffer) -> Option<()> {
        let (blob, place) = self.known.get(key)?;
        let file = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let open = || (self.open)(&blob).map(Arc::new);
            files.entry((*blob).clone()).or_insert_with(open).clone()?
        };
        into.resize(place.len, 0);
        file.read_exact_at(into, place.offset).ok()?;
        (crc(into) == place.crc).then_some(())
    }
}
