//! Stdin as a context or a Dockerfile.

use std::path::Path;

use errdefs::{Error, Result, ResultExt as _};
use fsutil::Compression;
use fsutil::tar::is_tar;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Stdin as Pipe};

/// As much as it takes to tell an archive: two tar blocks.
const HEAD: usize = 1024;

/// Stdin with its beginning read already.
pub(super) struct Stdin {
    head: Vec<u8>,
    rest: Pipe,
}

impl Stdin {
    pub(super) async fn open() -> Result<Self> {
        let mut rest = tokio::io::stdin();
        let mut head = Vec::with_capacity(HEAD);
        (&mut rest).take(HEAD as u64).read_to_end(&mut head).await.context("failed to read stdin")?;
        if head.is_empty() {
            return Err(Error::user("stdin is empty: expected a Dockerfile or a tar archive"));
        }
        Ok(Stdin { head, rest })
    }

    pub(super) fn is_archive(&self) -> bool {
        is_archive(&self.head)
    }

    pub(super) async fn read_all(mut self) -> Result<Vec<u8>> {
        self.rest.read_to_end(&mut self.head).await.context("failed to read stdin")?;
        Ok(self.head)
    }

    /// Keeps all of it in a file.
    pub(super) async fn keep(self, path: &Path) -> Result<()> {
        let keep = async {
            let mut file = tokio::fs::File::create_new(path).await?;
            tokio::io::copy(&mut self.into_reader(), &mut file).await?;
            file.flush().await
        };
        keep.await.context("failed to keep the archive from stdin")
    }

    pub(super) fn into_reader(self) -> session::UploadSource {
        Box::new(std::io::Cursor::new(self.head).chain(self.rest))
    }
}

/// Whether these are the first bytes of a tar archive, plain or compressed.
fn is_archive(head: &[u8]) -> bool {
    Compression::detect(head) != Compression::None || is_tar(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives() {
        let mut tar = vec![0u8; 1024];
        tar[..4].copy_from_slice(b"file");
        tar[148..156].copy_from_slice(b"        ");
        let sum: u32 = tar[..512].iter().map(|b| u32::from(*b)).sum();
        tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(is_archive(&tar));
        tar[0] = b'x';
        assert!(!is_archive(&tar));
        let check = |head: &[u8], expect| assert_eq!(is_archive(head), expect, "{head:?}");
        check(b"\x1f\x8b\x08rest", true);
        check(b"BZh9", true);
        check(b"\x28\xb5\x2f\xfd", true);
        check(b"FROM alpine\n", false);
        check(&[0; 1024], false);
        check(b"", false);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(head: Vec<u8>) {
            is_archive(&head);
        }
    }
}
