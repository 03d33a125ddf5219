//! The decisions, as plain code with one owner: [`Core::step`] takes an event and gives back commands.
//!
//! Whoever carries out a command with a task id owes exactly one event with that id, also after [`Command::Cancel`];
//! the core drops what comes too late. Nothing here waits, spawns or reads a clock, so a run is repeated by repeating
//! its events.

mod advance;
mod edges;
mod engine;
mod event;
mod graph;
mod load;
mod lookup;
mod merge;
mod node;

pub use engine::Core;
pub use event::{Asker, Command, Event, JobId, Part, PartDep, RequestId, Spec, TaskId, VertexId};

#[cfg(test)]
mod tests;
