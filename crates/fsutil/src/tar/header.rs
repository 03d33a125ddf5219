//! The header block: where each field lies, and how numbers stand in it.

use errdefs::{Error, Result};

use super::BLOCK;

pub type Block = [u8; BLOCK];

/// A field of the header: offset and length.
#[derive(Clone, Copy)]
pub struct Field(usize, usize);

pub const NAME: Field = Field(0, 100);
pub const MODE: Field = Field(100, 8);
pub const UID: Field = Field(108, 8);
pub const GID: Field = Field(116, 8);
pub const SIZE: Field = Field(124, 12);
pub const MTIME: Field = Field(136, 12);
pub const CHECKSUM: Field = Field(148, 8);
pub const TYPE: usize = 156;
pub const LINK: Field = Field(157, 100);
pub const MAGIC: Field = Field(257, 8);
pub const UNAME: Field = Field(265, 32);
pub const GNAME: Field = Field(297, 32);
pub const DEV_MAJOR: Field = Field(329, 8);
pub const DEV_MINOR: Field = Field(337, 8);
pub const PREFIX: Field = Field(345, 155);
pub const GNU_REAL_SIZE: Field = Field(483, 12);

impl Field {
    pub fn of<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        &block[self.0..self.0 + self.1]
    }

    pub fn of_mut<'a>(&self, block: &'a mut [u8]) -> &'a mut [u8] {
        &mut block[self.0..self.0 + self.1]
    }

    pub fn len(&self) -> usize {
        self.1
    }
}

pub fn damaged(what: &str) -> Error {
    Error::user(format!("invalid tar header: {what}"))
}

/// A string field up to its first NUL.
pub fn string(field: &[u8]) -> &[u8] {
    field.iter().position(|&b| b == 0).map_or(field, |end| &field[..end])
}

/// A number field: octal text, or base-256 with the top bit of the first byte set (GNU).
pub fn number(field: &[u8]) -> Result<i64> {
    if let Some(&first) = field.first()
        && first & 0x80 != 0
    {
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, &b) in field.iter().enumerate() {
            let b = if i == 0 && !negative { b & 0x7f } else { b };
            value = (value << 8) | i128::from(b);
            if i64::try_from(value).is_err() {
                return Err(damaged("a number is too large"));
            }
        }
        return i64::try_from(value).map_err(|_| damaged("a number is too large"));
    }
    let text =
        field.split(|&b| b == 0).find(|part| !part.trim_ascii().is_empty()).unwrap_or_default().trim_ascii();
    let mut value: i64 = 0;
    for &b in text {
        let digit = match b {
            b'0'..=b'7' => i64::from(b - b'0'),
            _ => return Err(damaged("a number is not octal")),
        };
        value = value
            .checked_mul(8)
            .and_then(|v| v.checked_add(digit))
            .ok_or_else(|| damaged("a number is too large"))?;
    }
    Ok(value)
}

/// The sums of all bytes with the checksum field as spaces: of unsigned bytes, and of signed ones as old programs had
/// them.
pub fn checksums(block: &Block) -> (i64, i64) {
    let (mut unsigned, mut signed) = (0, 0);
    for (i, &b) in block.iter().enumerate() {
        let b = if (148..156).contains(&i) { b' ' } else { b };
        unsigned += i64::from(b);
        signed += i64::from(b.cast_signed());
    }
    (unsigned, signed)
}

/// Whether this is the checksum of a header, in either way.
pub fn sums_to(block: &Block, sum: i64) -> bool {
    let (unsigned, signed) = checksums(block);
    sum == unsigned || sum == signed
}

/// Whether a number can stand in a field of this length as octal text.
pub fn fits_octal(len: usize, value: i64) -> bool {
    let bits = (len - 1) * 3;
    value >= 0 && (bits >= 63 || value < 1 << bits)
}

/// Writes octal text, filled up with zeros and ended by NUL; 0 where the number does not fit.
pub fn put_octal(field: &mut [u8], value: i64) {
    let value = if fits_octal(field.len(), value) { value } else { 0 };
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    put_string(field, text.as_bytes());
}

/// Writes a string, cut where it is too long. A cut must not leave a slash at the end: old programs would take the file
/// for a directory.
pub fn put_string(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
    if text.len() < field.len() {
        field[text.len()] = 0;
    }
    if text.len() > field.len() && field.last() == Some(&b'/') {
        let mut end = field.len() - 1;
        while end > 0 && field[end - 1] == b'/' {
            end -= 1;
        }
        field[end] = 0;
    }
}
