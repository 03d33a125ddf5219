//! The members of an archive, as blobs of the store.

use std::collections::HashMap;
use std::io::{self, Read};

use errdefs::{Error, Result, ResultExt as _};
use fsutil::Decoder;
use fsutil::tar::{EntryKind, Reader};
use oci::Digest;

use crate::MANIFEST;
use crate::read::Reading;

/// Most members of an archive.
const MEMBERS: usize = 200_000;
/// Most bytes of all members together.
const BYTES: u64 = 1 << 40;
/// Most bytes behind the end of the archive itself.
const TRAILER: u64 = 1 << 20;
/// Most bytes of the name of one.
const NAME: usize = 4096;
/// Links that follow each other.
const LINKS: usize = 8;

/// What the archive has under a path.
enum Member {
    File {
        digest: Digest,
        size: u64,
    },
    /// The path that is meant.
    Link(String),
}

/// The files of an archive by their paths, which are keys and no more.
pub(crate) struct Members(HashMap<String, Member>);

impl Members {
    /// Takes all files of an archive into the store. A file that has the place of a blob must have its digest.
    pub(crate) fn unpack(input: impl Read, reading: &mut Reading) -> Result<Self> {
        let packed = Decoder::detect(input).context("failed to read the archive")?;
        let mut archive = Reader::new(packed);
        let mut members = HashMap::new();
        let mut bytes = 0;
        let mut count = 0;
        while let Some(entry) = archive.next_entry().context("failed to read the archive")? {
            bytes += entry.size;
            count += 1;
            if count > MEMBERS || bytes > BYTES || entry.path.len().max(entry.link.len()) > NAME {
                return Err(Error::user("the archive is too large for one of images"));
            }
            let path = clean(&entry.path);
            let member = match entry.kind {
                EntryKind::File => {
                    let expected = blob_of(&path).map(|digest| (digest, entry.size));
                    let taken = reading.take(&mut archive, expected);
                    let (digest, size) =
                        taken.with_context(|| format!("failed to take `{path}` from the archive"))?;
                    Member::File { digest, size }
                }
                EntryKind::Symlink => Member::Link(beside(&path, &entry.link)),
                EntryKind::Hardlink => Member::Link(clean(&entry.link)),
                _ => continue,
            };
            members.insert(path, member);
        }
        // The end of a packed archive has its checksum.
        let mut rest = archive.into_inner().take(TRAILER);
        io::copy(&mut rest, &mut io::sink()).context("failed to read the archive")?;
        Ok(Members(members))
    }

    /// The blob that is under a path, and its size.
    pub(crate) fn find(&self, path: &str) -> Option<(&Digest, u64)> {
        let mut path = clean(path.as_bytes());
        for _ in 0..LINKS {
            match self.0.get(&path)? {
                Member::File { digest, size } => return Some((digest, *size)),
                Member::Link(to) => path.clone_from(to),
            }
        }
        None
    }

    /// The bytes of a small file.
    pub(crate) fn small(&self, path: &str, content: &content::Store) -> Result<Option<Vec<u8>>> {
        match self.find(path) {
            None => Ok(None),
            Some((_, size)) if size > MANIFEST => {
                Err(Error::user(format!("`{path}` of the archive is too large: {size} bytes")))
            }
            Some((digest, _)) => content.read(digest).map(Some),
        }
    }
}

/// The digest that a blob at this path must have.
fn blob_of(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// A path without what says nothing: `./a//b` is `a/b`, and nothing is above the top.
fn clean(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Where a symbolic link at `path` leads.
fn beside(path: &str, link: &[u8]) -> String {
    match (link, path.rsplit_once('/')) {
        ([b'/', ..], _) | (_, None) => clean(link),
        (_, Some((dir, _))) => clean(&[dir.as_bytes(), b"/", link].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_keys() {
        for (path, link, expected) in [
            ("a/layer.tar", "../b.tar", "b.tar"),
            ("a/layer.tar", "../../../etc/passwd", "etc/passwd"),
            ("a", "./b//c", "b/c"),
            ("a/b", "/c/d", "c/d"),
        ] {
            assert_eq!(beside(path, link.as_bytes()), expected, "{path} -> {link}");
        }
        assert_eq!(clean(b"./blobs//sha256/../sha256/a/"), "blobs/sha256/a");
    }
}
