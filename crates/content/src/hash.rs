//! The hashes that digests name.

use oci::Digest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Takes bytes and gives their digest.
pub enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// The hash of `digest`; sha256 for what has no digest yet.
    pub fn like(digest: Option<&Digest>) -> Self {
        Self::called(digest.map_or("", Digest::algorithm))
    }

    /// The hash of that name, as `sha512`; sha256 for every other name.
    pub fn called(name: &str) -> Self {
        match name {
            "sha384" => Hasher::Sha384(Sha384::new()),
            "sha512" => Hasher::Sha512(Sha512::new()),
            _ => Hasher::Sha256(Sha256::new()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha384(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        let hex = |name: &str, raw: &[u8]| {
            let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
            format!("{name}:{hex}").parse().expect("a hash in hex is a digest")
        };
        match self {
            Hasher::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Hasher::Sha384(hash) => hex("sha384", &hash.finalize()),
            Hasher::Sha512(hash) => hex("sha512", &hash.finalize()),
        }
    }
}
