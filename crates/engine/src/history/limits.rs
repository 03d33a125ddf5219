use std::time::Duration;

use jiff::Timestamp;

use crate::history::BuildRecord;

/// How much history is kept. A record goes when it is over both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub age: Duration,
    pub entries: usize,
}

impl Default for Limits {
    /// BuildKit's.
    fn default() -> Self {
        Limits { age: Duration::from_secs(48 * 3600), entries: 50 }
    }
}

impl Limits {
    /// The ids of those that are over the limits. Pinned ones neither count nor go.
    pub fn excess(&self, records: &[BuildRecord], now: Timestamp) -> Vec<String> {
        let mut ended: Vec<_> = records
            .iter()
            .filter(|record| !record.pinned)
            .filter_map(|record| Some((record.end.as_ref()?.at, &record.id)))
            .collect();
        ended.sort_by(|a, b| b.cmp(a));
        let oldest = now.checked_sub(self.age).unwrap_or(Timestamp::MIN);
        ended
            .into_iter()
            .skip(self.entries)
            .filter(|(at, _)| *at < oldest)
            .map(|(_, id)| id.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{ended, record};

    /// Hours since each build; `*` is a pinned one.
    fn check(ages: &str, limits: (u64, usize), gone: &str) {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let records: Vec<_> = ages
            .split_whitespace()
            .map(|age| {
                let (pinned, hours) = (age.ends_with('*'), age.trim_end_matches('*'));
                let hours = Duration::from_secs(3600 * hours.parse::<u64>().expect("a number"));
                let at = now.checked_sub(hours).expect("a time");
                let end = ended(&at.to_string());
                BuildRecord { id: age.to_owned(), pinned, end: Some(end), ..record("") }
            })
            .collect();
        let limits = Limits { age: Duration::from_secs(3600 * limits.0), entries: limits.1 };
        assert_eq!(limits.excess(&records, now).join(" "), gone, "{ages} {limits:?}");
    }

    #[test]
    fn what_is_over_both_limits_goes() {
        check("1 2 3 4", (2, 2), "3 4");
        check("4 3 2 1", (3, 2), "4");
        check("1 2 3 4", (0, 4), "");
        check("1 2 3 4", (9, 0), "");
        check("1 2 3* 4", (0, 2), "4");
    }
}
