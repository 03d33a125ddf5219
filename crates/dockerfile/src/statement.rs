//! The lexical layer: lines to statements. Knows how each keyword splits its arguments, not what they mean.

use crate::directive::Reader;
use crate::heredoc::Heredoc;
use crate::instruction::KeyValue;
use crate::place::{Piece, Place};
use crate::words::{split_blanks, split_first, split_quoted, take_flags};
use crate::{DEFAULT_ESCAPE, Error, Result, json};

/// One instruction, split into its parts.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    /// As it was written.
    pub keyword: String,
    pub flags: Vec<String>,
    pub arguments: Arguments,
    pub heredocs: Vec<Heredoc>,
    /// The joined line, without its heredocs.
    pub text: String,
    pub place: Place,
    pub comments: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Arguments {
    pub words: Vec<String>,
    /// The words came from a JSON array.
    pub json: bool,
    pub pairs: Vec<KeyValue>,
}

/// What a file consists of.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    pub list: Vec<Statement>,
    pub escape: char,
    pub errors: Vec<Error>,
    /// Of all statements, the faulty ones too.
    pub places: Vec<Place>,
    /// The last lines of statements with an empty line among their continuations.
    pub empty_continuations: Vec<Place>,
}

/// Longest line in bytes, without its end.
const LONGEST_LINE: usize = 65_535;

/// Splits a file. A faulty statement is reported and left out.
pub(crate) fn split(data: &[u8]) -> Statements {
    let text = String::from_utf8_lossy(data);
    let mut splitter = Splitter {
        lines: Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(&text), number: 0 },
        out: Statements { escape: DEFAULT_ESCAPE, ..Statements::default() },
        directives: Reader::new("#"),
        comments: Vec::new(),
    };
    while let Some(line) = splitter.next_line() {
        splitter.line(line);
    }
    let Splitter { lines, mut out, .. } = splitter;
    if out.list.is_empty() && out.errors.is_empty() {
        let place = Place::lines(lines.number, lines.number);
        out.errors.push(Error::new("file with no instructions").at(&place));
    }
    out
}

/// As [`split`], of lines that stand behind the directives of their file.
pub(crate) fn split_with(text: &str, escape: char) -> Statements {
    let mut directives = Reader::new("#");
    // What is no directive ends them.
    let _ = directives.read("", 0);
    let mut splitter = Splitter {
        lines: Lines { rest: text, number: 0 },
        out: Statements { escape, ..Statements::default() },
        directives,
        comments: Vec::new(),
    };
    while let Some(line) = splitter.next_line() {
        splitter.line(line);
    }
    splitter.out
}

/// Physical lines, with their ends.
struct Lines<'a> {
    rest: &'a str,
    /// Of the line that was given last, from 1.
    number: u32,
}

/// A logical line: physical ones joined at their continuations.
struct Joined {
    text: String,
    first: u32,
    pieces: Vec<Piece>,
}

impl Joined {
    fn push(&mut self, part: &str, line: u32, column: usize) {
        self.pieces.push(Piece { offset: self.text.len(), line, column: column as u32 });
        self.text.push_str(part);
    }

    fn place(&self, last: u32) -> Place {
        Place::new(self.first, last, &self.text, self.pieces.clone())
    }
}

struct Splitter<'a> {
    lines: Lines<'a>,
    out: Statements,
    directives: Reader,
    comments: Vec<String>,
}

impl<'a> Splitter<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let rest = self.lines.rest;
        if rest.is_empty() {
            return None;
        }
        let (line, after) = rest.split_at(rest.find('\n').map_or(rest.len(), |at| at + 1));
        self.lines.number += 1;
        self.lines.rest = after;
        if line.trim_end_matches('\n').len() > LONGEST_LINE {
            self.fault(format!("dockerfile line greater than max allowed size of {LONGEST_LINE}"));
            self.lines.rest = "";
            return None;
        }
        Some(line)
    }

    /// Reports a fault of the current line.
    fn fault(&mut self, message: String) {
        let place = Place::lines(self.lines.number, self.lines.number);
        self.out.errors.push(Error::new(message).at(&place));
    }

    /// Takes one line at the start of a statement, or none.
    fn line(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']);
        let trimmed = line.trim_start();
        match self.directives.read(trimmed, self.lines.number) {
            Ok(Some(directive)) => {
                return if directive.name == "escape" {
                    self.set_escape(&directive.value)
                };
            }
            Ok(None) => {}
            Err(e) => self.fault(e.message().to_owned()),
        }
        if let Some(comment) = trimmed.strip_prefix('#') {
            match comment.trim() {
                "" => self.comments.clear(),
                comment => self.comments.push(comment.to_owned()),
            }
        } else if !trimmed.is_empty() {
            let joined = self.join(line);
            let comments = std::mem::take(&mut self.comments);
            let parts = self.parts(&joined.text);
            let place = joined.place(self.lines.number);
            self.out.places.push(place.clone());
            match parts {
                Ok((Parts { keyword, flags, arguments, .. }, heredocs)) => {
                    let text = joined.text;
                    self.out.list.push(Statement {
                        keyword,
                        flags,
                        arguments,
                        heredocs,
                        text,
                        place,
                        comments,
                    });
                }
                Err(e) => self.out.errors.push(e.at(&place)),
            }
        }
    }

    fn set_escape(&mut self, value: &str) {
        match value {
            "\\" => self.out.escape = '\\',
            "`" => self.out.escape = '`',
            other => self.fault(format!("invalid escape token '{other}' does not match ` or \\")),
        }
    }

    /// Follows continuations. Comments between the lines are dropped, and so are empty lines, which are noted.
    fn join(&mut self, line: &str) -> Joined {
        let mut joined = Joined { text: String::new(), first: self.lines.number, pieces: Vec::new() };
        let start = line.trim_start();
        let column = line.chars().count() - start.chars().count();
        let (part, mut more) = continued(start, self.out.escape);
        joined.push(part, joined.first, column);
        let mut empty_line = false;
        while more {
            let Some(line) = self.next_line() else { break };
            let line = line.trim_end_matches(['\r', '\n']);
            match line.trim_start().chars().next() {
                None => empty_line = true,
                Some('#') => {}
                Some(_) => {
                    let part;
                    (part, more) = continued(line, self.out.escape);
                    joined.push(part, self.lines.number, 0);
                }
            }
        }
        if empty_line {
            self.out.empty_continuations.push(Place::lines(self.lines.number, self.lines.number));
        }
        joined
    }

    /// Takes a joined line apart and reads its heredocs from the lines below.
    fn parts(&mut self, line: &str) -> Result<(Parts, Vec<Heredoc>)> {
        let parts = Parts::of(line, self.out.escape)?;
        let has_heredocs = parts.may_have_heredocs && line.contains("<<");
        let heredocs = if has_heredocs { self.heredocs(line)? } else { Vec::new() };
        Ok((parts, heredocs))
    }

    /// Reads the texts of the heredocs that `line` announces from the lines below.
    fn heredocs(&mut self, line: &str) -> Result<Vec<Heredoc>> {
        let mut heredocs = Heredoc::of_line(line)?;
        for heredoc in &mut heredocs {
            loop {
                let Some(line) = self.next_line() else { return Err(unterminated(&heredoc.name)) };
                if heredoc.ends_with(line.trim_end_matches(['\r', '\n'])) {
                    break;
                }
                heredoc.content.push_str(line);
            }
        }
        Ok(heredocs)
    }
}

