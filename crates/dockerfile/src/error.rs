use std::fmt;

use errdefs::{Detail, Range, SourceInfo, SourceLocation};

use crate::place::Place;

/// A fault in a Dockerfile and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
    /// The word at fault, until the place of its instruction is known.
    word: Option<String>,
    ranges: Vec<Range>,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), word: None, ranges: Vec::new() }
    }

    /// Remembers the word at fault, so that [`Error::at`] can point to it.
    #[must_use]
    pub fn about(mut self, word: &str) -> Self {
        self.word.get_or_insert_with(|| word.to_owned());
        self
    }

    /// Says where the fault is, unless that is known already.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        if self.ranges.is_empty() {
            self.ranges = match &self.word {
                Some(word) => place.ranges_of(word),
                None => place.ranges(),
            };
        }
        self
    }

    /// The message becomes `<context>: <message>`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// One range a line; that of the word at fault has its columns.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The error that crosses crate borders, with a frame of the file when the place is known.
    pub fn with_source(self, info: SourceInfo) -> errdefs::Error {
        let error = errdefs::Error::user(self.message);
        if self.ranges.is_empty() {
            return error;
        }
        error.with_detail(Detail::Source(SourceLocation { info, ranges: self.ranges }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for errdefs::Error {
    /// Loses the place: use [`Error::with_source`] where the file is at hand.
    fn from(e: Error) -> Self {
        errdefs::Error::user(e.message)
    }
}
