//! Reading an archive as a stream.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

use errdefs::{Error, Result, ResultExt};

use super::header::{self, Block, damaged};
use super::sparse::{self, Map, Stretch};
use super::{BLOCK, Entry, EntryKind, pax};

/// Reads members one after the other. [`Reader::next_entry`] goes to the next; reading gives the content of the one
/// that it last went to, with holes as zeros.
pub struct Reader<R> {
    inner: R,
    /// Bytes of the current member that lie in the archive and were not read.
    stored: u64,
    padding: u64,
    content: Content,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
    ended: bool,
}

/// What reading the current member gives.
enum Content {
    Plain { left: u64 },
    Sparse { stretches: VecDeque<Stretch>, at: u64, size: u64 },
}

/// What earlier members say of the next one.
#[derive(Default)]
struct Ahead {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Reader<R> {
    pub fn new(inner: R) -> Self {
        let content = Content::Plain { left: 0 };
        Reader { inner, stored: 0, padding: 0, content, global: BTreeMap::new(), ended: false }
    }

    /// The stream below, which may hold bytes behind the archive.
    pub fn into_inner(self) -> R {
        self.inner
    }

    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Bytes of the archive that still belong to the current member, with what fills up its last block. The next member
    /// begins behind them.
    pub fn rest(&self) -> u64 {
        self.stored + self.padding
    }

    /// Whether the current member has holes, so that its content does not lie in the archive as it is.
    pub fn is_sparse(&self) -> bool {
        matches!(self.content, Content::Sparse { .. })
    }

    /// The next member, or `None` at the end of the archive.
    ///
    /// # Errors
    /// User errors for what is no archive, is damaged, or ends too early.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut ahead = Ahead::default();
        loop {
            self.skip_rest()?;
            let Some(block) = self.header()? else { return Ok(None) };
            let size = header::number(header::SIZE.of(&block))?;
            let size = u64::try_from(size).map_err(|_| damaged("a size is negative"))?;
            match block[header::TYPE] {
                b'x' | b'X' => {
                    let text = self.text(size)?;
                    let records = pax::parse(&text)?;
                    ahead.pax = records.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                }
                b'g' => {
                    let text = self.text(size)?;
                    for (key, value) in pax::parse(&text)? {
                        self.global.insert(key.to_vec(), value.to_vec());
                    }
                }
                b'L' => ahead.long_name = Some(header::string(&self.text(size)?).to_vec()),
                b'K' => ahead.long_link = Some(header::string(&self.text(size)?).to_vec()),
                _ => return self.member(&block, size, ahead).map(Some),
            }
        }
    }

    fn member(&mut self, block: &Block, size: u64, ahead: Ahead) -> Result<Entry> {
        let mut entry = plain(block)?;
        entry.size = size;
        if let Some(name) = ahead.long_name {
            entry.path = name;
        }
        if let Some(link) = ahead.long_link {
            entry.link = link;
        }
        let hidden = |key: &[u8]| ahead.pax.iter().any(|(own, _)| own == key);
        let global = self.global.iter().filter(|(key, _)| !hidden(key)).map(|(k, v)| (k.clone(), v.clone()));
        let mut extended: Vec<_> = global.collect();
        extended.extend(ahead.pax);
        let sparse = apply(&mut entry, &extended)?;
        if entry.kind == EntryKind::File
            && entry.path.ends_with(b"/")
            && matches!(block[header::TYPE], 0 | b'0')
        {
            entry.kind = EntryKind::Dir;
        }
        // Only files have content; some programs note the size of a link's target all the same.
        let stored = match entry.kind {
            EntryKind::File => entry.size,
            _ => 0,
        };
        if entry.kind != EntryKind::File {
            entry.size = 0;
        }
        self.open(stored);
        match (sparse, block[header::TYPE]) {
            (Some(sparse), _) => self.open_pax_sparse(&mut entry, sparse)?,
            (None, b'S') => self.open_gnu_sparse(block, &mut entry)?,
            (None, _) => {}
        }
        Ok(entry)
    }

    fn open(&mut self, stored: u64) {
        self.stored = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        self.content = Content::Plain { left: stored };
    }

