//! Pieces that were packed before.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use oci::Digest;
use sha2::{Digest as _, Sha256};

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

pub fn key(compression: Compression, piece: &[u8]) -> Key {
    let mut sha = Sha256::new();
    sha.update(compression.key());
    sha.update(b"\0");
    sha.update(piece);
    sha.finalize().into()
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

    /// The packed bytes, where they are known and still as they were.
    pub fn read(&self, key: &Key) -> Option<Vec<u8>> {
        let (blob, place) = self.known.get(key)?;
        let file = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let open = || (self.open)(&blob).map(Arc::new);
            files.entry((*blob).clone()).or_insert_with(open).clone()?
        };
        let mut bytes = vec![0; place.len];
        file.read_exact_at(&mut bytes, place.offset).ok()?;
        (crc(&bytes) == place.crc).then_some(bytes)
    }
}
