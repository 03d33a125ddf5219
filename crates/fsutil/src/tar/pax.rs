//! PAX records: `<length> <key>=<value>\n`.

use errdefs::Result;

use super::header::damaged;

/// Bytes of records that one member may have.
pub const LIMIT: u64 = 4 << 20;

/// The records of an extended header, in their order.
pub fn parse(mut bytes: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes
            .iter()
            .take(20)
            .position(|&b| b == b' ')
            .ok_or_else(|| damaged("a PAX record has no length"))?;
        let length = decimal(&bytes[..space]).ok_or_else(|| damaged("a PAX record has no length"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > bytes.len() || length < space + 3 || bytes[length - 1] != b'\n' {
            return Err(damaged("a PAX record is cut"));
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|&b| b == b'=').filter(|&i| i > 0);
        let equals = equals.ok_or_else(|| damaged("a PAX record has no key"))?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// Appends a record.
pub fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |n| n as usize + 1)
}

pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `1350244992.023960108`, also negative.
pub fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if seconds.is_empty() || !seconds.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

/// The text of a time, without needless zeros.
pub fn time_text((seconds, nanos): (i64, u32)) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanos) = match seconds < 0 {
        true => ("-", -(seconds + 1), 1_000_000_000 - nanos),
        false => ("", seconds, nanos),
    };
    format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned()
}
