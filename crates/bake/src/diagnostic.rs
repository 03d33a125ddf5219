//! Faults of bake files: where they stand and what led there.

use std::fmt;

use errdefs::{Detail, Error, Position, Range, SourceInfo, SourceLocation};

/// A stretch of bytes of one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub file: u16,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn to(self, end: Span) -> Span {
        Span { end: end.end.max(self.start), ..self }
    }
}

/// A file as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// As the user named it; `-` for standard input.
    pub name: String,
    pub data: Vec<u8>,
}

impl File {
    pub fn new(name: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        File { name: name.into(), data: data.into() }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn position(&self, offset: u32) -> (u32, u32) {
        let before = &self.data[..self.data.len().min(offset as usize)];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        (line as u32, column as u32)
    }
}

/// What is wrong, in two parts as HCL tells it: what kind of fault, and what exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    summary: String,
    detail: String,
    span: Option<Span>,
    hints: Vec<String>,
    /// What was being resolved, innermost first.
    chain: Vec<String>,
    /// Whether the budget is used up: nothing may catch it.
    fatal: bool,
}

impl Fault {
    pub fn new(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Fault(Box::new(Inner {
            summary: summary.into(),
            detail: detail.into(),
            span: None,
            hints: Vec::new(),
            chain: Vec::new(),
            fatal: false,
        }))
    }

    /// One without a place and a kind.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new("", message)
    }

    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.0.span.get_or_insert(span);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    #[must_use]
    pub fn while_in(mut self, what: impl Into<String>) -> Self {
        self.0.chain.push(what.into());
        self
    }

    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.0.fatal = true;
        self
    }

    /// Gives one without a kind this kind.
    #[must_use]
    pub fn or_summary(mut self, summary: &str) -> Self {
        if self.0.summary.is_empty() {
            self.0.summary = summary.to_owned();
        }
        self
    }

    pub fn is_fatal(&self) -> bool {
        self.0.fatal
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn span(&self) -> Option<Span> {
        self.0.span
    }

    /// The error of the program, with its place in the text of the file.
    pub fn error(&self, files: &[File]) -> Error {
        let place = self.0.span.and_then(|span| Some((span, files.get(usize::from(span.file))?)));
        let message = match place {
            None => self.to_string(),
            Some((span, file)) => {
                let ((line, column), end) = (file.position(span.start), file.position(span.end));
                match line == end.0 {
                    true => format!("{}:{line},{column}-{}: {self}", file.name, end.1),
                    false => format!("{}:{line},{column}-{},{}: {self}", file.name, end.0, end.1),
                }
            }
        };
        let mut error = Error::user(message);
        if let Some((span, file)) = place {
            error = error.with_detail(Detail::Source(location(file, span)));
        }
        if !self.0.chain.is_empty() {
            error = error.hint(format!("this was found for {}", self.0.chain.join(", needed by ")));
        }
        self.0.hints.iter().fold(error, |error, hint| error.hint(hint.clone()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.summary.is_empty() {
            true => f.write_str(&self.0.detail),
            false => write!(f, "{}; {}", self.0.summary, self.0.detail),
        }
    }
}

/// The place as errors carry it.
pub fn location(file: &File, span: Span) -> SourceLocation {
    let at = |offset| {
        let (line, column) = file.position(offset);
        Position { line, character: column.saturating_sub(1) }
    };
    let info = SourceInfo {
        filename: file.name.clone(),
        data: file.data.clone(),
        language: String::new(),
        definition: Vec::new(),
    };
    SourceLocation { info, ranges: vec![Range { start: at(span.start), end: at(span.end) }] }
}

/// Something odd that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub message: String,
    pub span: Span,
}

/// The name among `known` that `name` was probably meant to be.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let near = known.into_iter().map(|k| (distance(name, k), k)).filter(|(d, _)| *d <= limit);
    near.min().map(|(_, k)| k)
}

/// How many letters must change, come or go. Bounded by the lengths of names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}
