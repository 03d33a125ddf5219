//! Sections and memory of programs (ELF, System V ABI), as far as something there tells of packages.

use std::ops::Range;

use object::{Object as _, ObjectSection as _, ObjectSegment as _, ReadCache, ReadRef};

/// Bytes that are read at once, at most: a program may claim any size.
const MOST: u64 = 16 << 20;

/// The bytes of a file, as they are asked for.
pub type Bytes = ReadCache<std::fs::File>;

/// A program that is open.
pub struct Elf<'a>(object::File<'a, Bounded<'a>>);

impl<'a> Elf<'a> {
    /// `None` for what is no such file, or is damaged.
    pub fn read(bytes: &'a Bytes) -> Option<Self> {
        object::File::parse(Bounded(bytes)).ok().map(Elf)
    }

    /// The bytes of a section; `None` where there is none, or more than one can read.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.0.section_by_name(name)?.data().ok()
    }

    /// The bytes at an address of the running program.
    pub fn at_address(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        self.0.segments().find_map(|segment| segment.data_range(address, size).ok()?)
    }

    /// A number of so many bytes, in the byte order of the program.
    pub fn number(&self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.0.is_little_endian() {
            true => field.iter().rev().fold(0, add),
            false => field.iter().fold(0, add),
        })
    }
}

/// Reads no more than is bearable, and nothing beyond the end of the file, for which memory would be taken first.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Bytes);

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        let end = offset.checked_add(size).ok_or(())?;
        match size <= MOST && end <= self.len()? {
            true => self.0.read_bytes_at(offset, size),
            false => Err(()),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}
