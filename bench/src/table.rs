//! The results as Markdown.

use std::collections::BTreeMap;

use crate::builder::{BUILDX, KILN, KILN_BY_BUILDX, LIMIT};
use crate::measure::{Sample, median};

/// All samples of one measured build.
pub struct Line {
    pub title: &'static str,
    /// How many times faster than BuildKit it is to be.
    pub goal: f64,
    /// The same, where the stock client drives both.
    pub by_buildx: f64,
    pub samples: BTreeMap<&'static str, Vec<Sample>>,
}

/// The rivals that a goal is held against.
const RIVALS: [&str; 2] = ["buildctl", "buildx"];

impl Line {
    pub fn middle(&self, builder: &str) -> Option<Sample> {
        median(self.samples.get(builder)?)
    }

    /// How many times faster Kiln is than `builder`.
    pub fn ratio(&self, builder: &str) -> Option<f64> {
        self.ratio_of(KILN, builder)
    }

    /// How many times faster one builder is than another.
    fn ratio_of(&self, fast: &str, slow: &str) -> Option<f64> {
        Some(self.middle(slow)?.seconds / self.middle(fast)?.seconds)
    }

    /// Whether the goal holds against every rival that ran; `None` where none did.
    pub fn holds(&self) -> Option<bool> {
        let ratios: Vec<f64> = RIVALS.iter().filter_map(|rival| self.ratio(rival)).collect();
        (!ratios.is_empty()).then(|| ratios.iter().all(|ratio| *ratio >= self.goal))
    }
}

/// The whole table: times and ratios, then memory and bytes.
pub fn render(lines: &[Line], builders: &[&'static str]) -> String {
    let mut text = String::new();
    let mut row = |cells: Vec<String>| text.push_str(&format!("| {} |\n", cells.join(" | ")));
    let rivals: Vec<&str> =
        builders.iter().copied().filter(|b| ![KILN, KILN_BY_BUILDX].contains(b)).collect();
    let with_stock = builders.contains(&KILN_BY_BUILDX);
    let head = ["workload".to_owned()].into_iter().chain(builders.iter().map(|b| (*b).to_owned()));
    let ratios = rivals.iter().map(|r| format!("× {r}")).chain(["goal".to_owned()]);
    let stock = with_stock.then(|| "both by buildx".to_owned());
    let head: Vec<_> = head.chain(ratios).chain(stock).collect();
    let rule = vec!["---".to_owned(); head.len()];
    row(head);
    row(rule);
    for line in lines {
        let times = builders.iter().map(|b| line.middle(b).map_or("-".into(), |s| seconds(s.seconds)));
        let ratios = rivals.iter().map(|r| line.ratio(r).map_or("-".into(), |ratio| format!("{ratio:.1}")));
        let goal = match line.holds() {
            Some(holds) => format!("{} {}", line.goal, tick(holds)),
            None => line.goal.to_string(),
        };
        let stock = with_stock.then(|| match line.ratio_of(KILN_BY_BUILDX, BUILDX) {
            Some(ratio) => format!("{ratio:.1} ({} {})", line.by_buildx, tick(ratio >= line.by_buildx)),
            None => "-".to_owned(),
        });
        let cells = [line.title.to_owned()].into_iter().chain(times).chain(ratios).chain([goal]).chain(stock);
        row(cells.collect());
    }
    text.push('\n');
    let mut row = |cells: Vec<String>| text.push_str(&format!("| {} |\n", cells.join(" | ")));
    let engines: Vec<&str> = builders.iter().copied().filter(|b| *b != "buildah").collect();
    let head = engines.iter().map(|b| format!("{b}: peak / read / written / grown, MB"));
    row(["workload".to_owned()].into_iter().chain(head).collect());
    row(std::iter::repeat_n("---".to_owned(), 1 + engines.len()).collect());
    for line in lines {
        let cells = engines.iter().map(|b| {
            line.middle(b).map_or("-".into(), |s| {
                let [peak, read, written] = [s.peak, s.read, s.written].map(|bytes| bytes / 1_000_000);
                format!("{peak} / {read} / {written} / {:.1}", s.grown as f64 / 1e6)
            })
        });
        row([line.title.to_owned()].into_iter().chain(cells).collect());
    }
    text
}

fn tick(holds: bool) -> char {
    if holds { '✓' } else { '✗' }
}

pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= LIMIT.as_secs_f64() => format!("over {} s", LIMIT.as_secs()),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_held_against_every_rival() {
        let sample = |seconds| vec![Sample { seconds, ..Sample::default() }];
        let mut line = Line { title: "x", goal: 3.0, by_buildx: 2.0, samples: BTreeMap::new() };
        line.samples.insert("kiln", sample(0.1));
        assert_eq!(line.holds(), None);
        line.samples.insert("buildctl", sample(0.4));
        line.samples.insert("buildah", sample(0.2));
        assert_eq!(line.holds(), Some(true));
        line.samples.insert("buildx", sample(0.2));
        assert_eq!(line.holds(), Some(false));
        let table = render(std::slice::from_ref(&line), &["kiln", "buildctl", "buildx", "buildah"]);
        assert!(
            table.contains("| x | 100 ms | 400 ms | 200 ms | 200 ms | 4.0 | 2.0 | 2.0 | 3 ✗ |"),
            "{table}"
        );
        line.samples.insert(KILN_BY_BUILDX, sample(0.05));
        let table = render(&[line], &[KILN, KILN_BY_BUILDX, BUILDX]);
        assert!(table.contains("| x | 100 ms | 50 ms | 200 ms | 2.0 | 3 ✗ | 4.0 (2 ✓) |"), "{table}");
    }
}
