//! Sizes and durations, read as Docker reads them and written as Docker writes them.

use std::time::Duration;

use errdefs::{Error, Result};

/// Reads a size in binary units: `64m`, `1.5GiB`, `1024`.
pub(crate) fn parse_size(text: &str) -> Result<i64> {
    let bad = || Error::user(format!("invalid size: '{text}'"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim_start().to_ascii_lowercase();
    let exponent = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if matches!(unit.as_str(), "" | "b") => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(bad());
    }
    let number: f64 = digits.parse().map_err(|_| bad())?;
    Ok((number * 1024f64.powi(exponent)) as i64)
}

/// Reads a duration in Go's form: `24h`, `1h30m`, `1.5s`, `300ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let bad =
        || Error::user(format!("invalid duration `{text}`")).hint("write it as `24h`, `90m` or `1h30m`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(bad()),
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

/// A size in decimal units with four digits, as `1.234GB`.
pub(crate) fn human_size(bytes: i64) -> String {
    four_digits(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A size in binary units with four digits, as `1.234GiB`.
pub(crate) fn binary_size(bytes: i64) -> String {
    four_digits(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn four_digits(bytes: i64, step: f64, units: [&str; 7]) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= step && unit + 1 < units.len() {
        size /= step;
        unit += 1;
    }
    let before_point = if size >= 1.0 { size.log10().floor() as usize + 1 } else { 1 };
    let text = format!("{size:.*}", 4usize.saturating_sub(before_point));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

/// A duration as Go writes it, to the second: `48h0m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// A duration in words, as `About a minute` or `3 hours`.
pub(crate) fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds as f64 / 3600.0).round() as i64;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(parse_size(text).ok(), expect, "{text}");
        check("0", Some(0));
        check("1024", Some(1024));
        check("64m", Some(64 << 20));
        check("64MB", Some(64 << 20));
        check("1GiB", Some(1 << 30));
        check("1.5k", Some(1536));
        check("2 kb", Some(2048));
        check("1b", Some(1));
        for bad in ["", "x", "-1", "1x", "m", "1ib", "1kk", "inf", "nan"] {
            check(bad, None);
        }
    }

    #[test]
    fn durations_are_read() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(parse_duration(text).ok().map(|d| d.as_millis() as u64), expect, "{text}");
        };
        check("0", Some(0));
        check("24h", Some(86_400_000));
        check("1h30m", Some(5_400_000));
        check("1.5s", Some(1500));
        check("300ms", Some(300));
        for bad in ["", "1", "h", "1d", "1h30", "-1h", "1..5s"] {
            check(bad, None);
        }
    }

    #[test]
    fn sizes_and_durations_are_written() {
        let size = |n, expect: &str| assert_eq!(human_size(n), expect);
        size(0, "0B");
        size(999, "999B");
        size(1000, "1kB");
        size(1_234_567, "1.235MB");
        size(12_345_678_901, "12.35GB");
        assert_eq!(binary_size(1023), "1023B");
        assert_eq!(binary_size(5 << 30), "5GiB");
        assert_eq!(binary_size(1_234_567_890), "1.15GiB");
        for (seconds, expect) in [(0, "0s"), (75, "1m15s"), (172_800, "48h0m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), expect);
        }
        let duration = |s, expect: &str| assert_eq!(human_duration(s), expect);
        duration(0, "Less than a second");
        duration(1, "1 second");
        duration(59, "59 seconds");
        duration(61, "About a minute");
        duration(3600, "About an hour");
        duration(7200, "2 hours");
        duration(86_400 * 3, "3 days");
        duration(86_400 * 21, "3 weeks");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,12}") {
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
        }
    }
}
