//! Text, and the two ways to count in it: editors count lines from 0 and columns in UTF-16, faults lines from 1 and
//! columns in characters.

use errdefs::Range as Place;
use lsp_types::{Position, Range};

/// A byte order mark, which no fault counts.
const MARK: char = '\u{feff}';

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Text {
    text: String,
    /// The first byte of each line.
    starts: Vec<usize>,
}

impl Text {
    pub fn new(text: String) -> Text {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Text { text, starts }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A line without its end, counted from 0; empty where there is none.
    pub fn line(&self, index: usize) -> &str {
        let Some(&start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text[start..end].trim_end_matches('\r')
    }

    /// The byte at a position, or the nearest one.
    pub fn offset(&self, position: Position) -> usize {
        let index = position.line as usize;
        let Some(&start) = self.starts.get(index) else { return self.text.len() };
        start + utf16_to_byte(self.line(index), position.character)
    }

    /// Replaces a part.
    pub fn replace(&mut self, range: Range, new: &str) {
        let (start, end) = (self.offset(range.start), self.offset(range.end));
        let mut text = std::mem::take(&mut self.text);
        text.replace_range(start.min(end)..end.max(start), new);
        *self = Text::new(text);
    }

    /// As the parser counts.
    pub fn place(&self, position: Position) -> errdefs::Position {
        let line = self.line(position.line as usize);
        let before = &line[..utf16_to_byte(line, position.character)];
        let marks = usize::from(position.line == 0 && before.starts_with(MARK));
        errdefs::Position { line: position.line + 1, character: (before.chars().count() - marks) as u32 }
    }

    /// As the editor counts. A range without columns is what stands on its first line.
    pub fn range(&self, place: Place) -> Range {
        let index = place.start.line.saturating_sub(1);
        if place.start == place.end {
            let line = self.line(index as usize);
            let start = line.len() - line.trim_start_matches(|c: char| c.is_whitespace() || c == MARK).len();
            return Range {
                start: at(index, line, start),
                end: at(index, line, line.trim_end().len().max(start)),
            };
        }
        Range { start: self.position(place.start), end: self.position(place.end) }
    }

    fn position(&self, position: errdefs::Position) -> Position {
        let index = position.line.saturating_sub(1);
        let line = self.line(index as usize);
        let marks = usize::from(index == 0 && line.starts_with(MARK));
        let bytes =
            line.char_indices().nth(position.character as usize + marks).map_or(line.len(), |(at, _)| at);
        at(index, line, bytes)
    }

    /// The end of the text.
    pub fn end(&self) -> Position {
        let index = self.starts.len() - 1;
        at(index as u32, self.line(index), self.line(index).len())
    }
}

fn at(index: u32, line: &str, byte: usize) -> Position {
    Position { line: index, character: utf16(&line[..byte]) }
}

/// The length of a text as editors count.
pub(crate) fn utf16(text: &str) -> u32 {
    text.chars().map(char::len_utf16).sum::<usize>() as u32
}

/// Where the character begins that holds this unit, or the end.
fn utf16_to_byte(line: &str, character: u32) -> usize {
    let mut units = 0;
    for (at, c) in line.char_indices() {
        units += c.len_utf16() as u32;
        if units > character {
            return at;
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn units_are_those_of_utf16() {
        let text = Text::new("a😀b\r\nß\n".to_owned());
        let check = |line, character, expected| {
            assert_eq!(text.offset(position(line, character)), expected, "{line}:{character}");
        };
        check(0, 1, 1);
        // Within a pair.
        check(0, 2, 1);
        check(0, 3, 5);
        check(0, 99, 6);
        check(1, 0, 8);
        check(1, 1, 10);
        check(2, 0, 11);
        check(9, 0, 11);
        assert_eq!(text.end(), position(2, 0));
        assert_eq!(text.place(position(0, 3)), errdefs::Position { line: 1, character: 2 });
    }

    #[test]
    fn places_become_ranges() {
        let text = Text::new("\u{feff}FROM 😀 x\n  RUN y  \n".to_owned());
        let place = |line, from, to| Place {
            start: errdefs::Position { line, character: from },
            end: errdefs::Position { line, character: to },
        };
        let range = |line, from, to| Range { start: position(line, from), end: position(line, to) };
        assert_eq!(text.range(place(1, 5, 6)), range(0, 6, 8));
        assert_eq!(text.range(place(2, 0, 0)), range(1, 2, 7));
        assert_eq!(text.range(place(1, 0, 0)), range(0, 1, 10));
        assert_eq!(text.range(place(0, 0, 0)), range(0, 1, 10));
        assert_eq!(text.range(place(9, 0, 0)), range(8, 0, 0));
        assert_eq!(text.place(position(0, 6)), errdefs::Position { line: 1, character: 5 });
    }

    #[test]
    fn parts_are_replaced() {
        let check = |before: &str, range: (u32, u32, u32, u32), new, after| {
            let mut text = Text::new(before.to_owned());
            let (a, b, c, d) = range;
            text.replace(Range { start: position(a, b), end: position(c, d) }, new);
            assert_eq!(text, Text::new(String::from(after)));
        };
        check("a\nb\n", (0, 1, 1, 0), "", "ab\n");
        check("a😀b", (0, 1, 0, 3), "x\ny", "ax\nyb");
        check("a", (5, 0, 6, 0), "b", "ab");
        check("abc", (0, 2, 0, 1), "", "ac");
    }
}
