//! Files with holes: which stretches of the file the archive holds.

use errdefs::Result;

use super::header::{self, Field, damaged};
use super::pax;

/// Stretches that the archive holds, in rising order, and the size of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    pub stretches: Vec<Stretch>,
    pub size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub offset: u64,
    pub length: u64,
}

/// Stretches that one file may have.
const LIMIT: usize = 1 << 20;

impl Map {
    /// Checks that the stretches rise, do not overlap, lie in the file, and are as long as what is stored.
    pub fn new(stretches: Vec<Stretch>, size: u64, stored: u64) -> Result<Self> {
        let (mut at, mut total) = (0_u64, 0_u64);
        for s in &stretches {
            let end = s.offset.checked_add(s.length).ok_or_else(|| damaged("a sparse map is too large"))?;
            if s.offset < at || end > size {
                return Err(damaged("a sparse map is out of order"));
            }
            at = end;
            total += s.length;
        }
        if total != stored {
            return Err(damaged("a sparse map does not fit its data"));
        }
        Ok(Map { stretches, size })
    }
}

/// The entries of an old GNU header or extension block: pairs of 12-byte numbers. Gives whether another block follows.
pub fn gnu_entries(area: &[u8], into: &mut Vec<Stretch>) -> Result<bool> {
    let (entries, rest) = area.split_at(area.len() / 24 * 24);
    for entry in entries.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let offset = unsigned(&entry[..12])?;
        let length = unsigned(&entry[12..])?;
        if into.len() >= LIMIT {
            return Err(damaged("a sparse map is too long"));
        }
        into.push(Stretch { offset, length });
    }
    Ok(rest.first().is_some_and(|&b| b != 0))
}

/// Where the old GNU header keeps its entries (with the flag behind them), and the real size.
pub fn gnu_header(block: &header::Block) -> Result<(Vec<Stretch>, bool, u64)> {
    const REAL_SIZE: Field = header::GNU_REAL_SIZE;
    let mut stretches = Vec::new();
    let more = gnu_entries(&block[386..483], &mut stretches)?;
    Ok((stretches, more, unsigned(REAL_SIZE.of(block))?))
}

fn unsigned(field: &[u8]) -> Result<u64> {
    u64::try_from(header::number(field)?).map_err(|_| damaged("a sparse map is negative"))
}

/// `GNU.sparse.map` of PAX format 0.1: `offset,length,offset,length`.
pub fn pax_map(text: &[u8]) -> Result<Vec<Stretch>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let numbers =
        text.split(|&b| b == b',').map(|n| pax::decimal(n).ok_or_else(|| damaged("a sparse map is no list")));
    pairs(&numbers.collect::<Result<Vec<_>>>()?)
}

pub fn pairs(numbers: &[u64]) -> Result<Vec<Stretch>> {
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * LIMIT {
        return Err(damaged("a sparse map is not in pairs"));
    }
    Ok(numbers.chunks_exact(2).map(|p| Stretch { offset: p[0], length: p[1] }).collect())
}

/// How many numbers PAX format 1.0 announces at most.
pub fn check_count(count: u64) -> Result<usize> {
    usize::try_from(count).ok().filter(|&n| n <= LIMIT).ok_or_else(|| damaged("a sparse map is too long"))
}
