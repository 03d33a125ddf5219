//! Sizes and durations in the configuration, as `buildkitd.toml` writes them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A size: bytes, as `1024` or `"512MB"` in binary units, or a share of the disk, as `"10%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Bytes(u64),
    Percent(u64),
}

impl Default for Size {
    fn default() -> Self {
        Size::Bytes(0)
    }
}

impl Size {
    pub fn is_unset(&self) -> bool {
        *self == Size::default() || *self == Size::Percent(0)
    }

    /// In bytes, on a disk of so many. As BuildKit, a share is rounded up: to the next gigabyte, of as many 10^9 bytes
    /// as it began with 2^30; and where the size of the disk is not known, any share is 2 GB.
    pub fn bytes(self, disk: u64) -> u64 {
        match self {
            Size::Bytes(bytes) => bytes,
            Size::Percent(0) => 0,
            Size::Percent(_) if disk == 0 => 2_000_000_000,
            Size::Percent(percent) => {
                let share = u128::from(disk) * u128::from(percent) / 100;
                u64::try_from(((share >> 30) + 1) * 1_000_000_000).unwrap_or(u64::MAX)
            }
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Size::default());
        }
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().ok().map(Size::Percent);
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number: f64 = text[..end].parse().ok().filter(|_| end > 0)?;
        let unit = text[end..].trim_start().to_ascii_lowercase();
        let exponent = match unit.as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            "p" | "pb" | "pib" => 5,
            _ => return None,
        };
        Some(Size::Bytes((number * 1024f64.powi(exponent)) as u64))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumberOrText {
            what: "a size, as 1024, \"512MB\" or \"10%\"",
            number: |n| Some(Size::Bytes(n)),
            text: Size::parse,
        })
    }
}

/// A duration: seconds, or text as `"48h"` and `"1h30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span(pub Duration);

impl Span {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Span::default());
        }
        if let Ok(seconds) = text.parse() {
            return Some(Span(Duration::from_secs(seconds)));
        }
        let (mut rest, mut total) = (text, 0.0);
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let number: f64 = rest[..end].parse().ok()?;
            rest = &rest[end..];
            let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            total += number
                * match &rest[..end] {
                    "ns" => 1e-9,
                    "us" | "µs" => 1e-6,
                    "ms" => 1e-3,
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    _ => return None,
                };
            rest = &rest[end..];
        }
        Duration::try_from_secs_f64(total).ok().map(Span)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumberOrText {
            what: "a duration, as 3600 or \"48h\"",
            number: |n| Some(Span(Duration::from_secs(n))),
            text: Span::parse,
        })
    }
}

struct NumberOrText<T> {
    what: &'static str,
    number: fn(u64) -> Option<T>,
    text: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<T, E> {
        let number = u64::try_from(n).ok().and_then(self.number);
        number.ok_or_else(|| E::custom(format!("`{n}` is not {}", self.what)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| E::custom(format!("`{text}` is not {}", self.what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expect: Option<Size>| assert_eq!(Size::parse(text), expect, "{text}");
        check("", Some(Size::Bytes(0)));
        check("1024", Some(Size::Bytes(1024)));
        check("512MB", Some(Size::Bytes(512 << 20)));
        check("1.5 GiB", Some(Size::Bytes(3 << 29)));
        check("10%", Some(Size::Percent(10)));
        for bad in ["x", "-1", "%", "1x", "MB", "1ib", "-5%"] {
            check(bad, None);
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(Span::parse(text).map(|s| s.0.as_secs()), expect, "{text}");
        };
        check("", Some(0));
        check("3600", Some(3600));
        check("48h", Some(172_800));
        check("1h30m", Some(5400));
        for bad in ["h", "1d", "-1h", "1h30"] {
            check(bad, None);
        }
    }
}
