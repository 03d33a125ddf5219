use std::time::{Duration, Instant};

/// How long after another the first samples are taken.
const INTERVAL: Duration = Duration::from_secs(2);

/// Samples of something that goes on for nobody knows how long: the longer it takes, the further apart they are, so
/// that there are never many.
#[derive(Debug, Clone)]
pub struct Series<T> {
    kept: Vec<T>,
    most: usize,
    interval: Duration,
    next: Instant,
}

impl<T> Series<T> {
    /// At most so many, and the last one.
    pub fn new(most: usize) -> Self {
        Series { kept: Vec::new(), most, interval: INTERVAL, next: Instant::now() + INTERVAL }
    }

    /// When the next sample is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Adds one. When there are too many, every other goes, and the next ones come half as often.
    pub fn push(&mut self, sample: T) {
        self.kept.push(sample);
        if self.kept.len() >= self.most {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.interval *= 2;
        }
        self.next = Instant::now() + self.interval;
    }

    /// All, with that of the end.
    pub fn finish(mut self, last: T) -> Vec<T> {
        self.kept.push(last);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_time_has_no_more_samples_than_a_short_one() {
        let mut series = Series::new(4);
        (0..4).for_each(|n| series.push(n));
        assert_eq!((&series.kept[..], series.interval), (&[0, 2][..], INTERVAL * 2));
        (4..100).for_each(|n| series.push(n));
        assert!(series.kept.len() < 4, "{:?}", series.kept);
        assert_eq!(series.kept[0], 0);
        assert_eq!(series.finish(100).last(), Some(&100));
    }
}
