//! Build events, and how a stream of them folds into a picture.
//!
//! Never: touches a terminal or the wire.

mod event;
mod sink;

pub use event::{Event, ProgressGroup, SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
pub use sink::{Sink, Step, discard};
