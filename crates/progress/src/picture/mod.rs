//! The fold: a stream of [`SolveStatus`] into rows that a renderer can draw.

mod fold;
mod log;
mod row;
mod spans;

pub use fold::{Change, Picture};
pub(crate) use log::LineLog;
pub use row::{Part, Row, RowId, RowState};
pub(crate) use spans::Spans;
