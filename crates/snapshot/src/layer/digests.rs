use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use oci::Digest;

/// A raw sha256.
pub type Raw = [u8; 32];

/// The file digests of a layer that are known, by path. The file is a row of `u32 length, path, 32 bytes`; it only
/// grows, and a torn end is ignored, so it needs no care at a crash: what is lost is computed again.
#[derive(Debug)]
pub struct Digests {
    file: PathBuf,
    known: Mutex<HashMap<Box<[u8]>, Raw>>,
}

impl Digests {
    pub fn load(file: PathBuf) -> Self {
        let bytes = std::fs::read(&file).unwrap_or_default();
        Digests { file, known: Mutex::new(parse(&bytes)) }
    }

    pub fn get(&self, path: &[u8]) -> Option<Raw> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    /// Remembers more. That they cannot be written is no error: they are only a memory.
    pub fn add(&self, new: Vec<(Box<[u8]>, Raw)>) {
        if new.is_empty() {
            return;
        }
        let bytes = encode(new.iter().map(|(path, raw)| (&**path, raw)));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(new);
        let file = OpenOptions::new().append(true).create(true).open(&self.file);
        if let Err(e) = file.and_then(|mut f| f.write_all(&bytes)) {
            tracing::warn!(file = %self.file.display(), "digests are not remembered: {e}");
        }
    }
}

/// The bytes of a digest, which is a sha256.
pub fn raw(digest: &Digest) -> Raw {
    let mut raw = [0; 32];
    let hex = digest.hex().as_bytes();
    for (byte, pair) in raw.iter_mut().zip(hex.chunks_exact(2)) {
        let nibble = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    raw
}

/// The bytes of a digest file.
pub fn encode<'a>(entries: impl Iterator<Item = (&'a [u8], &'a Raw)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, raw) in entries {
        bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(raw);
    }
    bytes
}

fn parse(mut bytes: &[u8]) -> HashMap<Box<[u8]>, Raw> {
    let mut known = HashMap::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let Some((path, rest)) = rest.split_at_checked(len) else { break };
        let Some((raw, rest)) = rest.split_first_chunk::<32>() else { break };
        known.insert(path.into(), *raw);
        bytes = rest;
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_across_loads_and_torn_ends_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("digests");
        Digests::load(file.clone())
            .add(vec![(b"a".as_slice().into(), [1; 32]), (b"b/c".as_slice().into(), [2; 32])]);
        let whole = std::fs::read(&file).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&file, &whole[..cut]).unwrap();
            let digests = Digests::load(file.clone());
            assert_eq!(digests.get(b"a"), (cut >= 37).then_some([1; 32]));
            assert_eq!(digests.get(b"b/c"), (cut == whole.len()).then_some([2; 32]));
        }
    }
}
