//! Tables of an SQLite database (sqlite.org, fileformat2), read from the bytes of its file. What a log beside it holds
//! (`-wal`) is not seen.

use std::borrow::Cow;

/// The first bytes, of which the file format says more.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
const LEAF: u8 = 13;
const INTERIOR: u8 = 5;

pub struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// Bytes of a page that hold something.
    usable: usize,
}

/// Takes the columns of a row: texts and blobs as they are, and nothing for all else.
pub type TakeRow<'r> = &'r mut dyn FnMut(Vec<&[u8]>);

impl<'a> Database<'a> {
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.get(..HEADER).filter(|head| head.starts_with(MAGIC))?;
        let page_size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65536,
            size => usize::from(size),
        };
        let usable = page_size.checked_sub(usize::from(head[20])).filter(|usable| *usable >= 480)?;
        page_size.is_power_of_two().then_some(Database { bytes, page_size, usable })
    }

    /// The first page of a table.
    pub fn table(&self, name: &str) -> Option<u32> {
        let mut found = None;
        // Type, name, table, first page, definition.
        self.walk(1, &mut |payload| {
            let columns = columns(payload)?;
            if columns.get(..2)?
                == [(13 + 2 * 5, &b"table"[..]), (13 + 2 * name.len() as u64, name.as_bytes())]
            {
                found = columns
                    .get(3)?
                    .1
                    .iter()
                    .try_fold(0u32, |n, byte| n.checked_mul(256)?.checked_add(u32::from(*byte)));
            }
            Some(())
        })?;
        found
    }

    /// All rows of a table in the order of their numbers. `None` where the table is damaged.
    pub fn rows(&self, first: u32, take: TakeRow<'_>) -> Option<()> {
        self.walk(first, &mut |payload| {
            let columns = columns(payload)?.into_iter();
            take(columns.map(|(kind, bytes)| if kind >= 12 { bytes } else { &[] }).collect());
            Some(())
        })
    }

    fn walk(&self, first: u32, take: &mut dyn FnMut(&[u8]) -> Option<()>) -> Option<()> {
        let mut todo = vec![first];
        // A page is in one tree, once.
        let mut left = self.bytes.len() / self.page_size;
        while let Some(number) = todo.pop() {
            left = left.checked_sub(1)?;
            let page = self.page(number)?;
            let head = if number == 1 { HEADER } else { 0 };
            let cells = usize::from(half(page, head + 3)?);
            match *page.get(head)? {
                LEAF => {
                    for i in 0..cells {
                        let at = half(page, head + 8 + 2 * i)?;
                        let payload = self.payload(page, usize::from(at))?;
                        take(&payload)?;
                    }
                }
                INTERIOR => {
                    todo.push(word(page, head + 8)?);
                    for i in (0..cells).rev() {
                        let at = half(page, head + 12 + 2 * i)?;
                        todo.push(word(page, usize::from(at))?);
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Pages count from 1.
    fn page(&self, number: u32) -> Option<&'a [u8]> {
        let start = (number as usize).checked_sub(1)?.checked_mul(self.page_size)?;
        self.bytes.get(start..)?.get(..self.page_size)
    }

    /// The payload of a cell of a leaf, with what did not fit into the page.
    fn payload(&self, page: &'a [u8], at: usize) -> Option<Cow<'a, [u8]>> {
        let (size, rest) = varint(page.get(at..self.usable)?)?;
        let (_row, rest) = varint(rest)?;
        let size = usize::try_from(size).ok().filter(|size| *size <= self.bytes.len())?;
        let most = self.usable - 35;
        if size <= most {
            return rest.get(..size).map(Cow::Borrowed);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fits = least + (size - least) % (self.usable - 4);
        let here = if fits <= most { fits } else { least };
        let mut payload = rest.get(..here)?.to_vec();
        let mut next = word(rest, here)?;
        while payload.len() < size {
            let page = self.page(next)?;
            let more = (size - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(page.get(4..4 + more)?);
            next = word(page, 0)?;
        }
        Some(Cow::Owned(payload))
    }
}

/// The columns of a row: their serial types and their bytes.
fn columns(payload: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let (head, _) = varint(payload)?;
    let (head, mut values) = payload.split_at_checked(usize::try_from(head).ok()?)?;
    let (_, mut kinds) = varint(head)?;
    let mut columns = Vec::new();
    while !kinds.is_empty() {
        let (kind, rest) = varint(kinds)?;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            12.. => (kind - 12) / 2,
        };
        let (value, others) = values.split_at_checked(usize::try_from(size).ok()?)?;
        columns.push((kind, value));
        (kinds, values) = (rest, others);
    }
    Some(columns)
}

/// A number of up to nine bytes, the highest first: seven bits of each, and all of the ninth.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (i, byte) in bytes.iter().take(8).enumerate() {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(8)?), &bytes[9..]))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
