//! Typed client of the daemon; drives Kiln or BuildKit alike.
//!
//! A build is three calls at once: `Session` turns a stream around so that the engine can ask for files and secrets,
//! `Status` tells what happens, `Solve` runs the build. [`Client::solve`] is all three.
//!
//! Never: draws or parses arguments.

mod address;
mod client;
mod images;
mod request;
mod run;
mod solve;
mod status;
mod usage;

pub use address::Address;
pub use client::{Client, EngineVersion, Worker};
pub use images::Image;
pub use request::{CacheEntry, Exporter, SolveRequest, SolveResponse, new_id};
pub use run::{BindMount, Run, RunEvent, RunExit, RunInput, RunNetwork, RunRequest, WindowSize};
pub use solve::StatusSink;
pub use usage::{PruneRequest, UsageRecord};
