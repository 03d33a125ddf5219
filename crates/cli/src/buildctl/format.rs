//! How buildctl writes sizes and times.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// With two digits behind the point, in decimal units.
pub(super) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    while value.abs() >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes}B"),
        _ => format!("{value:.2}{}", UNITS[unit]),
    }
}

/// In the time of this place, to the second.
pub(super) fn time(at: Option<Timestamp>) -> String {
    let Some(at) = at else { return String::new() };
    at.to_zoned_datetime(TimeZone::system())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
        .replace("+00:00", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |bytes, expect| assert_eq!(size(bytes), expect);
        check(0, "0B");
        check(999, "999B");
        check(1000, "1.00kB");
        check(1234, "1.23kB");
        check(-1234, "-1.23kB");
        check(5_000_000_000, "5.00GB");
    }
}
