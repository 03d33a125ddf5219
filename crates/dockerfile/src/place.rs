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

    /// The lines joined to one, without heredocs.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The byte of the joined text at a position in the file: the nearest of the same line. Nothing for a line that adds
    /// none, as comments and heredocs.
    pub fn offset_at(&self, position: Position) -> Option<usize> {
        let index = self.pieces.iter().position(|piece| piece.line == position.line)?;
        let piece = self.pieces[index];
        let end = self.pieces.get(index + 1).map_or(self.text.len(), |next| next.offset);
        let code = &self.text[piece.offset..end];
        let characters = position.character.saturating_sub(piece.column) as usize;
        let bytes = code.char_indices().nth(characters).map_or(code.len(), |(at, _)| at);
        Some(piece.offset + bytes)
    }

    /// Where the code of a line begins in the joined text; nothing for a line that adds none.
    pub(crate) fn offset_of_line(&self, line: u32) -> Option<usize> {
        self.pieces.iter().find(|piece| piece.line == line).map(|piece| piece.offset)
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

    /// Where `word` stands, up to the end of the line that it starts on.
    fn find(&self, word: &str) -> Option<Range> {
        let start = self.offset_of(word)?;
        self.range(start..start + word.len())
    }

    /// The first occurrence as a word of its own, or else as a part of one.
    fn offset_of(&self, word: &str) -> Option<usize> {
        if word.is_empty() {
            return None;
        }
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let stands_alone = |&at: &usize| {
            !self.text[..at].ends_with(is_part) && !self.text[at + word.len()..].starts_with(is_part)
        };
        let mut starts = self.text.match_indices(word).map(|(at, _)| at);
        starts.find(stands_alone).or_else(|| self.text.find(word))
    }

    /// The columns of bytes of the joined text, up to the end of the line that they start on.
    pub fn range(&self, bytes: std::ops::Range<usize>) -> Option<Range> {
        let start = bytes.start;
        let index = self.pieces.iter().rposition(|p| p.offset <= start)?;
        let piece = self.pieces[index];
        let piece_end = self.pieces.get(index + 1).map_or(self.text.len(), |next| next.offset);
        let end = bytes.end.min(piece_end);
        let columns = |range: std::ops::Range<usize>| self.text.get(range).map(|s| s.chars().count() as u32);
        let from = piece.column + columns(piece.offset..start)?;
        let to = from + columns(start..end)?;
        let at = |character| Position { line: piece.line, character };
        Some(Range { start: at(from), end: at(to) })
    }
}
