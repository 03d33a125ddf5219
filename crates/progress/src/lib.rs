//! Build events, and how a stream of them folds into a picture.
//!
//! Work is told as [`Event`]s through a [`Sink`]. On the other side of the wire a [`Picture`] folds the stream into
//! rows, and a [`Renderer`] turns the picture into text: [`Plain`] line by line as BuildKit prints it, [`Tty`] as a
//! screen that is drawn again and again, [`RawJson`] for programs, [`Quiet`] not at all.
//!
//! Never: touches a terminal, a clock or the wire. Time and size come in as arguments, text goes out as bytes.

mod event;
mod frame;
mod measure;
mod picture;
mod plain;
mod rawjson;
mod render;
mod sink;
mod summary;
mod tty;

pub use event::{Event, ProgressGroup, SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
pub use frame::source_frame;
pub use measure::{bytes_si, seconds};
pub use picture::{Change, Part, Picture, Row, RowId, RowState};
pub use plain::Plain;
pub use rawjson::{RawJson, warning_json};
pub use render::{Quiet, Renderer, Size};
pub use sink::{Sink, Step, discard};
pub use summary::Summary;
pub use tty::{Options as TtyOptions, Theme, Tty};
