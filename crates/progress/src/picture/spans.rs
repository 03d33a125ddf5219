//! When a row was at work.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::measure::seconds;

/// Stretches of time by their start. A vertex that was started anew has several, a group has those of its members;
/// the same start told again replaces what was known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spans(BTreeMap<Timestamp, Option<Timestamp>>);

impl Spans {
    /// Takes in one stretch; tells whether that was news.
    pub(crate) fn insert(&mut self, start: Timestamp, stop: Option<Timestamp>) -> bool {
        self.0.insert(start, stop) != Some(stop)
    }

    /// The last stretch after all that overlap are joined: its start, and its stop unless it still runs.
    pub(crate) fn latest(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        self.merged().pop()
    }

    /// Time at work until `now`, in seconds. Overlaps count once.
    pub(crate) fn total(&self, now: Timestamp) -> f64 {
        self.merged().into_iter().map(|(start, stop)| seconds(start, stop.unwrap_or(now)).max(0.0)).sum()
    }

    /// Joins what overlaps. A stretch that has not ended swallows all that began later.
    fn merged(&self) -> Vec<(Timestamp, Option<Timestamp>)> {
        let mut out: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
        for (&start, &stop) in &self.0 {
            match out.last_mut() {
                Some((_, None)) => break,
                Some((_, Some(end))) if start <= *end => match stop {
                    Some(stop) => *end = (*end).max(stop),
                    None => out.last_mut().expect("just matched").1 = None,
                },
                _ => out.push((start, stop)),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stretches as `from-to`, open ones as `from-`, in seconds.
    fn check(input: &str, total_at_100: f64, latest: &str) {
        let at = |s: &str| Timestamp::from_second(s.parse().expect("a number")).expect("in range");
        let mut spans = Spans::default();
        for part in input.split(' ').filter(|p| !p.is_empty()) {
            let (from, to) = part.split_once('-').expect("a dash");
            spans.insert(at(from), (!to.is_empty()).then(|| at(to)));
        }
        assert_eq!(spans.total(at("100")), total_at_100, "{input}");
        let told = spans.latest().map_or(String::new(), |(from, to)| {
            format!("{}-{}", from.as_second(), to.map_or(String::new(), |t| t.as_second().to_string()))
        });
        assert_eq!(told, latest, "{input}");
    }

    #[test]
    fn joins() {
        check("", 0.0, "");
        check("1-3", 2.0, "1-3");
        check("1-3 2-5", 4.0, "1-5");
        check("1-9 2-5", 8.0, "1-9");
        check("1-3 3-5", 4.0, "1-5");
        check("1-3 5-6", 3.0, "5-6");
        check("90- 95-96", 10.0, "90-");
        check("80-92 90-", 20.0, "80-");
    }
}
