//! What there is to say when a build is over.

use std::fmt;

use jiff::Timestamp;

use crate::measure::seconds;
use crate::picture::{Part, Picture, RowState};
use crate::sink::EMULATING;

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
    pub emulated: Option<Emulated>,
}

/// The steps whose programs an emulator ran.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Emulated {
    /// Each once, in the order in which they were met.
    pub platforms: Vec<String>,
    pub steps: usize,
    /// Of all of them together, in seconds.
    pub elapsed: f64,
}

/// A step below this time, in seconds, is not worth naming.
const WORTH_NAMING: f64 = 1.0;

impl Summary {
    pub fn of(picture: &Picture) -> Self {
        let mut summary = Summary { steps: 0, cached: 0, elapsed: 0.0, slowest: None, emulated: None };
        for (_, row) in picture.shown() {
            let Some(end) = row.completed() else { continue };
            if let Some(start) = picture.started() {
                summary.elapsed = summary.elapsed.max(seconds(start, end));
            }
            for (platform, elapsed) in row.parts.iter().filter_map(emulation) {
                summary.emulated.get_or_insert_default().add(platform, elapsed);
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

impl Emulated {
    fn add(&mut self, platform: &str, elapsed: f64) {
        if !self.platforms.iter().any(|known| known == platform) {
            self.platforms.push(platform.to_owned());
        }
        self.steps += 1;
        self.elapsed += elapsed;
    }
}

/// The platform that a part of a step was emulated for, and the seconds that this took.
fn emulation(part: &Part) -> Option<(&str, f64)> {
    let status = &part.status;
    let (platform, _) = status.id.strip_prefix(EMULATING)?.split_once(' ')?;
    let end = status.completed.unwrap_or(status.timestamp);
    Some((platform, status.started.map_or(0.0, |start| seconds(start, end))))
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

/// `3 steps ran under emulation (linux/arm64), 41.2s of work`.
impl fmt::Display for Emulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = if self.steps == 1 { "step" } else { "steps" };
        let platforms = self.platforms.join(", ");
        write!(f, "{} {steps} ran under emulation ({platforms}), {:.1}s of work", self.steps, self.elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::VertexStatus;

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
            assert_eq!(
                Summary { steps, cached, elapsed: 12.34, slowest, emulated: None }.to_string(),
                expect
            );
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

    #[test]
    fn emulated_steps_are_summed_up() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let part = |id: &str, end| {
            let status = VertexStatus {
                id: id.into(),
                vertex: oci::Digest::of(id),
                name: String::new(),
                current: 0,
                total: 0,
                timestamp: at(end),
                started: Some(at(10)),
                completed: Some(at(end)),
            };
            Part { status }
        };
        let mut sum = Emulated::default();
        for part in [
            part("emulating linux/arm64 by qemu-aarch64", 12),
            part("extracting", 99),
            part("emulating linux/arm/v7 by qemu-arm", 13),
            part("emulating linux/arm64 by qemu-aarch64", 11),
        ] {
            emulation(&part).into_iter().for_each(|(platform, elapsed)| sum.add(platform, elapsed));
        }
        assert_eq!(sum.to_string(), "3 steps ran under emulation (linux/arm64, linux/arm/v7), 6.0s of work");
    }
}
