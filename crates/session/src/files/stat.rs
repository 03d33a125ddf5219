//! What is told about one file.

use std::collections::BTreeMap;

use prost::Message as _;
use proto::fsutil as wire;

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stat {
    /// Relative, clean, without a slash at either end.
    pub path: Vec<u8>,
    /// As st_mode.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes; 0 for what is no regular file, and for hard links.
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// The target of a symlink; for a regular file, the earlier entry that it is a hard link to.
    pub linkname: Vec<u8>,
    pub dev_major: u32,
    pub dev_minor: u32,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file, unless its `linkname` makes it a hard link.
    File,
    Dir,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

const S_IFMT: u32 = 0o170_000;
const TYPES: [(Kind, u32, u32); 7] = [
    (Kind::File, 0o100_000, 0),
    (Kind::Dir, 0o040_000, 1 << 31),
    (Kind::Symlink, 0o120_000, 1 << 27),
    (Kind::Char, 0o020_000, 1 << 26 | 1 << 21),
    (Kind::Block, 0o060_000, 1 << 26),
    (Kind::Fifo, 0o010_000, 1 << 25),
    (Kind::Socket, 0o140_000, 1 << 24),
];
/// The bits beyond 0777: (st_mode, Go's os.FileMode).
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
const GO_TYPE: u32 = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

impl Stat {
    pub fn kind(&self) -> Kind {
        TYPES.iter().find(|t| t.1 == self.mode & S_IFMT).map_or(Kind::File, |t| t.0)
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == Kind::Dir
    }

    /// A regular file that repeats an earlier one.
    pub fn is_hardlink(&self) -> bool {
        self.kind() == Kind::File && !self.linkname.is_empty()
    }

    /// Appends the stat as it is on the wire, behind its length in four bytes, the lowest first.
    pub fn append_framed(&self, list: &mut Vec<u8>) {
        let bytes = wire::Stat::from(self).encode_to_vec();
        list.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        list.extend_from_slice(&bytes);
    }

    /// Whether there are contents to ask for.
    pub fn has_data(&self) -> bool {
        self.kind() == Kind::File && self.linkname.is_empty()
    }
}

impl From<&Stat> for wire::Stat {
    fn from(stat: &Stat) -> Self {
        wire::Stat {
            path: stat.path.clone(),
            mode: to_go_mode(stat.mode),
            uid: stat.uid,
            gid: stat.gid,
            size: i64::try_from(stat.size).unwrap_or(i64::MAX),
            mod_time: stat.mtime_ns,
            linkname: stat.linkname.clone(),
            devmajor: stat.dev_major.into(),
            devminor: stat.dev_minor.into(),
            xattrs: stat
                .xattrs
                .iter()
                .map(|(name, value)| wire::Xattr { name: name.clone(), value: value.clone() })
                .collect(),
        }
    }
}

/// Says what is wrong with a stat from a peer.
pub(crate) type BadStat = &'static str;

impl TryFrom<wire::Stat> for Stat {
    type Error = BadStat;

    fn try_from(stat: wire::Stat) -> Result<Self, BadStat> {
        Ok(Stat {
            mode: from_go_mode(stat.mode).ok_or("unknown file type")?,
            uid: stat.uid,
            gid: stat.gid,
            size: u64::try_from(stat.size).map_err(|_| "negative size")?,
            mtime_ns: stat.mod_time,
            dev_major: u32::try_from(stat.devmajor).map_err(|_| "bad device number")?,
            dev_minor: u32::try_from(stat.devminor).map_err(|_| "bad device number")?,
            path: stat.path,
            linkname: stat.linkname,
            xattrs: stat.xattrs.into_iter().map(|x| (x.name, x.value)).collect(),
        })
    }
}

/// st_mode to Go's os.FileMode.
fn to_go_mode(mode: u32) -> u32 {
    // Go peers can do nothing with a socket and expect to see an empty file.
    let kind = TYPES.iter().find(|t| t.1 == mode & S_IFMT && t.0 != Kind::Socket).map_or(0, |t| t.2);
    let special = SPECIAL.iter().filter(|s| mode & s.0 != 0).map(|s| s.1).sum::<u32>();
    kind | special | mode & 0o777
}

/// Go's os.FileMode to st_mode; nothing for a type that Unix does not have.
fn from_go_mode(mode: u32) -> Option<u32> {
    let kind = TYPES.iter().find(|t| t.2 == mode & GO_TYPE)?.1;
    let special = SPECIAL.iter().filter(|s| mode & s.1 != 0).map(|s| s.0).sum::<u32>();
    Some(kind | special | mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_modes() {
        for (unix, go) in [
            (0o100_644, 0o644),
            (0o040_755, 0x8000_0000 | 0o755),
            (0o120_777, 0x0800_0000 | 0o777),
            (0o020_600, 0x0420_0000 | 0o600),
            (0o060_600, 0x0400_0000 | 0o600),
            (0o010_600, 0x0200_0000 | 0o600),
            (0o104_755, 0x0080_0000 | 0o755),
            (0o042_755, 0x8040_0000 | 0o755),
            (0o041_777, 0x8010_0000 | 0o777),
        ] {
            assert_eq!(to_go_mode(unix), go, "{unix:o}");
            assert_eq!(from_go_mode(go), Some(unix), "{go:x}");
        }
    }

    #[test]
    fn sockets_travel_as_empty_files() {
        assert_eq!(to_go_mode(0o140_755), 0o755);
    }

    #[test]
    fn odd_types_are_refused() {
        assert_eq!(from_go_mode(1 << 19), None);
        assert_eq!(from_go_mode(1 << 31 | 1 << 27), None);
        let negative = wire::Stat { size: -1, ..Default::default() };
        assert_eq!(Stat::try_from(negative), Err("negative size"));
    }
}
