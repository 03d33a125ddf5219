//! LLB ops as solver ops: keys and execution.
//!
//! [`Ops::vertex`] turns a checked [`llb::Graph`] into vertices that the solver can run. Each op says its key in
//! [`key`] and does its work in a file of its name: [`exec`](mod@exec) runs a process, [`file`](mod@file) edits a tree
//! without one, `merge` and `diff` stack trees, `source` fetches.
//!
//! Never: speaks the wire protocol.

mod content;
mod diff;
mod domain;
mod exec;
mod file;
pub mod key;
mod merge;
mod mounts;
mod name;
mod source;
mod tail;
mod vertex;

pub use domain::{BuildContext, BuildDomain, Value};
pub use mounts::renewed as renewed_cache_mounts;
pub use vertex::{Ops, Parts};
