//! Checksums.

use std::io::Read;

use content::Hasher;
use errdefs::{Error, Result, ResultExt};
use frontend::ChecksumAlgorithm;
use oci::Digest;

/// The sha256 of what came, and the checksum where another kind was asked for.
pub struct Sums {
    sha256: Hasher,
    other: Option<Hasher>,
}

impl Sums {
    /// `wanted` says which other sum to take.
    pub fn new(wanted: Option<&Digest>) -> Self {
        let other = wanted.filter(|digest| digest.algorithm() != "sha256");
        Sums { sha256: Hasher::called("sha256"), other: other.map(|digest| Hasher::like(Some(digest))) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(other) = &mut self.other {
            other.update(bytes);
        }
    }

    /// The sha256, if what was wanted is what came.
    pub fn finish(self, wanted: Option<&Digest>, url: &str) -> Result<Digest> {
        let sha256 = self.sha256.finish();
        let found = self.other.map_or_else(|| sha256.clone(), Hasher::finish);
        match wanted {
            Some(wanted) if *wanted != found => Err(mismatch(found.as_str(), wanted, url)),
            _ => Ok(sha256),
        }
    }
}

/// The digest of a file with a suffix behind it.
pub fn checksum(file: &mut impl Read, algorithm: ChecksumAlgorithm, suffix: &[u8]) -> Result<Digest> {
    let mut sum = Hasher::called(match algorithm {
        ChecksumAlgorithm::Sha256 => "sha256",
        ChecksumAlgorithm::Sha384 => "sha384",
        ChecksumAlgorithm::Sha512 => "sha512",
    });
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk).context("failed to read a fetched file")? {
            0 => break,
            n => sum.update(&chunk[..n]),
        }
    }
    sum.update(suffix);
    Ok(sum.finish())
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
