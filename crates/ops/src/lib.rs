//! LLB ops as solver ops: keys and execution.
//!
//! [`Ops::vertex`] turns a checked [`llb::Graph`] into vertices that the solver can run. Each op says its key in
//! [`key`] and does its work in a file of its name: [`exec`](mod@exec) runs a process, [`file`](mod@file) edits a tree
//! without one, `merge` and `diff` stack trees, `source` fetches, `build` runs another graph, and
//! `passthrough` hands its inputs on.
//!
//! Never: speaks the wire protocol.

mod build;
mod content;
mod diff;
mod domain;
mod exec;
mod file;
mod judge;
pub mod key;
mod merge;
mod mounts;
mod name;
mod passthrough;
mod recopy;
mod source;
mod ssh;
mod tail;
mod vertex;

pub use domain::{BuildContext, BuildDomain, Failure, Failures, Value};
pub use exec::{default_path, extra_hosts, network, secret_env, traffic, usage};
pub use mounts::{Prepared, Purpose, prepare as prepare_mounts, renewed as renewed_cache_mounts, unique_id};
pub use source::pin;
pub use vertex::{Ops, Parts, allow};
