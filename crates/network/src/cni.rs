//! Networks made by plugins, by the Container Network Interface (its specification, version 1.1).
//!
//! ```text
//! List          which plugins make a network, in their order, and what each is told
//! plugin::run   one plugin, once: what it is to do in its environment, its configuration on stdin
//! Cni::lease    a namespace that is part of the network; it is taken out of it when the lease ends
//! ```
//!
//! What a lease needs to be ended is on disk before anything is done for it, so that the next engine ends it when this
//! one is killed.

mod bridge;
mod lease;
mod list;
mod plugin;

pub(crate) use bridge::Bridge;
pub(crate) use lease::{Cni, Lease, sweep};
pub use list::List;
pub(crate) use plugin::Plugins;
