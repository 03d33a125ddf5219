//! One way to write a Dockerfile, without a change to what it means.
//!
//! What is changed: keywords become upper case, instructions start their line, continuation lines are indented by four
//! spaces, blanks at the ends of lines go, stages have one empty line between them, and nowhere are there two. What
//! never is: comments, parser directives, the order of anything, heredocs, and the words of instructions. The text that
//! a shell gets is such a word, blanks included, so formatting a file makes no step run again; who wants the lines of
//! commands indented as well says so with [`Options::commands`].
//!
//! Every statement is read again once it is formatted; one that would mean something else stays as it was.

use std::fmt::Write as _;

use crate::directive::Reader;
use crate::statement::{self, Statement, Statements};
use crate::words::{split_first, take_flags};
use crate::{Error, lint, parse};

mod lines;

use lines::Layout;

/// How a file is formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Continuation lines of shell commands are indented too. The shell sees other blanks between its words then, so
    /// the steps run once more.
    pub commands: bool,
}

const INDENT: &str = "    ";

/// The file, formatted.
///
/// # Errors
/// All faults of a file that cannot be read. What it means cannot be kept then.
pub fn format(data: &[u8], options: Options) -> Result<String, Vec<Error>> {
    let parsed = parse(data, &mut lint::Linter::new(lint::Settings::silent()));
    if !parsed.errors.is_empty() {
        return Err(parsed.errors);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return Err(vec![Error::new("the file is no UTF-8 text")]);
    };
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(text) => ("\u{feff}", text),
        None => ("", text),
    };
    let statements = statement::split(data);
    Ok(format!("{mark}{}", Formatter::new(text, &statements, options).run(&statements)))
}

/// Writes a file anew, line by line.
struct Formatter<'a> {
    lines: Vec<&'a str>,
    end: &'static str,
    escape: char,
    options: Options,
    out: String,
    /// Lines at the end of `out` that are empty.
    empty: usize,
}

impl<'a> Formatter<'a> {
    fn new(text: &'a str, statements: &Statements, options: Options) -> Self {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let end = if lines.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" };
        Formatter { lines, end, escape: statements.escape, options, out: String::new(), empty: 0 }
    }

    fn run(mut self, statements: &Statements) -> String {
        let mut next = self.directives();
        let mut in_stage = false;
        for statement in &statements.list {
            let first = statement.place.first_line() as usize - 1;
            let is_from = statement.keyword.eq_ignore_ascii_case("from");
            self.between(next, first, is_from && in_stage);
            in_stage |= is_from;
            self.statement(statement);
            next = statement.place.last_line() as usize;
        }
        self.between(next, self.lines.len(), false);
        self.out
    }

    /// Copies the parser directives on top. A comment behind them must not become one, so an empty line that ends them
    /// stays.
    fn directives(&mut self) -> usize {
        let mut reader = Reader::new("#");
        let lines = std::mem::take(&mut self.lines);
        let is_directive =
            |(at, line): &(usize, &&str)| matches!(reader.read(line.trim(), *at as u32 + 1), Ok(Some(_)));
        let count = lines.iter().enumerate().take_while(is_directive).count();
        self.lines = lines;
        for at in 0..count {
            let line = self.lines[at].trim_end_matches(['\r', '\n']);
            self.line(line);
        }
        count
    }

    fn line(&mut self, line: &str) {
        let _ = write!(self.out, "{line}{}", self.end);
        self.empty = if line.is_empty() { self.empty + 1 } else { 0 };
    }

