//! Archives: a reader that takes what tar programs write (v7, ustar, PAX, GNU, sparse files), and a writer whose bytes
//! depend on the entries alone and are those of Go's `archive/tar`, which BuildKit's layers are made with.
//!
//! Formats: POSIX.1-2001 pax, and the GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".

mod header;
mod pax;
mod read;
mod sparse;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

pub use read::Reader;
pub use write::Writer;

/// Bytes of a block.
const BLOCK: usize = 512;

/// Whether bytes begin with the header of a member, by its checksum. All of the first 512 have to be there.
pub fn is_tar(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else { return false };
    header::number(header::CHECKSUM.of(block)).is_ok_and(|sum| header::sums_to(block, sum))
}

/// One member of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// As it stands in the archive; a directory usually ends in a slash.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// The low 12 bits of `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of content; 0 for all but files.
    pub size: u64,
    /// Seconds since 1970, and nanoseconds counted forward from there.
    pub mtime: (i64, u32),
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub dev: (u32, u32),
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub uname: Vec<u8>,
    pub gname: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EntryKind {
    #[default]
    File,
    Dir,
    Symlink,
    Hardlink,
    Char,
    Block,
    Fifo,
}
