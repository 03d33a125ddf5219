//! Writing an archive as a stream, byte for byte as Go's `archive/tar` does.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::header::{self, Block, put_octal, put_string};
use super::{BLOCK, Entry, EntryKind, pax};

/// Writes members one after the other: a header, then exactly `size` bytes of content through [`Write`].
pub struct Writer<W> {
    inner: W,
    /// Content that is still owed to the current member.
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    pub fn new(inner: W) -> Self {
        Writer { inner, left: 0, padding: 0 }
    }

    /// The header of a member, with all of its time (Go's `FormatPAX`): ustar where that can hold it, which splits long
    /// paths, else with PAX records.
    pub fn pax_header(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_member()?;
        let records = records(entry);
        let split = split_path(&entry.path);
        let only_path = split.is_some() && records.keys().all(|key| key == b"path");
        if !records.is_empty() && !only_path {
            self.extended(entry, &records)?;
            return self.header(&mut template(entry, &ascii(&entry.path)), entry);
        }
        let (prefix, name) = split.unwrap_or((b"", &entry.path));
        let mut block = template(entry, name);
        put_string(header::PREFIX.of_mut(&mut block), prefix);
        self.header(&mut block, entry)
    }

    /// As [`Writer::pax_header`], with the time rounded to a second (Go's `FormatUnknown`).
    pub fn ustar_header(&mut self, entry: &Entry) -> io::Result<()> {
        let (seconds, nanos) = entry.mtime;
        let rounded = seconds + i64::from(nanos >= 500_000_000);
        self.pax_header(&Entry { mtime: (rounded, 0), ..entry.clone() })
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_member()?;
        self.inner.write_all(&[0; 2 * BLOCK])?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn extended(&mut self, entry: &Entry, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
        let mut text = Vec::new();
        for (key, value) in records {
            pax::push(&mut text, key, value);
        }
        let mut block: Block = [0; BLOCK];
        let name = ascii(&extended_name(&entry.path));
        let mut name = &name[..name.len().min(header::NAME.len())];
        while let Some(shorter) = name.strip_suffix(b"/") {
            name = shorter;
        }
        put_string(header::NAME.of_mut(&mut block), name);
        for (field, value) in [
            (header::MODE, 0),
            (header::UID, 0),
            (header::GID, 0),
            (header::SIZE, text.len() as i64),
            (header::MTIME, 0),
        ] {
            put_octal(field.of_mut(&mut block), value);
        }
        block[header::TYPE] = b'x';
        seal(&mut block);
        self.inner.write_all(&block)?;
        self.inner.write_all(&text)?;
        self.inner.write_all(&[0; BLOCK][..padding(text.len() as u64)])
    }

    fn header(&mut self, block: &mut Block, entry: &Entry) -> io::Result<()> {
        seal(block);
        self.inner.write_all(block)?;
        self.left = if entry.kind == EntryKind::File { entry.size } else { 0 };
        self.padding = padding(self.left);
        Ok(())
    }

    fn end_member(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(format!("{} bytes of a tar member were not written", self.left)));
        }
        self.inner.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 && !buffer.is_empty() {
            return Err(io::Error::other("more bytes than the tar member has"));
        }
        let n = self.inner.write(&buffer[..room])?;
        self.left -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

fn seal(block: &mut Block) {
    put_string(header::MAGIC.of_mut(block), b"ustar\x0000");
    let (sum, _) = header::checksums(block);
    let field = header::CHECKSUM.of_mut(block);
    put_octal(&mut field[..7], sum);
    field[7] = b' ';
}

fn template(entry: &Entry, name: &[u8]) -> Block {
    let mut block: Block = [0; BLOCK];
    let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
    put_string(header::NAME.of_mut(&mut block), name);
    put_string(header::LINK.of_mut(&mut block), &ascii(&entry.link));
    for (field, value) in [
        (header::MODE, i64::from(entry.mode)),
        (header::UID, i64::from(entry.uid)),
        (header::GID, i64::from(entry.gid)),
        (header::SIZE, i64::try_from(size).unwrap_or(i64::MAX)),
        (header::MTIME, entry.mtime.0),
        (header::DEV_MAJOR, i64::from(entry.dev.0)),
        (header::DEV_MINOR, i64::from(entry.dev.1)),
    ] {
        put_octal(field.of_mut(&mut block), value);
    }
    put_string(header::UNAME.of_mut(&mut block), &ascii(&entry.uname));
    put_string(header::GNAME.of_mut(&mut block), &ascii(&entry.gname));
    block[header::TYPE] = match entry.kind {
        EntryKind::File => b'0',
        EntryKind::Hardlink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::Char => b'3',
        EntryKind::Block => b'4',
        EntryKind::Dir => b'5',
        EntryKind::Fifo => b'6',
    };
    block
}

/// What the header cannot hold.
fn records(entry: &Entry) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    let mut text = |key: &str, value: &[u8], room: usize| {
        if value.len() > room || !value.is_ascii() {
            records.insert(key.as_bytes().to_vec(), value.to_vec());
        }
    };
    text("path", &entry.path, header::NAME.len());
    text("linkpath", &entry.link, header::LINK.len());
    text("uname", &entry.uname, header::UNAME.len());
    text("gname", &entry.gname, header::GNAME.len());
    let mut number = |key: &str, value: i64, field: header::Field| {
        if !header::fits_octal(field.len(), value) {
            records.insert(key.as_bytes().to_vec(), value.to_string().into_bytes());
        }
    };
    if entry.kind == EntryKind::File {
        number("size", i64::try_from(entry.size).unwrap_or(i64::MAX), header::SIZE);
    }
    number("uid", entry.uid.into(), header::UID);
    number("gid", entry.gid.into(), header::GID);
    if entry.mtime.1 != 0 || !header::fits_octal(header::MTIME.len(), entry.mtime.0) {
        records.insert(b"mtime".to_vec(), pax::time_text(entry.mtime).into_bytes());
    }
    for (name, value) in &entry.xattrs {
        records.insert([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone());
    }
    records
}

/// The text without what is not ASCII.
fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

/// `dir/PaxHeaders.0/name`, joined and made clean as Go's `path.Join` does.
fn extended_name(path: &[u8]) -> Vec<u8> {
    let slash = path.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
    let (dir, name) = path.split_at(slash);
    let joined = [dir, b"/PaxHeaders.0/", name].concat();
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in joined.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|p| *p != b"..") => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    let rooted = dir.starts_with(b"/");
    [if rooted { &b"/"[..] } else { b"" }, &parts.join(&b'/')].concat()
}

/// Splits a path too long for one field over prefix and name, as the ustar format allows.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let room = header::NAME.len();
    if path.len() <= room || !path.is_ascii() {
        return None;
    }
    let mut length = path.len().min(header::PREFIX.len() + 1);
    if length == path.len() && path.ends_with(b"/") {
        length -= 1;
    }
    let slash = path[..length].iter().rposition(|&b| b == b'/').filter(|&i| i > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= room && !name.is_empty() && prefix.len() <= header::PREFIX.len()).then_some((prefix, name))
}
