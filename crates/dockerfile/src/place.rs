//! Where an instruction stands in its file.

use std::sync::Arc;

use errdefs::{Position, Range};

/// The lines of an instruction. It also knows how the text that was joined from them maps back to columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    first: u32,
    last: u32,
    text: Arc<str>,
    pieces: Arc<[Piece]>,
}

/// The part of the joined text that starts at byte `offset` comes from this line and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub offset: usize,
    pub line: u32,
    pub column: u32,
}

impl Place {
    /// Whole lines `first..=last`, counted from 1.
    pub fn lines(first: u32, last: u32) -> Self {
        Place { first, last: last.max(first), ..Place::default() }
    }

    pub(crate) fn new(first: u32, last: u32, text: &str, pieces: Vec<Piece>) -> Self {
        Place { first, last: last.max(first), text: text.into(), pieces: pieces.into() }
    }

    pub fn first_line(&self) -> u32 {
        self.first
    }

    pub fn last_line(&self) -> u32 {
        self.last
    }

    /// One range for each line, as BuildKit sends them.
    pub fn ranges(&self) -> Vec<Range> {
        (self.first..=self.last).map(|line| Range::lines(line, line)).collect()
    }

    /// The same, but the line where `word` stands first has the columns of the word.
    pub fn ranges_of(&self, word: &str) -> Vec<Range> {
        let mut ranges = self.ranges();
        if let Some(found) = self.find(word)
            && let Some(range) = ranges.iter_mut().find(|r| r.start.line == found.start.line)
        {
            *range = found;
        }
        ranges
    }

    /// The first occurrence of `word`, up to the end of the line that it starts on.
    fn find(&self, word: &str) -> Option<Range> {
        if word.is_empty() {
            return None;
        }
        let start = self.text.find(word)?;
        let index = self.pieces.iter().rposition(|p| p.offset <= start)?;
        let piece = self.pieces[index];
        let piece_end = self.pieces.get(index + 1).map_or(self.text.len(), |next| next.offset);
        let end = (start + word.len()).min(piece_end);
        let columns = |range: std::ops::Range<usize>| self.text.get(range).map(|s| s.chars().count() as u32);
        let from = piece.column + columns(piece.offset..start)?;
        let to = from + columns(start..end)?;
        let at = |character| Position { line: piece.line, character };
        Some(Range { start: at(from), end: at(to) })
    }
}
