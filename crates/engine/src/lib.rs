//! One build start to end: jobs, bridge, entitlements.
//!
//! [`Engine::build`] runs a [`BuildRequest`]: it opens a job in the solver, gets a result from a frontend, from a given
//! graph or from the client itself (through [`Engine::bridge`]), computes it, and hands it to the exporters. What
//! happens on the way can be read from [`Engine::status`] while it happens and a moment after.
//!
//! Never: chooses its parts.

mod bridge;
mod build;
mod builds;
mod cache_export;
mod caches;
mod container;
mod export;
pub mod history;
mod images;
mod invocation;
mod log;
mod origins;
mod platforms;
mod promise;
mod request;
mod scan;
mod session_export;
mod signals;
mod software;
mod verify;

pub use archive::Image as LoadedImage;
pub use bridge::BuildBridge;
pub use build::{Engine, Parts};
pub use container::{Remote, Running, Stdin};
pub use executor::{Exit, HostIp, Network, Output, Stream, WinSize};
pub use images::{Inspected, LoadOptions, Push, SaveOptions, StoredImage};
pub use invocation::{BindMount, RunRequest};
pub use log::Reader;
pub use origins::Told;
pub use request::{Attributed, BuildRequest, BuildResponse, Work};

/// The compatibility version that results have.
pub const COMPATIBILITY: i64 = 30;
