use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::detail::{Detail, SourceLocation};

/// Whose turn it is to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The input is wrong: a Dockerfile, a flag, a missing file.
    User,
    /// The surroundings fail: a registry, a disk, a kernel feature.
    Environment,
    /// Kiln is wrong. Ask for a report.
    Internal,
    /// Somebody no longer wants the result.
    Canceled,
}

/// The gRPC status code that an error travels under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: cheap to clone, so that all who share a vertex can be given it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    class: Class,
    code: Code,
    message: Cow<'static, str>,
    details: Vec<Detail>,
    hints: Vec<String>,
    io: Option<std::io::ErrorKind>,
}

impl Error {
    pub fn new(class: Class, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Error(Arc::new(Inner { class, code, message, details: Vec::new(), hints: Vec::new(), io: None }))
    }

    /// The input is wrong.
    pub fn user(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::User, Code::InvalidArgument, message)
    }

    /// Something that the user named is not there.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::User, Code::NotFound, message)
    }

    /// The surroundings fail.
    pub fn environment(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Environment, Code::Unknown, message)
    }

    /// What was asked for is not built yet, or not on this machine.
    pub fn unimplemented(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::User, Code::Unimplemented, message)
    }

    /// Kiln is wrong.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Class::Internal, Code::Internal, message)
    }

    pub fn canceled() -> Self {
        Self::new(Class::Canceled, Code::Canceled, "context canceled")
    }

    pub fn class(&self) -> Class {
        self.0.class
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Typed details, outermost first.
    pub fn details(&self) -> &[Detail] {
        &self.0.details
    }

    /// What the reader may try, most useful first.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The kind of the I/O error underneath, if one was.
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.0.io
    }

    pub fn is_canceled(&self) -> bool {
        self.0.class == Class::Canceled
    }

    pub fn is_not_found(&self) -> bool {
        self.0.code == Code::NotFound
    }

    /// The innermost place in a source file, if one is known.
    pub fn source_location(&self) -> Option<&SourceLocation> {
        self.0.details.iter().rev().find_map(|d| match d {
            Detail::Source(location) => Some(location),
            _ => None,
        })
    }

    /// What a policy put in the place of an image, where it is none.
    pub fn no_image(&self) -> Option<&str> {
        self.0.details.iter().find_map(|d| match d {
            Detail::NoImage { identifier } => Some(identifier.as_str()),
            _ => None,
        })
    }

    /// Says what was being done: the message becomes `<context>: <message>`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        let message = format!("{context}: {}", self.0.message);
        self.edit().message = Cow::Owned(message);
        self
    }

    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.edit().code = code;
        self
    }

    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.edit().class = class;
        self
    }

    /// Adds a detail outside of those that are there.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.edit().details.insert(0, detail);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.edit().hints.push(hint.into());
        self
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("class", &self.0.class)
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("details", &self.0.details)
            .field("hints", &self.0.hints)
            .finish()
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        // One of ours on its way through an I/O trait comes out as it went in.
        let e = match e.downcast::<Error>() {
            Ok(ours) => return ours,
            Err(e) => e,
        };
        let code = match e.kind() {
            K::NotFound => Code::NotFound,
            K::PermissionDenied => Code::PermissionDenied,
            K::AlreadyExists => Code::AlreadyExists,
            K::StorageFull | K::QuotaExceeded => Code::ResourceExhausted,
            _ => Code::Unknown,
        };
        let mut error = Error::new(Class::Environment, code, e.to_string());
        error.edit().io = Some(e.kind());
        if e.kind() == K::StorageFull {
            error = error.hint("free some space, or run `kiln prune`");
        }
        error
    }
}

/// Adds context to the error of a `Result`.
pub trait ResultExt<T> {
    fn context(self, context: impl fmt::Display) -> Result<T>;
    fn with_context<D: fmt::Display>(self, context: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(context))
    }

    fn with_context<D: fmt::Display>(self, context: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| e.into().context(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detail::{Range, SourceInfo};

    #[test]
    fn context_keeps_class_code_and_details() {
        let e = Error::not_found("`/x`")
            .with_detail(Detail::Vertex { digest: "d".into() })
            .context("failed to read");
        assert_eq!(e.to_string(), "failed to read: `/x`");
        assert_eq!((e.class(), e.code(), e.details().len()), (Class::User, Code::NotFound, 1));
    }

    #[test]
    fn an_error_comes_out_of_io_as_it_went_in() {
        let e = Error::from(std::io::Error::other(Error::not_found("`/x`").hint("look")));
        assert_eq!((e.code(), e.hints().len()), (Code::NotFound, 1));
    }

    #[test]
    fn innermost_source_wins() {
        let at = |line| {
            Detail::Source(SourceLocation {
                info: SourceInfo::default(),
                ranges: vec![Range::lines(line, line)],
            })
        };
        let e = Error::user("x").with_detail(at(3)).with_detail(at(1));
        assert_eq!(e.source_location().map(|l| l.ranges[0].start.line), Some(3));
    }

    #[test]
    fn disk_full_is_told_with_a_remedy() {
        let e = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(e.code(), Code::ResourceExhausted);
        assert!(!e.hints().is_empty());
    }
}
