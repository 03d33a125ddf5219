//! The physical lines of a statement.

use crate::statement::Statement;

/// A line above the heredocs of a statement, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub text: &'a str,
    /// Where its code begins in the joined text; nothing for comments and empty lines.
    pub offset: Option<usize>,
}

pub(super) struct Layout<'a> {
    pub lines: Vec<Line<'a>>,
}

impl<'a> Layout<'a> {
    /// `lines` are all of the statement, heredocs included.
    pub fn new(statement: &Statement, lines: &[&'a str]) -> Self {
        let below: usize =
            statement.heredocs.iter().map(|h| h.content.split_inclusive('\n').count() + 1).sum();
        let own = lines.len().saturating_sub(below);
        let first = statement.place.first_line();
        let line = |(index, text): (usize, &&'a str)| Line {
            text: text.trim_end_matches(['\r', '\n']),
            offset: statement.place.offset_of_line(first + index as u32),
        };
        Layout { lines: lines[..own].iter().enumerate().map(line).collect() }
    }

    /// The blanks that all lines of the text from `command` on begin with, the first line left out.
    pub fn shared_indent(&self, command: usize) -> &'a str {
        let code = self.lines.iter().skip(1).filter(|line| line.offset.is_some_and(|at| at > command));
        let indents =
            code.map(|line| &line.text[..line.text.len() - line.text.trim_start_matches([' ', '\t']).len()]);
        indents.reduce(common_prefix).unwrap_or_default()
    }
}

fn common_prefix<'a>(a: &'a str, b: &'a str) -> &'a str {
    let length = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    &a[..length]
}

/// The text with one space for each run of blanks outside of quotes.
pub(super) fn squashed(text: &str) -> String {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if matches!(c, ' ' | '\t') => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
                continue;
            }
            None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ => {}
        }
        out.push(c);
        if c == '\\' && quote != Some('\'') {
            out.extend(chars.next());
        }
    }
    out
}