    /// Comments and empty lines between statements. Those right above a stage belong to it.
    fn between(&mut self, from: usize, to: usize, is_stage: bool) {
        let texts: Vec<&'a str> = self.lines[from..to].iter().map(|line| line.trim()).collect();
        let is_end = to == self.lines.len();
        // The comment block that touches the stage.
        let attached = texts.iter().rev().take_while(|line| !line.is_empty()).count();
        for (index, line) in texts.iter().enumerate() {
            let starts_block = is_stage && index + attached == texts.len();
            if starts_block && attached > 0 {
                self.separate();
            }
            let is_last = texts[index..].iter().all(|line| line.is_empty());
            if !line.is_empty() {
                self.line(line);
            } else if self.empty == 0
                && !(is_end && is_last)
                && (!self.out.is_empty() || self.guards(&texts[index..]))
            {
                self.line("");
            }
        }
        if is_stage && attached == 0 {
            self.separate();
        }
    }

    /// Whether an empty line keeps the next comment from being a parser directive.
    fn guards(&self, below: &[&str]) -> bool {
        let comment = below.iter().find(|line| !line.is_empty());
        comment.is_some_and(|line| matches!(Reader::new("#").read(line, 1), Ok(Some(_))))
    }

    fn separate(&mut self) {
        if self.empty == 0 && !self.out.is_empty() {
            self.line("");
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let (first, last) = (statement.place.first_line() as usize - 1, statement.place.last_line() as usize);
        let lines: Vec<&'a str> = self.lines[first..last].to_vec();
        let layout = Layout::new(statement, &lines);
        match self.written(statement, &layout) {
            Some(written) => self.out.push_str(&written),
            None => self.out.extend(lines[..layout.lines.len()].iter().copied()),
        }
        for line in &lines[layout.lines.len()..] {
            self.out.push_str(line);
        }
        if !self.out.ends_with('\n') {
            self.out.push_str(self.end);
        }
        self.empty = 0;
    }

    /// The lines of a statement above its heredocs, changed as far as they still mean the same.
    fn written(&self, statement: &Statement, layout: &Layout<'_>) -> Option<String> {
        let bodies: String =
            statement.heredocs.iter().map(|h| format!("{}{}\n", h.content, h.name)).collect();
        let command = command_start(statement, self.escape);
        let ways = [(command, self.options.commands), (command, false), (0, false)];
        ways.into_iter().find_map(|(command, indents)| {
            let written = self.rewritten(statement, layout, command, indents);
            let again = statement::split_with(&format!("{written}{bodies}"), self.escape);
            match again.list.as_slice() {
                [read] if again.errors.is_empty() && same(statement, read, indents) => Some(written),
                _ => None,
            }
        })
    }

    /// From byte `command` on the joined text is one word; its lines are indented only where `indents` says so.
    fn rewritten(&self, statement: &Statement, layout: &Layout<'_>, command: usize, indents: bool) -> String {
        let shared = layout.shared_indent(command);
        let mut out = String::new();
        for (index, line) in layout.lines.iter().enumerate() {
            let text = line.text.trim_end();
            // Comments go with the code below them.
            let offset = layout.lines[index..].iter().find_map(|line| line.offset).unwrap_or(usize::MAX);
            let line = match line.offset {
                _ if index == 0 => first_line(statement, text),
                None if text.is_empty() => continue,
                None if offset <= command => format!("{INDENT}{}", text.trim_start()),
                _ if offset <= command => format!("{INDENT}{}", self.tidy_end(text.trim_start())),
                _ if indents => {
                    let stripped = text.strip_prefix(shared).filter(|_| !shared.is_empty());
                    let own = stripped.unwrap_or_else(|| text.trim_start());
                    format!("{INDENT}{own}")
                }
                _ => text.to_owned(),
            };
            out.push_str(&line);
            out.push_str(self.end);
        }
        out
    }

    /// With one space at most in front of a continuation mark.
    fn tidy_end(&self, text: &str) -> String {
        match text.strip_suffix(self.escape) {
            Some(before) if before.ends_with(char::is_whitespace) => {
                format!("{} {}", before.trim_end(), self.escape)
            }
            _ => text.to_owned(),
        }
    }
}

/// Keywords in upper case, one space behind the first.
fn first_line(statement: &Statement, line: &str) -> String {
    let (keyword, rest) = split_first(line.trim_start());
    let keyword = keyword.to_uppercase();
    match (keyword.as_str(), rest.unwrap_or_default().trim_start()) {
        (_, "") => keyword,
        ("HEALTHCHECK", rest) => format!("{keyword} {}", upper_kind(rest)),
        ("FROM", rest) => format!("{keyword} {}", upper_as(rest, &statement.arguments.words)),
        (_, rest) => format!("{keyword} {rest}"),
    }
}

/// `CMD` or `NONE` in front.
fn upper_kind(rest: &str) -> String {
    match split_first(rest) {
        (word, _) if word.eq_ignore_ascii_case("none") || word.eq_ignore_ascii_case("cmd") => {
            format!("{}{}", word.to_uppercase(), &rest[word.len()..])
        }
        _ => rest.to_owned(),
    }
}

/// `AS` between an image and a name.
fn upper_as(rest: &str, words: &[String]) -> String {
    let [_, keyword, _] = words else { return rest.to_owned() };
    let is_blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
    let found = rest.rmatch_indices(keyword.as_str()).find(|(at, _)| {
        is_blank(rest[..*at].chars().next_back()) && is_blank(rest[at + keyword.len()..].chars().next())
    });
    match found {
        Some((at, _)) => format!("{}AS{}", &rest[..at], &rest[at + keyword.len()..]),
        None => rest.to_owned(),
    }
}

/// Where the text begins in which every blank counts; past the end where there is none.
fn command_start(statement: &Statement, escape: char) -> usize {
    let text = &statement.text;
    let keyword = statement.keyword.to_uppercase();
    let start = |keyword: &str, rest: &str| -> Option<usize> {
        let (_, after) = take_flags(rest, escape);
        let after = after.trim_start();
        let at = text.len() - after.len();
        match keyword {
            _ if after.starts_with('[') => None,
            "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" => Some(at),
            "MAINTAINER" | "USER" | "WORKDIR" | "STOPSIGNAL" => Some(at),
            "HEALTHCHECK" => Some(text.len() - split_first(after).1.unwrap_or_default().len()),
            _ => None,
        }
    };
    let rest = split_first(text.trim_start()).1.unwrap_or_default();
    let found = match keyword.as_str() {
        // What it holds is kept as text.
        "ONBUILD" => Some(text.len() - rest.trim_start().len()),
        keyword => start(keyword, rest),
    };
    found.unwrap_or(usize::MAX)
}

/// Whether two statements mean the same. With `commands`, a run of blanks outside of quotes is one blank.
fn same(a: &Statement, b: &Statement, commands: bool) -> bool {
    let words = |s: &Statement| -> Vec<String> {
        let is_text = !s.arguments.json && !s.arguments.words.is_empty();
        match s.keyword.to_uppercase().as_str() {
            // An image keeps it as it was written.
            "ONBUILD" => vec![split_first(s.text.trim_start()).1.unwrap_or_default().to_owned()],
            "FROM" if s.arguments.words.len() == 3 => {
                vec![s.arguments.words[0].clone(), s.arguments.words[2].clone()]
            }
            "HEALTHCHECK" => {
                let (kind, rest) =
                    s.arguments.words.split_first().map_or(("", &[][..]), |(k, r)| (k.as_str(), r));
                std::iter::once(kind.to_uppercase()).chain(rest.iter().cloned()).collect()
            }
            _ if is_text && commands => s.arguments.words.iter().map(|w| lines::squashed(w)).collect(),
            _ => s.arguments.words.clone(),
        }
    };
    a.keyword.eq_ignore_ascii_case(&b.keyword)
        && a.flags == b.flags
        && a.heredocs == b.heredocs
        && a.arguments.json == b.arguments.json
        && a.arguments.pairs == b.arguments.pairs
        && words(a) == words(b)
}

#[cfg(test)]
mod tests;
