//! The graph engine: keys, lookup, scheduling.
//!
//! A [`Job`] asks for an output of a [`Vertex`]; the [`Scheduler`] finds the cheapest way to it: a record found by
//! definition keys, then one found by content keys, else running the [`Op`]. Jobs share vertices. The decisions are
//! made by plain code in `core` (`step(event) -> commands`); `scheduler` carries the commands out on tokio.
//! `docs/solver.md` draws the states.
//!
//! Never: know a container, a file or a network.

mod caches;
mod core;
mod driver;
mod flatten;
mod job;
mod keys;
mod memory;
mod op;
mod remote;
mod results;
mod scheduler;
mod show;
pub mod suite;
mod task;
mod vertex;

pub use job::{Job, Lineage};
pub use keys::{Entry, KeyId, KeyInfo, KeyStore, Link};
pub use memory::{MemoryKeys, MemoryResults};
pub use op::{CacheMap, CacheMapPart, ContentKey, Dep, Domain, Jobs, Op, OpContext, ParallelClass};
pub use remote::{RemoteCache, RemoteKeys};
pub use results::{Record, ResultId, ResultStore};
pub use scheduler::{Options, Scheduler};
pub use vertex::{Edge, Vertex, VertexOptions};
