//! Rows as lines of a given width, and which of them fit.

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::measure::{amount, seconds};
use crate::picture::{Part, Row, RowId, RowState};
use crate::tty::Style;

/// Below this many columns for the name a line says nothing.
const NARROWEST: usize = 12;
/// An amount is shown if it and the name have this many columns together.
const ROOM_FOR_AMOUNT: usize = 20;

/// A line as it will stand on the terminal.
pub(super) struct Line {
    pub text: String,
    pub style: Option<Style>,
}

/// What an entry tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Row(RowId),
    Part,
    Warning,
}

/// One line before it is fitted to a width.
#[derive(Debug)]
pub(super) struct Entry {
    pub subject: Subject,
    pub is_running: bool,
    name: String,
    amount: String,
    elapsed: f64,
    style: Option<Style>,
}

impl Entry {
    /// A row, its parts and its warnings.
    pub(super) fn of_row(id: RowId, row: &Row, now: Timestamp) -> Vec<Entry> {
        let mut out = vec![Self::row(id, row, now)];
        // A part that never ended is over when its row is.
        let end = row.completed().unwrap_or(now);
        out.extend(row.parts.iter().map(|p| Self::part(p, end)));
        out.extend(row.warnings.iter().map(|w| Entry {
            subject: Subject::Warning,
            is_running: false,
            name: one_line(&format!("WARN: {}", w.short)),
            amount: String::new(),
            elapsed: row.elapsed(now),
            style: Some(Style::Warning),
        }));
        out
    }

    fn row(id: RowId, row: &Row, now: Timestamp) -> Entry {
        let (word, style) = match row.state() {
            RowState::Waiting | RowState::Running => ("", None),
            RowState::Done => ("", Some(Style::Run)),
            RowState::Cached => ("CACHED ", Some(Style::Run)),
            RowState::Canceled => ("CANCELED ", Some(Style::Cancel)),
            RowState::Failed(_) => ("ERROR ", Some(Style::Error)),
        };
        Entry {
            subject: Subject::Row(id),
            is_running: row.is_running(),
            name: format!("{word}{}", one_line(&row.name)),
            amount: String::new(),
            elapsed: row.elapsed(now),
            style,
        }
    }

    fn part(part: &Part, end: Timestamp) -> Entry {
        let status = &part.status;
        Entry {
            subject: Subject::Part,
            is_running: status.completed.is_none(),
            name: format!("=> {}", one_line(&status.id)),
            amount: amount(status.current, status.total),
            elapsed: status.started.map_or(0.0, |s| seconds(s, status.completed.unwrap_or(end)).max(0.0)),
            style: status.completed.map(|_| Style::Run),
        }
    }

    /// ` => name amount            0.3s`; nothing where the terminal is too narrow.
    pub(super) fn line(&self, width: usize) -> Option<Line> {
        let elapsed = if self.elapsed < 0.05 { 0.0 } else { self.elapsed };
        let timer = format!("{elapsed:.1}s");
        let mut room = width.checked_sub(4 + timer.len() + 3)?;
        let mut amount = self.amount.as_str();
        if room < ROOM_FOR_AMOUNT {
            amount = "";
        } else {
            room -= amount.len();
        }
        if room < NARROWEST {
            return None;
        }
        let left = format!(" => {}{amount}", cut(&self.name, room));
        Some(Line { text: justify(&left, &timer, width), style: self.style })
    }
}

/// Drops entries until `limit` are left: whatever runs stays as long as possible, then the latest.
pub(super) fn fit(entries: &mut Vec<Entry>, limit: usize) {
    let mut excess = entries.len().saturating_sub(limit);
    entries.retain(|e| {
        let drop = excess > 0 && !e.is_running;
        excess -= usize::from(drop);
        !drop
    });
    entries.drain(..entries.len().saturating_sub(limit));
}

/// `left` and `right` at the two ends of a line that leaves the last column free.
pub(super) fn justify(left: &str, right: &str, total: usize) -> String {
    let usable = total.saturating_sub(1);
    if right.is_empty() {
        return cut(left, usable);
    }
    let gap = usable.saturating_sub(width(left) + width(right)).max(1);
    cut(&format!("{left}{}{right}", " ".repeat(gap)), usable)
}

/// The longest beginning of `text` that is at most `limit` columns wide.
pub(super) fn cut(text: &str, limit: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= limit
        })
        .collect()
}

pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Text that cannot move the cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