fn unterminated(name: &str) -> Error {
    Error::new("unterminated heredoc").about(name)
}

/// The line without its continuation mark, and whether it had one. A doubled escape is no mark.
fn continued(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

/// A logical line taken apart.
struct Parts {
    keyword: String,
    flags: Vec<String>,
    arguments: Arguments,
    may_have_heredocs: bool,
}

impl Parts {
    fn of(line: &str, escape: char) -> Result<Parts> {
        let (keyword, rest) = split_first(line.trim());
        let (flags, rest) = take_flags(rest.unwrap_or_default(), escape);
        let rest = rest.trim();
        let lower = keyword.to_lowercase();
        let mut may_have_heredocs = matches!(lower.as_str(), "add" | "copy" | "run");
        let arguments = if lower == "onbuild" && !rest.is_empty() {
            // A trigger in a trigger is refused later, so this does not go deep.
            if split_first(rest).0.eq_ignore_ascii_case("onbuild") {
                Arguments { words: vec![rest.to_owned()], ..Arguments::default() }
            } else {
                let inner = Parts::of(rest, escape)?;
                may_have_heredocs = inner.may_have_heredocs;
                let words = std::iter::once(inner.keyword).chain(inner.arguments.words).collect();
                Arguments { words, ..Arguments::default() }
            }
        } else {
            arguments(&lower, rest, escape)?
        };
        may_have_heredocs &= !arguments.json;
        Ok(Parts { keyword: keyword.to_owned(), flags, arguments, may_have_heredocs })
    }
}

fn arguments(keyword: &str, rest: &str, escape: char) -> Result<Arguments> {
    let words = |words| Arguments { words, ..Arguments::default() };
    if rest.is_empty() {
        return Ok(Arguments::default());
    }
    Ok(match keyword {
        "add" | "copy" | "volume" => match json::array(rest)? {
            Some(words) => Arguments { words, json: true, ..Arguments::default() },
            None => words(split_blanks(rest)),
        },
        "cmd" | "entrypoint" | "run" | "shell" => match json::array(rest)? {
            Some(words) => Arguments { words, json: true, ..Arguments::default() },
            None => words(vec![rest.to_owned()]),
        },
        "healthcheck" => {
            let at = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (kind, command) = (rest[..at].to_owned(), rest[at..].trim_start());
            match json::array(command)? {
                Some(words) => Arguments {
                    words: std::iter::once(kind).chain(words).collect(),
                    json: true,
                    ..Arguments::default()
                },
                None if command.is_empty() => words(vec![kind]),
                None => words(vec![kind, command.to_owned()]),
            }
        }
        "env" | "label" => Arguments { pairs: pairs(keyword, rest, escape)?, ..Arguments::default() },
        "arg" => words(split_quoted(rest, escape)),
        "expose" | "from" => words(split_blanks(rest)),
        _ => words(vec![rest.to_owned()]),
    })
}

/// `key=value ...`, or the old `key value` where the rest of the line is one value.
fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<KeyValue>> {
    let words = split_quoted(rest, escape);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (key, value) = split_first(rest);
        let keyword = keyword.to_uppercase();
        let value = value.ok_or_else(|| Error::new(format!("{keyword} must have two arguments")))?;
        return Ok(vec![KeyValue { key: key.to_owned(), value: value.to_owned(), legacy: true }]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) => Ok(KeyValue { key: key.to_owned(), value: value.to_owned(), legacy: false }),
        None => {
            let quoted = crate::go::quote(word);
            let message = format!("Syntax error - can't find = in {quoted}. Must be of the form: name=value");
            Err(Error::new(message).about(word))
        }
    };
    words.iter().map(pair).collect()
}
