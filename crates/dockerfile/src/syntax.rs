//! A file as an editor sees it: each instruction with the places of its parts, those with faults too.
//!
//! Bytes that are given here are those of the joined text of a place.

use std::ops::Range;

use errdefs::Position;

use crate::place::Place;
use crate::statement;
use crate::words::{flag_words, quoted_words, split_first};

/// The instructions of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syntax {
    pub escape: char,
    pub statements: Vec<Statement>,
}

/// An instruction as it is written. Where it is one of ONBUILD, the parts are those of the trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub place: Place,
    /// Of `ONBUILD`, where that stands in front.
    pub onbuild: Option<Range<usize>>,
    pub keyword: Range<usize>,
    /// Each with its dashes and its value.
    pub flags: Vec<Range<usize>>,
    /// What stands between blanks that are neither quoted nor escaped.
    pub words: Vec<Range<usize>>,
}

impl Syntax {
    pub fn of(text: &str) -> Syntax {
        let statements = statement::split(text.as_bytes());
        let escape = statements.escape;
        let statements = statements.places.into_iter().map(|place| Statement::of(place, escape)).collect();
        Syntax { escape, statements }
    }

    /// The instruction that has this line, counted from 1, among its own, heredocs included.
    pub fn at_line(&self, line: u32) -> Option<usize> {
        let index = self.statements.partition_point(|s| s.place.last_line() < line);
        self.statements.get(index).filter(|s| s.place.first_line() <= line).map(|_| index)
    }
}

impl Statement {
    fn of(place: Place, escape: char) -> Statement {
        let text = place.text();
        let mut keyword = first_word(text, 0);
        let mut onbuild = None;
        if text[keyword.clone()].eq_ignore_ascii_case("onbuild") {
            let trigger = first_word(text, keyword.end);
            onbuild = Some(std::mem::replace(&mut keyword, trigger));
        }
        let shifted = |by: usize| move |range: Range<usize>| range.start + by..range.end + by;
        let (flags, rest) = flag_words(&text[keyword.end..], escape);
        let rest = keyword.end + rest;
        let flags = flags.into_iter().map(shifted(keyword.end)).collect();
        let words = quoted_words(&text[rest..], escape).into_iter().map(shifted(rest)).collect();
        Statement { onbuild, keyword, flags, words, place }
    }

    pub fn text(&self, part: Range<usize>) -> &str {
        self.place.text().get(part).unwrap_or_default()
    }

    /// The keyword in upper case.
    pub fn name(&self) -> String {
        self.text(self.keyword.clone()).to_uppercase()
    }

    /// Whether the words are for a shell.
    pub fn is_command(&self) -> bool {
        matches!(self.name().as_str(), "RUN" | "CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "SHELL")
    }

    /// A flag's name without dashes, and its value.
    pub fn flag(&self, part: &Range<usize>) -> (Range<usize>, Option<Range<usize>>) {
        let start = part.start + 2;
        match self.text(start..part.end).find('=') {
            Some(sign) => (start..start + sign, Some(start + sign + 1..part.end)),
            None => (start..part.end, None),
        }
    }

    /// The byte at a position. An empty line among continuations stands for the beginning of what follows. Nothing in
    /// comments and heredocs.
    pub fn offset_at(&self, position: Position, is_empty_line: bool) -> Option<usize> {
        let lines = position.line..=self.place.last_line();
        match self.place.offset_at(position) {
            None if is_empty_line => {
                let start = |line| self.place.offset_at(Position { line, character: 0 });
                lines.skip(1).find_map(start)
            }
            found => found,
        }
    }
}

/// The word behind blanks from a byte on; it may be empty.
fn first_word(text: &str, from: usize) -> Range<usize> {
    let rest = text[from..].trim_start();
    let start = text.len() - rest.len();
    start..start + split_first(rest).0.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of each instruction of a file.
    fn parts(text: &str) -> Vec<String> {
        let parts = |s: &Statement| {
            let list = |ranges: &[Range<usize>]| {
                ranges.iter().map(|r| s.text(r.clone())).collect::<Vec<_>>().join("|")
            };
            let onbuild = if s.onbuild.is_some() { "^" } else { "" };
            format!("{onbuild}{} [{}] [{}]", s.text(s.keyword.clone()), list(&s.flags), list(&s.words))
        };
        Syntax::of(text).statements.iter().map(parts).collect()
    }

    #[test]
    fn instructions_have_parts() {
        let check = |text, expected: &[&str]| assert_eq!(parts(text), expected, "{text}");
        check("FROM --platform=$X a AS b", &["FROM [--platform=$X] [a|AS|b]"]);
        check("  copy --from=a \\\n --link x\\ y 'a b'", &["copy [--from=a|--link] [x\\ y|'a b']"]);
        check("ONBUILD  RUN --network=none x", &["^RUN [--network=none] [x]"]);
        check("ONBUILD", &["^ [] []"]);
        check("RUN", &["RUN [] []"]);
        check("ENV x\nFOO --a b", &["ENV [] [x]", "FOO [--a] [b]"]);
        check("RUN <<E\nRUN y\nE\nRUN z", &["RUN [] [<<E]", "RUN [] [z]"]);
        check("", &[]);
    }

    #[test]
    fn positions_and_bytes_go_both_ways() {
        let syntax = Syntax::of("# c\n  RUN ä \\\n\n# c\n  ß <<E\nx\nE\n");
        let run = &syntax.statements[0];
        let at = |line, character| run.offset_at(Position { line, character }, line == 3);
        assert_eq!(run.place.text(), "RUN ä   ß <<E");
        assert_eq!([at(2, 0), at(2, 2), at(2, 6), at(2, 7), at(2, 99)], [0, 0, 4, 6, 7].map(Some));
        assert_eq!([at(5, 2), at(5, 3)], [9, 11].map(Some));
        // Empty, a comment, a heredoc.
        assert_eq!([at(3, 0), at(4, 1), at(6, 0)], [Some(7), None, None]);
        let range = run.place.range(9..11).expect("within");
        assert_eq!((range.start, range.end.character), (Position { line: 5, character: 2 }, 3));
        assert_eq!([1, 2, 7, 8].map(|line| syntax.at_line(line)), [None, Some(0), Some(0), None]);
    }

    #[test]
    fn flags_have_names_and_values() {
        let syntax = Syntax::of("COPY --from=a --link b c");
        let copy = &syntax.statements[0];
        let flags: Vec<_> = copy
            .flags
            .iter()
            .map(|flag| copy.flag(flag))
            .map(|(name, value)| (copy.text(name), value.map(|value| copy.text(value))))
            .collect();
        assert_eq!(flags, [("from", Some("a")), ("link", None)]);
    }
}
