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
mod export;
mod log;
mod promise;
mod request;

pub use bridge::BuildBridge;
pub use build::{Engine, Parts};
pub use log::Reader;
pub use request::{Attributed, BuildRequest, BuildResponse, Work};
