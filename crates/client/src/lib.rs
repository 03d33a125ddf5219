//! Typed client of the daemon; drives Kiln or BuildKit alike.
//!
//! A build is three calls at once: `Session` turns a stream around so that the engine can ask for files and secrets,
//! `Status` tells what happens, `Solve` runs the build. [`Client::solve`] is all three.
//!
//! Never: draws or parses arguments.

mod address;
mod bridge;
mod client;
mod containerd;
mod dial;
mod helper;
mod history;
mod images;
mod inquiry;
mod request;
mod run;
mod solve;
mod source_policy;
mod status;
mod tls;
mod usage;

pub use address::Address;
pub use bridge::{Graphs, Made, Metadata};
pub use client::{Client, Device, EngineVersion, GcPolicy, Worker};
pub use containerd::Containerd;
pub use helper::Helper;
pub use history::{BuildRecord, Descriptor, Failure, HistoryChange, HistoryEvent, HistoryQuery, Steps};
pub use images::{Image, ImageBlob, ImageDetails, LoadedImage};
pub use inquiry::Inquiry;
pub use request::{CacheEntry, Exporter, SolveRequest, SolveResponse, new_id};
pub use run::{BindMount, Run, RunEvent, RunExit, RunInput, RunNetwork, RunRequest, WindowSize};
pub use solve::StatusSink;
pub use source_policy::SourcePolicy;
pub use tls::Tls;
pub use usage::{PruneRequest, Room, UsageRecord};
