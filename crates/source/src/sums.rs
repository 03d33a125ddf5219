//! Checksums.

use std::io::Read;

use errdefs::{Error, Result, ResultExt};
use frontend::ChecksumAlgorithm;
use oci::Digest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The sha256 of what came, and the checksum where another kind was asked for.
pub struct Sums {
    sha256: Sha256,
    other: Other,
}

enum Other {
    None,
    Sha384(Box<Sha384>),
    Sha512(Box<Sha512>),
}

impl Sums {
    /// `wanted` says which other sum to take.
    pub fn new(wanted: Option<&Digest>) -> Self {
        let other = match wanted.map(Digest::algorithm) {
            Some("sha384") => Other::Sha384(Box::default()),
            Some("sha512") => Other::Sha512(Box::default()),
            _ => Other::None,
        };
        Sums { sha256: Sha256::new(), other }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        match &mut self.other {
            Other::None => {}
            Other::Sha384(h) => h.update(bytes),
            Other::Sha512(h) => h.update(bytes),
        }
    }

    /// The sha256, if what was wanted is what came.
    pub fn finish(self, wanted: Option<&Digest>, url: &str) -> Result<Digest> {
        let sha256 = Digest::from_sha256(self.sha256.finalize().into());
        let found = match self.other {
            Other::None => sha256.to_string(),
            Other::Sha384(h) => format!("sha384:{}", hex(&h.finalize())),
            Other::Sha512(h) => format!("sha512:{}", hex(&h.finalize())),
        };
        match wanted {
            Some(wanted) if wanted.as_str() != found => Err(mismatch(&found, wanted, url)),
            _ => Ok(sha256),
        }
    }
}

/// The digest of a file with a suffix behind it.
pub fn checksum(file: &mut impl Read, algorithm: ChecksumAlgorithm, suffix: &[u8]) -> Result<String> {
    fn sum<H: sha2::Digest>(name: &str, file: &mut dyn Read, suffix: &[u8]) -> Result<String> {
        let (mut sum, mut chunk) = (H::new(), vec![0; 64 << 10]);
        loop {
            match file.read(&mut chunk).context("failed to read a fetched file")? {
                0 => return Ok(format!("{name}:{}", hex(&sum.chain_update(suffix).finalize()))),
                n => sum.update(&chunk[..n]),
            }
        }
    }
    match algorithm {
        ChecksumAlgorithm::Sha256 => sum::<Sha256>("sha256", file, suffix),
        ChecksumAlgorithm::Sha384 => sum::<Sha384>("sha384", file, suffix),
        ChecksumAlgorithm::Sha512 => sum::<Sha512>("sha512", file, suffix),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The error of a file that is not the one that was meant.
pub fn mismatch(found: &str, wanted: &Digest, url: &str) -> Error {
    Error::user(format!("digest mismatch for {url}: {found} (expected: {wanted})"))
        .hint("the file is not what the checksum was made of: look at the URL, then update the checksum")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_checksum_is_told() {
        let wanted = Digest::of("other");
        let mut sums = Sums::new(Some(&wanted));
        sums.update(b"this");
        let e = sums.finish(Some(&wanted), "http://x").expect_err("differs");
        let found = Digest::of("this");
        assert_eq!(e.to_string(), format!("digest mismatch for http://x: {found} (expected: {wanted})"));
    }
}