    fn open_gnu_sparse(&mut self, block: &Block, entry: &mut Entry) -> Result<()> {
        let (mut stretches, mut more, size) = sparse::gnu_header(block)?;
        while more {
            let mut extension = [0; BLOCK];
            self.exact(&mut extension)?;
            more = sparse::gnu_entries(&extension[..505], &mut stretches)?;
        }
        entry.size = size;
        self.open_sparse(Map::new(stretches, size, self.stored)?);
        Ok(())
    }

    fn open_pax_sparse(&mut self, entry: &mut Entry, sparse: PaxSparse) -> Result<()> {
        let stretches = match sparse.map {
            Some(map) => map,
            None => self.leading_map()?,
        };
        let size = sparse.size.ok_or_else(|| damaged("a sparse file has no size"))?;
        entry.size = size;
        self.open_sparse(Map::new(stretches, size, self.stored)?);
        Ok(())
    }

    /// The map of PAX format 1.0: decimal lines in front of the data, filled up to a whole block.
    fn leading_map(&mut self) -> Result<Vec<Stretch>> {
        let mut text = Vec::new();
        let mut line = |reader: &mut Self| -> Result<u64> {
            loop {
                if let Some(end) = text.iter().position(|&b| b == b'\n') {
                    let number = pax::decimal(&text[..end]).ok_or_else(|| damaged("a sparse map is no list"));
                    text.drain(..=end);
                    return number;
                }
                if reader.stored < BLOCK as u64 || text.len() > BLOCK {
                    return Err(damaged("a sparse map is cut"));
                }
                let mut block = [0; BLOCK];
                reader.exact(&mut block)?;
                reader.stored -= BLOCK as u64;
                text.extend_from_slice(&block);
            }
        };
        let count = sparse::check_count(line(self)?)?;
        let mut numbers = Vec::new();
        for _ in 0..2 * count {
            numbers.push(line(self)?);
        }
        sparse::pairs(&numbers)
    }

    fn open_sparse(&mut self, map: Map) {
        let stretches = map.stretches.into_iter().filter(|s| s.length > 0).collect();
        self.content = Content::Sparse { stretches, at: 0, size: map.size };
    }

    /// The next header block; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        if !self.exact_or_end(&mut block)? {
            self.ended = true;
            return Ok(None);
        }
        if block.iter().all(|&b| b == 0) {
            // Two empty blocks end an archive; one and nothing more does too.
            if self.exact_or_end(&mut block)? && block.iter().any(|&b| b != 0) {
                return Err(damaged("an empty block is followed by more"));
            }
            self.ended = true;
            return Ok(None);
        }
        if !header::number(header::CHECKSUM.of(&block)).is_ok_and(|sum| header::sums_to(&block, sum)) {
            return Err(damaged("the checksum is wrong"));
        }
        Ok(Some(block))
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > pax::LIMIT {
            return Err(damaged("an extended header is too long"));
        }
        let mut text = vec![0; size as usize];
        self.exact(&mut text)?;
        self.stored = 0;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        self.content = Content::Plain { left: 0 };
        Ok(text)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = self.rest();
        let skipped =
            io::copy(&mut (&mut self.inner).take(rest), &mut io::sink()).context("failed to read archive")?;
        if skipped < rest {
            return Err(truncated());
        }
        (self.stored, self.padding) = (0, 0);
        Ok(())
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.inner.read_exact(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => Error::from(e).context("failed to read archive"),
        })
    }

    /// False where the stream ends before the first byte.
    fn exact_or_end(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(truncated()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::from(e).context("failed to read archive")),
            }
        }
        Ok(true)
    }

    fn stored_bytes(&mut self, buffer: &mut [u8], limit: u64) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, truncated()));
        }
        self.stored -= n as u64;
        Ok(n)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (hole, limit) = match &self.content {
            Content::Plain { left } => (0, *left),
            Content::Sparse { stretches, at, size } => match stretches.front() {
                Some(s) if s.offset <= *at => (0, s.offset + s.length - at),
                Some(s) => (s.offset - at, 0),
                None => (size - at, 0),
            },
        };
        let n = if hole > 0 {
            let n = buffer.len().min(usize::try_from(hole).unwrap_or(usize::MAX));
            buffer[..n].fill(0);
            n
        } else {
            self.stored_bytes(buffer, limit)?
        };
        match &mut self.content {
            Content::Plain { left } => *left -= n as u64,
            Content::Sparse { stretches, at, .. } => {
                *at += n as u64;
                if stretches.front().is_some_and(|s| s.offset + s.length <= *at) {
                    stretches.pop_front();
                }
            }
        }
        Ok(n)
    }
}

