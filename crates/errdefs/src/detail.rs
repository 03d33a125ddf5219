//! Typed details that travel with an error, in the shapes of BuildKit's `solver/errdefs`.

use serde::{Deserialize, Serialize};

/// A place in a source file. Lines count from 1, characters from 0, as BuildKit's `pb.Position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub line: u32,
    pub character: u32,
}

/// A stretch of a source file. `end` is on the last line that belongs to the range; where `start == end` the whole
/// line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    pub start: Position,
    pub end: Position,
}

impl Range {
    /// Whole lines `first..=last`.
    pub fn lines(first: u32, last: u32) -> Self {
        Range { start: Position { line: first, character: 0 }, end: Position { line: last, character: 0 } }
    }
}

/// The text of a source file that an error points into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceInfo {
    pub filename: String,
    pub data: Vec<u8>,
    /// "Dockerfile" for Dockerfiles.
    pub language: String,
    /// The LLB definition that delivered the file, encoded; empty when unknown.
    pub definition: Vec<u8>,
}

/// A place in a source file, with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    pub info: SourceInfo,
    pub ranges: Vec<Range>,
}

/// One more fault of a file, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub message: String,
    pub ranges: Vec<Range>,
}

/// What a program may want to know about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Where in which source the cause stands.
    Source(SourceLocation),
    /// What else is wrong in the file of [`Detail::Source`], from top to bottom.
    OtherFaults { faults: Vec<Fault> },
    /// The vertex that failed.
    Vertex { digest: String },
    /// A process ended with this code. `signal` and `oom` tell why, where known.
    Exit { code: u32, signal: Option<i32>, oom: bool },
    /// The last lines that a failed step printed, oldest first.
    Output { lines: Vec<String> },
    /// The frontend that failed.
    Frontend { name: String, source: String },
    /// A frontend lacks this capability.
    FrontendCap { name: String },
    /// A frontend does not know this subrequest.
    Subrequest { name: String },
    /// What a policy says of the source that it denies.
    Denied { messages: Vec<String> },
    /// A policy puts this source, which is none, in the place of an image.
    NoImage { identifier: String },
    /// Provenance that was to be complete would lack these.
    MaterialsIncomplete { missing: Vec<MissingMaterial> },
    /// The op that failed, encoded, with ids by which its mounts can be inspected.
    Solve { input_ids: Vec<String>, mount_ids: Vec<String>, op: Vec<u8>, subject: Option<Subject> },
}

/// Something that a build uses and that has no digest to be told by. What is empty is not known, or has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingMaterial {
    /// The vertex that used it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The command of that, or the name of a folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Of a request through a proxy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// In one word, as `local_source`.
    pub reason: String,
}

/// The part of an op that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The action of this index, of a file op.
    Action(i64),
    /// Looking at the content of the input of this index.
    Content(i64),
}
