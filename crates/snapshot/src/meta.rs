//! What a file is, apart from its content.

use std::collections::BTreeMap;

use rustix::fs::{Stat, Timespec};

/// A point in time on a file, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    pub secs: i64,
    /// Below 1,000,000,000, counted forward from `secs`.
    pub nanos: u32,
}

impl Time {
    /// From the nanoseconds of LLB and of the file sync protocol.
    pub fn from_nanos(nanos: i64) -> Self {
        Time { secs: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as u32 }
    }

    /// Nanoseconds since 1970, clamped to what 64 bits hold (years 1677 to 2262).
    pub fn as_nanos(self) -> i64 {
        let nanos = i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos);
        nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    pub(crate) fn timespec(self) -> Timespec {
        Timespec { tv_sec: self.secs, tv_nsec: self.nanos.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    File,
    Dir,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

impl FileType {
    /// From the type bits of `st_mode`. What is none of the known kinds counts as a file.
    pub fn from_mode(st_mode: u32) -> Self {
        match st_mode & libc::S_IFMT {
            libc::S_IFDIR => FileType::Dir,
            libc::S_IFLNK => FileType::Symlink,
            libc::S_IFCHR => FileType::Char,
            libc::S_IFBLK => FileType::Block,
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            _ => FileType::File,
        }
    }

    /// The type bits of `st_mode`.
    pub fn bits(self) -> u32 {
        match self {
            FileType::File => libc::S_IFREG,
            FileType::Dir => libc::S_IFDIR,
            FileType::Symlink => libc::S_IFLNK,
            FileType::Char => libc::S_IFCHR,
            FileType::Block => libc::S_IFBLK,
            FileType::Fifo => libc::S_IFIFO,
            FileType::Socket => libc::S_IFSOCK,
        }
    }
}

/// The stat of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub file_type: FileType,
    /// Permission bits with setuid, setgid and sticky: the low 12 bits of `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: Time,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    pub ino: u64,
    pub dev: u64,
    pub nlink: u64,
    /// Bytes taken on disk.
    pub disk: u64,
}

impl Meta {
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Dir
    }

    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }

    /// `st_mode`: type and permission bits.
    pub fn st_mode(&self) -> u32 {
        self.file_type.bits() | self.mode
    }

    pub fn owner(&self) -> Owner {
        Owner { uid: self.uid, gid: self.gid }
    }

    /// Whether this is overlayfs' mark for a removed path.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.file_type == FileType::Char && self.rdev == (0, 0)
    }
}

impl From<Stat> for Meta {
    #[allow(clippy::unnecessary_cast, reason = "the fields are narrower on some machines")]
    fn from(s: Stat) -> Self {
        Meta {
            file_type: FileType::from_mode(s.st_mode),
            mode: s.st_mode & 0o7777,
            uid: s.st_uid,
            gid: s.st_gid,
            size: s.st_size as u64,
            mtime: Time { secs: s.st_mtime, nanos: s.st_mtime_nsec as u32 },
            rdev: (rustix::fs::major(s.st_rdev), rustix::fs::minor(s.st_rdev)),
            ino: s.st_ino,
            dev: s.st_dev,
            nlink: s.st_nlink as u64,
            disk: s.st_blocks as u64 * 512,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// What a new file is to be, apart from type and content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attrs {
    /// The low 12 bits of `st_mode`.
    pub mode: u32,
    pub owner: Owner,
    pub mtime: Time,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attrs {
    pub fn of(meta: &Meta, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        Attrs { mode: meta.mode, owner: meta.owner(), mtime: meta.mtime, xattrs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_nanoseconds_forward() {
        for nanos in [-1, -1_000_000_000, 0, 1_500_000_000, i64::MIN, i64::MAX] {
            assert_eq!(Time::from_nanos(nanos).as_nanos(), nanos);
        }
        assert_eq!(Time::from_nanos(-1), Time { secs: -1, nanos: 999_999_999 });
    }
}
