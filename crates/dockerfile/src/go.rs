//! Text forms of Go's standard library in which messages, history and option values are written.

use crate::{Error, Result};

/// `strconv.Quote`, the `%q` of a string.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x80 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// The `%q` of a list: `["a" "b"]`.
pub fn quote_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| quote(w)).collect();
    format!("[{}]", quoted.join(" "))
}

/// The `%v` of a list: `[a b]`.
pub fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    match c {
        ' ' => true,
        c if c.is_control() || c.is_whitespace() => false,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' => false,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' => false,
        c => (c as u32) < 0xe_0000,
    }
}

/// `time.ParseDuration`, in nanoseconds.
///
/// # Errors
/// For what is no duration, with Go's own words.
pub fn parse_duration(text: &str) -> Result<i64> {
    let invalid = || Error::new(format!("time: invalid duration {}", quote(text)));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(Error::new(format!("time: missing unit in duration {}", quote(text))));
        }
        let scale = unit_scale(unit).ok_or_else(|| {
            Error::new(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)))
        })?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(scale).ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        total = total.checked_add(fraction_of(fraction, scale)).ok_or_else(invalid)?;
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -total } else { total })
}

fn unit_scale(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Digits after the point, times `scale`; digits beyond the nanosecond do not count.
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let mut value = 0.0;
    let mut weight = scale as f64;
    for digit in digits.bytes() {
        weight /= 10.0;
        value += f64::from(digit - b'0') * weight;
    }
    // Sums such as 0.1 + 0.2 fall just below the whole number that is meant.
    (value + 1e-6) as u64
}

/// `%v` of a `time.Duration`, as `1m30s`.
pub fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let value = nanos.unsigned_abs();
    let decimal = |value: u64, scale: u64, unit: &str| {
        let (whole, rest) = (value / scale, value % scale);
        if rest == 0 {
            return format!("{whole}{unit}");
        }
        let width = scale.ilog10() as usize;
        format!("{whole}.{}{unit}", format!("{rest:0width$}").trim_end_matches('0'))
    };
    let body = match value {
        0 => "0s".to_owned(),
        1..1_000 => format!("{value}ns"),
        1_000..1_000_000 => decimal(value, 1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => decimal(value, 1_000_000, "ms"),
        _ => {
            let minutes = value / 60_000_000_000;
            let seconds = decimal(value % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    };
    format!("{sign}{body}")
}

/// A size in bytes with a binary suffix, as `100m` or `1.5GiB` (docker/go-units).
pub fn parse_ram_size(text: &str) -> Option<i64> {
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let number = if text.as_bytes()[last] == b' ' { &text[..last] } else { &text[..=last] };
    let suffix = text[last + 1..].to_lowercase();
    let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    let mut letters = suffix.chars();
    let power = match letters.next() {
        None | Some('b') if letters.as_str().is_empty() => return Some(number as i64),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        _ => return None,
    };
    matches!(letters.as_str(), "" | "b" | "ib").then(|| (number * 1024_f64.powi(power)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        let check = |text, expected| assert_eq!(quote(text), expected);
        check("a\"b\\c\n\t", r#""a\"b\\c\n\t""#);
        check("\u{0}\u{7f}\u{a0}é日", r#""\x00\x7f\u00a0é日""#);
        assert_eq!(quote_list(&["a".into(), "b c".into()]), r#"["a" "b c"]"#);
    }

    #[test]
    fn durations() {
        let check = |text, expected| assert_eq!(parse_duration(text).ok(), expected, "{text}");
        check("1m30s", Some(90_000_000_000));
        check("1.5h", Some(5_400_000_000_000));
        check("-10ms", Some(-10_000_000));
        check("0", Some(0));
        check(".3s", Some(300_000_000));
        check("5", None);
        check("", None);
        check("1x", None);
        check("9999999999h", None);
        let printed = |nanos, expected| assert_eq!(format_duration(nanos), expected);
        printed(90_000_000_000, "1m30s");
        printed(3_600_000_000_000, "1h0m0s");
        printed(1_500_000, "1.5ms");
        printed(0, "0s");
    }

    #[test]
    fn sizes() {
        let check = |text, expected| assert_eq!(parse_ram_size(text), expected, "{text}");
        check("100", Some(100));
        check("100m", Some(104_857_600));
        check("1.5GiB", Some(1_610_612_736));
        check("2 kb", Some(2048));
        check("7b", Some(7));
        check("bc", None);
        check("1kx", None);
        check("-1", None);
    }
}
