//! The header of a package (rpm, file format v4): an index of tags, and their values.

use crate::package::{Kind, Package};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const URL: u32 = 1020;
const ARCH: u32 = 1022;
const SOURCE: u32 = 1044;
const PROVIDES: u32 = 1047;
const REQUIRES: u32 = 1049;

/// Bytes of an entry of the index: tag, type, offset and count, each of four bytes, the highest first.
const ENTRY: usize = 16;
/// Texts of one tag, at most.
const TEXTS: u32 = 100_000;

pub struct Header<'a> {
    index: &'a [u8],
    values: &'a [u8],
}

impl<'a> Header<'a> {
    /// As it lies in a database: without the magic bytes of a package file.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (entries, size) = (number(bytes, 0)? as usize, number(bytes, 4)? as usize);
        let (index, values) = bytes.get(8..)?.split_at_checked(entries.checked_mul(ENTRY)?)?;
        Some(Header { index, values: values.get(..size)? })
    }

    /// `None` for keys, which rpm keeps among the packages, and for what has no name.
    pub fn package(&self) -> Option<Package> {
        let text = |tag| self.texts(tag).into_iter().next().unwrap_or_default();
        let (name, version, release) = (text(NAME), text(VERSION), text(RELEASE));
        if name.is_empty() || version.is_empty() || name == "gpg-pubkey" {
            return None;
        }
        let epoch = self.number(EPOCH).map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let mut package = Package::new(Kind::Rpm, name, format!("{epoch}{version}-{release}"));
        package.arch = text(ARCH);
        package.license = text(LICENSE);
        package.supplier = text(VENDOR);
        package.homepage = text(URL);
        package.source.0 = text(SOURCE);
        package.provides = self.texts(PROVIDES);
        package.needs = self.texts(REQUIRES);
        Some(package)
    }

    /// Where the values of a tag lie, and how many there are.
    fn find(&self, tag: u32) -> Option<(&'a [u8], u32)> {
        let entry = self.index.chunks_exact(ENTRY).find(|entry| number(entry, 0) == Some(tag))?;
        Some((self.values.get(number(entry, 8)? as usize..)?, number(entry, 12)?))
    }

    fn texts(&self, tag: u32) -> Vec<String> {
        let Some((values, count)) = self.find(tag) else { return Vec::new() };
        let texts = values.split(|byte| *byte == 0).take(count.min(TEXTS) as usize);
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    fn number(&self, tag: u32) -> Option<u32> {
        number(self.find(tag)?.0, 0)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