fn truncated() -> Error {
    Error::user("unexpected end of archive")
}

/// What the header block itself says.
fn plain(block: &Block) -> Result<Entry> {
    use header::{
        DEV_MAJOR, DEV_MINOR, GID, GNAME, LINK, MAGIC, MODE, MTIME, NAME, PREFIX, UID, UNAME, number, string,
    };
    let posix = MAGIC.of(block).starts_with(b"ustar\0");
    let gnu = MAGIC.of(block).starts_with(b"ustar  ");
    let mut path = string(NAME.of(block)).to_vec();
    if posix && PREFIX.of(block)[0] != 0 {
        let mut joined = string(PREFIX.of(block)).to_vec();
        joined.push(b'/');
        joined.append(&mut path);
        path = joined;
    }
    let kind = match block[header::TYPE] {
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::Char,
        b'4' => EntryKind::Block,
        b'5' => EntryKind::Dir,
        b'6' => EntryKind::Fifo,
        other => return Err(damaged(&format!("entry `{}` has the unknown type {other:#04x}", show(&path)))),
    };
    let device = matches!(kind, EntryKind::Char | EntryKind::Block) && (posix || gnu);
    let dev = match device {
        true => (id(number(DEV_MAJOR.of(block))?)?, id(number(DEV_MINOR.of(block))?)?),
        false => (0, 0),
    };
    let names = posix || gnu;
    Ok(Entry {
        kind,
        mode: (number(MODE.of(block))? & 0o7777) as u32,
        uid: id(number(UID.of(block))?)?,
        gid: id(number(GID.of(block))?)?,
        mtime: (number(MTIME.of(block))?, 0),
        link: string(LINK.of(block)).to_vec(),
        dev,
        uname: if names { string(UNAME.of(block)).to_vec() } else { Vec::new() },
        gname: if names { string(GNAME.of(block)).to_vec() } else { Vec::new() },
        path,
        ..Entry::default()
    })
}

fn id(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| damaged("an id is out of range"))
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// What PAX records say of a sparse file. Without a map, the map leads the data.
struct PaxSparse {
    map: Option<Vec<Stretch>>,
    size: Option<u64>,
}

/// Applies PAX records; later ones win. An empty value leaves what the header says.
fn apply(entry: &mut Entry, records: &[(Vec<u8>, Vec<u8>)]) -> Result<Option<PaxSparse>> {
    let (mut map, mut size, mut name) = (None, None, None);
    let mut is_sparse = false;
    let mut numbers = Vec::new();
    let said = |(key, value): &&(Vec<u8>, Vec<u8>)| !value.is_empty() || key.starts_with(b"SCHILY.xattr.");
    for (key, value) in records.iter().filter(said) {
        let number =
            || pax::decimal(value).ok_or_else(|| damaged(&format!("PAX record {} is no number", show(key))));
        is_sparse |= key.starts_with(b"GNU.sparse.");
        match key.as_slice() {
            b"path" => entry.path.clone_from(value),
            b"linkpath" => entry.link.clone_from(value),
            b"size" => entry.size = number()?,
            b"uid" => entry.uid = u32::try_from(number()?).map_err(|_| damaged("an id is out of range"))?,
            b"gid" => entry.gid = u32::try_from(number()?).map_err(|_| damaged("an id is out of range"))?,
            b"uname" => entry.uname.clone_from(value),
            b"gname" => entry.gname.clone_from(value),
            b"mtime" => entry.mtime = pax::time(value).ok_or_else(|| damaged("a time is no number"))?,
            b"GNU.sparse.name" => name = Some(value.clone()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => size = Some(number()?),
            b"GNU.sparse.map" => map = Some(sparse::pax_map(value)?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => numbers.push(number()?),
            b"GNU.sparse.major" if value != b"0" && value != b"1" => {
                return Err(damaged("a sparse file is of an unknown format"));
            }
            _ => {
                if let Some(xattr) = key.strip_prefix(b"SCHILY.xattr.") {
                    entry.xattrs.insert(xattr.to_vec(), value.clone());
                }
            }
        }
    }
    if let Some(name) = name {
        entry.path = name;
    }
    if !numbers.is_empty() {
        map = Some(sparse::pairs(&numbers)?);
    }
    Ok((is_sparse && entry.kind == EntryKind::File).then_some(PaxSparse { map, size }))
}
