//! Digests of files and trees, byte for byte those of BuildKit's content hash.
//!
//! The digest of a file covers a header and then the content. What enters the header:
//!
//! | field | in digest? | why |
//! |---|---|---|
//! | name | no (always empty) | the directory that holds the file adds it |
//! | mode, uid, gid | yes | |
//! | size | yes, of regular files | |
//! | modification time | no | a new checkout is the same content |
//! | type, link target | yes | |
//! | user and group name, device numbers | no (always empty and 0) | |
//! | extended attributes | all but `system.*` and `security.*`; of those `security.capability` | |
//!
//! The digest of a directory covers, sorted, the names below it with the digest text of each, and its own header under
//! the empty name.

mod dir;
mod select;

use std::collections::BTreeMap;
use std::io::{self, Write};

use errdefs::Result;
use oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::meta::{Attrs, FileType, Owner};
use crate::view::View;

/// Which part of a view a path hash covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HashOptions {
    /// The last component of the path is followed where it is a link.
    pub follow_links: bool,
    /// The path may hold wildcards.
    pub wildcard: bool,
    /// Patterns of which one must match.
    pub include: Vec<String>,
    /// Patterns of which none may match.
    pub exclude: Vec<String>,
    /// Prefixes, from the root, of which each must be found among the paths that are covered.
    pub required: Vec<String>,
}

impl View {
    /// BuildKit's digest of what `path` selects.
    pub fn path_hash(&self, path: &[u8], options: &HashOptions) -> Result<Digest> {
        let raw = if !options.wildcard && options.include.is_empty() && options.exclude.is_empty() {
            dir::hash(self, path, options.follow_links)?
        } else {
            select::hash(self, path, options)?
        };
        Ok(Digest::from_sha256(raw))
    }
}

/// Hashes one file: its header first, then the bytes given to it.
#[derive(Clone)]
pub struct FileHasher(Sha256);

impl FileHasher {
    /// A regular file of `size` bytes.
    pub fn file(attrs: &Attrs, size: u64) -> Self {
        Self::new(FileType::File, attrs.mode, attrs.owner, size, b"", &attrs.xattrs)
    }

    /// Anything else; `target` is that of a symbolic link.
    pub fn special(file_type: FileType, attrs: &Attrs, target: &[u8]) -> Self {
        Self::new(file_type, attrs.mode, attrs.owner, 0, target, &attrs.xattrs)
    }

    pub(crate) fn new(
        file_type: FileType,
        mode: u32,
        owner: Owner,
        size: u64,
        target: &[u8],
        xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Self {
        let (flag, mode, size) = match file_type {
            FileType::File => ("0", mode, size),
            // A socket has no place in an archive and counts as an empty file.
            FileType::Socket => ("0", mode, 0),
            FileType::Symlink => ("2", 0o777, 0),
            FileType::Char => ("3", mode, 0),
            FileType::Block => ("4", mode, 0),
            FileType::Dir => ("5", mode, 0),
            FileType::Fifo => ("6", mode, 0),
        };
        let mut sha = Sha256::new();
        sha.update(format!("namemode{mode}uid{}gid{}size{size}typeflag{flag}linkname", owner.uid, owner.gid));
        sha.update(if file_type == FileType::Symlink { target } else { b"" });
        sha.update("unamegnamedevmajor0devminor0");
        for (name, value) in xattrs.iter().filter(|(name, _)| is_hashed(name)) {
            sha.update(name);
            sha.update(value);
        }
        FileHasher(sha)
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Write for FileHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an extended attribute enters the digest.
pub fn is_hashed(name: &[u8]) -> bool {
    name == b"security.capability" || !(name.starts_with(b"security.") || name.starts_with(b"system."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest that BuildKit's own tests expect of a file of mode 0644 with the bytes `data0`.
    #[test]
    fn file_digest_is_buildkits() {
        let mut hasher = FileHasher::file(&Attrs { mode: 0o644, ..Attrs::default() }, 5);
        hasher.update(b"data0");
        let digest = Digest::from_sha256(hasher.finish());
        assert_eq!(
            digest.as_str(),
            "sha256:cd8e75bca50f2d695f220d0cb0997d8ead387e4f926e8669a92d7f104cc9885b"
        );
    }

    #[test]
    fn every_ingredient_counts() {
        let base = || Attrs { mode: 0o644, ..Attrs::default() };
        let hash = |t, attrs: &Attrs, size, target: &[u8]| {
            FileHasher::new(t, attrs.mode, attrs.owner, size, target, &attrs.xattrs).finish()
        };
        let plain = hash(FileType::File, &base(), 0, b"");
        let with = |name: &str| Attrs { xattrs: [(name.into(), b"v".to_vec())].into(), ..base() };
        for other in [
            hash(FileType::File, &Attrs { mode: 0o4644, ..base() }, 0, b""),
            hash(FileType::File, &Attrs { owner: Owner { uid: 1, gid: 0 }, ..base() }, 0, b""),
            hash(FileType::File, &Attrs { owner: Owner { uid: 0, gid: 1 }, ..base() }, 0, b""),
            hash(FileType::File, &base(), 1, b""),
            hash(FileType::Fifo, &base(), 0, b""),
            hash(FileType::File, &with("user.x"), 0, b""),
            hash(FileType::File, &with("security.capability"), 0, b""),
        ] {
            assert_ne!(plain, other);
        }
        assert_eq!(plain, hash(FileType::File, &with("security.selinux"), 0, b""));
        assert_eq!(
            plain,
            hash(FileType::File, &Attrs { mtime: crate::Time::from_nanos(7), ..base() }, 0, b"")
        );
        assert_ne!(hash(FileType::Symlink, &base(), 0, b"a"), hash(FileType::Symlink, &base(), 0, b"b"));
    }
}
