//! What there is to say when a build is over.

use std::fmt;

use jiff::Timestamp;

use crate::measure::seconds;
use crate::picture::{Picture, RowState};

/// How much of a build was work and how much came from the cache. Only the steps of a Dockerfile count that could
/// have been either: no context transfers, no `FROM`, no exports.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub steps: usize,
    pub cached: usize,
    /// From the first start to the last end, in seconds.
    pub elapsed: f64,
    /// The step that took longest, and how long.
    pub slowest: Option<(String, f64)>,
}

/// A step below this time, in seconds, is not worth naming.
const WORTH_NAMING: f64 = 1.0;

impl Summary {
    pub fn of(picture: &Picture) -> Self {
        let mut summary = Summary { steps: 0, cached: 0, elapsed: 0.0, slowest: None };
        for (_, row) in picture.shown() {
            let Some(end) = row.completed() else { continue };
            if let Some(start) = picture.started() {
                summary.elapsed = summary.elapsed.max(seconds(start, end));
            }
            if !is_step(&row.name) {
                continue;
            }
            summary.steps += 1;
            summary.cached += usize::from(row.state() == RowState::Cached);
            let took = row.elapsed(Timestamp::UNIX_EPOCH);
            if took >= WORTH_NAMING && summary.slowest.as_ref().is_none_or(|(_, t)| *t < took) {
                summary.slowest = Some((row.name.clone(), took));
            }
        }
        summary
    }
}

/// Whether a name is that of an instruction other than FROM, as `[build 2/5] RUN make`.
fn is_step(name: &str) -> bool {
    let Some((place, instruction)) = name.strip_prefix('[').and_then(|n| n.split_once("] ")) else {
        return false;
    };
    let number = place.rsplit(' ').next().unwrap_or(place);
    let numbered = number.split_once('/').is_some_and(|(i, n)| is_number(i) && is_number(n));
    numbered && !instruction.starts_with("FROM ")
}

fn is_number(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
}

/// `Built in 12.3s, 4 of 6 steps from the cache; the longest was [3/6] RUN make, 8.1s`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Built in {:.1}s", self.elapsed)?;
        match (self.steps, self.cached) {
            (0, _) => {}
            (1, 0) => f.write_str(", 1 step")?,
            (n, 0) => write!(f, ", {n} steps")?,
            (1, _) => f.write_str(", the only step from the cache")?,
            (n, c) if n == c => write!(f, ", all {n} steps from the cache")?,
            (n, c) => write!(f, ", {c} of {n} steps from the cache")?,
        }
        match &self.slowest {
            Some((name, took)) if self.steps > 1 => {
                let short: String = name.chars().take(60).collect();
                let dots = if short.len() < name.len() { "…" } else { "" };
                write!(f, "; the longest was {short}{dots}, {took:.1}s")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_the_rest() {
        let check = |name, expect| assert_eq!(is_step(name), expect, "{name}");
        check("[2/5] RUN make", true);
        check("[build 2/5] COPY . .", true);
        check("[linux/amd64 build 2/5] RUN make", true);
        check("[build 1/5] FROM docker.io/library/alpine", false);
        check("[internal] load build context", false);
        check("[auth] library/alpine:pull", false);
        check("exporting to image", false);
    }

    #[test]
    fn words() {
        let check = |steps, cached, slowest: Option<(&str, f64)>, expect: &str| {
            let slowest = slowest.map(|(n, t)| (n.to_owned(), t));
            assert_eq!(Summary { steps, cached, elapsed: 12.34, slowest }.to_string(), expect);
        };
        check(0, 0, None, "Built in 12.3s");
        check(1, 0, Some(("[2/2] RUN a", 9.0)), "Built in 12.3s, 1 step");
        check(1, 1, None, "Built in 12.3s, the only step from the cache");
        check(6, 6, None, "Built in 12.3s, all 6 steps from the cache");
        let slow = Some(("[3/6] RUN make", 8.13));
        check(
            6,
            4,
            slow,
            "Built in 12.3s, 4 of 6 steps from the cache; the longest was [3/6] RUN make, 8.1s",
        );
    }
}
