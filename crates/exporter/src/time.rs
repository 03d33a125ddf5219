//! Times in image configs: RFC 3339 texts, in the form in which Go writes them.

use errdefs::{Error, Result};
use jiff::Timestamp;

/// A time and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    text: String,
    at: Timestamp,
}

impl Time {
    /// Reads a text. An offset stays what it is; zeros at the end of a fraction go.
    pub fn parse(text: &str) -> Result<Self> {
        let at: Timestamp =
            text.parse().map_err(|e| Error::user(format!("invalid time `{text}` in image config: {e}")))?;
        let zone = text[10..].find(['Z', '+', '-']).map_or(text.len(), |at| 10 + at);
        let (clock, zone) = text.split_at(zone);
        let clock = match clock.contains('.') {
            true => clock.trim_end_matches('0').trim_end_matches('.'),
            false => clock,
        };
        let zone = if zone == "+00:00" { "Z" } else { zone };
        Ok(Time { text: format!("{clock}{zone}"), at })
    }

    /// A whole second.
    pub fn from_seconds(seconds: i64) -> Result<Self> {
        let at = Timestamp::from_second(seconds)
            .map_err(|e| Error::user(format!("invalid time {seconds}: {e}")))?;
        Ok(at.into())
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The earlier of two.
    pub fn clamp(self, latest: &Time) -> Time {
        if self.at > latest.at { latest.clone() } else { self }
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Time { text: at.to_string(), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (text, expected) in [
            ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05.100000000Z", "2020-01-02T03:04:05.1Z"),
            ("2020-01-02T03:04:05.000Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05.123456789+02:00", "2020-01-02T03:04:05.123456789+02:00"),
            ("2020-01-02T03:04:05+00:00", "2020-01-02T03:04:05Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Time::parse(text).expect("a time").as_str(), expected);
        }
        assert!(Time::parse("yesterday").is_err());
        let precise = Timestamp::new(1_577_934_245, 120_000_000).expect("a time");
        assert_eq!(Time::from(precise).as_str(), "2020-01-02T03:04:05.12Z");
        assert_eq!(Time::from_seconds(1_577_934_245).expect("a time").as_str(), "2020-01-02T03:04:05Z");
    }
}
