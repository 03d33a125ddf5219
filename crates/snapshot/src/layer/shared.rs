use std::collections::HashMap;
use std::path::Path;

use errdefs::{Error, Result};

use super::LayerId;
use crate::sys;

/// Where a linked file was first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    Object,
    Layer(LayerId),
}

/// One file of a layer that is a link to a file of somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedInode {
    /// Empty where the layer itself shows the file at several paths.
    pub path: Box<[u8]>,
    pub origin: Origin,
}

/// The inodes of a layer that were linked in from an object or from another layer.
///
/// No view may show one inode at two paths, so before a file is linked into a tree, the layers below are asked whether
/// they show it: by this list where they link it too, and by its origin where they are the origin. A layer's own
/// files need no list, and a list never changes after commit.
///
/// The file is a row of `u64 inode, u8 length of origin, origin, u32 length of path, path`; an empty origin means an
/// object.
#[derive(Debug, Default)]
pub struct Shared {
    inodes: HashMap<u64, SharedInode>,
}

impl Shared {
    pub fn load(file: &Path) -> Result<Self> {
        match std::fs::read(file) {
            Ok(bytes) => Self::parse(&bytes)
                .ok_or_else(|| Error::internal(format!("damaged list of links `{}`", file.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Shared::default()),
            Err(e) => Err(sys::fail("read", file, e)),
        }
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut inodes = HashMap::new();
        while !bytes.is_empty() {
            let (ino, rest) = bytes.split_first_chunk::<8>()?;
            let (&len, rest) = rest.split_first()?;
            let (origin, rest) = rest.split_at_checked(len.into())?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            let origin = match origin {
                b"" => Origin::Object,
                id => Origin::Layer(LayerId::parse(std::str::from_utf8(id).ok()?).ok()?),
            };
            inodes.insert(u64::from_le_bytes(*ino), SharedInode { path: path.into(), origin });
            bytes = rest;
        }
        Some(Shared { inodes })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut sorted: Vec<_> = self.inodes.iter().collect();
        sorted.sort_unstable_by_key(|(ino, _)| **ino);
        let mut bytes = Vec::new();
        for (ino, inode) in sorted {
            let origin = match &inode.origin {
                Origin::Object => "",
                Origin::Layer(id) => id.as_str(),
            };
            bytes.extend_from_slice(&ino.to_le_bytes());
            bytes.push(origin.len() as u8);
            bytes.extend_from_slice(origin.as_bytes());
            bytes.extend_from_slice(&(inode.path.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&inode.path);
        }
        bytes
    }

    pub fn get(&self, ino: u64) -> Option<&SharedInode> {
        self.inodes.get(&ino)
    }

    pub fn insert(&mut self, ino: u64, inode: SharedInode) {
        self.inodes.insert(ino, inode);
    }

    /// Notes that the tree shows the inode at more than one path, as a hard link of its own.
    pub fn mark_several(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.path = Box::default();
        }
    }

    pub fn remove(&mut self, ino: u64) {
        self.inodes.remove(&ino);
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &SharedInode)> {
        self.inodes.iter().map(|(ino, inode)| (*ino, inode))
    }

    pub fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_knows_damage() {
        let mut shared = Shared::default();
        shared.insert(7, SharedInode { path: b"a/b".as_slice().into(), origin: Origin::Object });
        let layer = LayerId::parse("x1").unwrap();
        shared.insert(9, SharedInode { path: b"\xff".as_slice().into(), origin: Origin::Layer(layer) });
        let bytes = shared.encode();
        let back = Shared::parse(&bytes).unwrap();
        assert_eq!((back.get(7), back.get(9)), (shared.get(7), shared.get(9)));
        assert!(Shared::parse(&bytes[..bytes.len() - 1]).is_none());
    }
}
