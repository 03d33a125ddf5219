//! How sizes and durations are written in progress lines.

use jiff::{SignedDuration, Timestamp};

/// A size in decimal units with two digits, as `1.23kB`; below 1000 whole bytes, as `120B`.
pub fn bytes_si(n: i64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let magnitude = n.unsigned_abs();
    if magnitude < 1000 {
        return format!("{n}B");
    }
    let mut divisor: u64 = 1000;
    let mut unit = 0;
    while unit + 1 < UNITS.len() && magnitude >= divisor.saturating_mul(1000) {
        divisor *= 1000;
        unit += 1;
    }
    format!("{:.2}{}", n as f64 / divisor as f64, UNITS[unit])
}

/// Seconds from `from` to `to`; negative when the clock went back.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// The time that a log line carries: three digits below ten seconds, then two, then one.
pub(crate) fn log_time(since_start: SignedDuration) -> String {
    let s = since_start.as_secs_f64();
    let digits = match s {
        s if s < 10.0 => 3,
        s if s < 100.0 => 2,
        _ => 1,
    };
    format!("{s:.digits$}")
}

/// How much of a part is done, as ` 1.05MB / 3.40MB`, with the space in front; empty when nothing is known.
pub(crate) fn amount(current: i64, total: i64) -> String {
    match (current, total) {
        (0, 0) => String::new(),
        (_, 0) => format!(" {}", bytes_si(current)),
        _ => format!(" {} / {}", bytes_si(current), bytes_si(total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |n, expect: &str| assert_eq!(bytes_si(n), expect);
        check(0, "0B");
        check(2, "2B");
        check(999, "999B");
        check(1000, "1.00kB");
        check(1234, "1.23kB");
        check(999_999, "1000.00kB");
        check(3_370_706, "3.37MB");
        check(i64::MAX, "9.22EB");
        check(-1500, "-1.50kB");
    }

    #[test]
    fn log_times_lose_digits_as_they_grow() {
        let check = |ms, expect: &str| assert_eq!(log_time(SignedDuration::from_millis(ms)), expect);
        check(0, "0.000");
        check(123, "0.123");
        check(9_999, "9.999");
        check(12_345, "12.35");
        check(123_456, "123.5");
    }
}
