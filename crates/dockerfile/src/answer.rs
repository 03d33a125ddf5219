//! What a frontend answers when it is asked about a file instead of building it: findings, an outline, targets.
//!
//! The JSON and the text of each are those of BuildKit, so that any client can read and show them.

use std::fmt::Write as _;

use errdefs::{Position, Range};
use serde::{Deserialize, Serialize};

mod describe;
mod findings;
mod form;
mod outline;
mod targets;

pub use describe::{Questions, questions};
pub use findings::{BuildError, Findings, Graph, Op, Source, Warning};
pub use form::Base64;
pub use outline::{Arg, Outline, Requirement};
pub use targets::{Target, Targets};

/// The version of all answers.
pub const VERSION: &str = "1.0.0";

/// Lines of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Location {
    #[serde(rename = "sourceIndex", skip_serializing_if = "form::is_default")]
    source: i32,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "form::nullable")]
    ranges: Vec<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Span {
    start: Spot,
    end: Spot,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Spot {
    #[serde(skip_serializing_if = "form::is_default")]
    line: u32,
    #[serde(skip_serializing_if = "form::is_default")]
    character: u32,
}

impl Location {
    /// A place in the only source.
    pub fn new(ranges: &[Range]) -> Self {
        let spot = |p: Position| Spot { line: p.line, character: p.character };
        let ranges = ranges.iter().map(|r| Span { start: spot(r.start), end: spot(r.end) }).collect();
        Location { source: 0, ranges }
    }

    fn ranges(&self) -> Vec<Range> {
        let position = |s: &Spot| Position { line: s.line, character: s.character };
        self.ranges.iter().map(|s| Range { start: position(&s.start), end: position(&s.end) }).collect()
    }

    /// 0 where there is none.
    pub fn first_line(&self) -> u32 {
        self.ranges.first().map_or(0, |s| s.start.line)
    }
}

/// Columns of equal width, `gap` apart. The last cell of a row stays as it is.
fn table<const N: usize>(gap: usize, rows: &[[&str; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + gap;
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == N { 0 } else { width(column) };
            let _ = write!(out, "{cell:width$}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests;
