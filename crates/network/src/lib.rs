//! What steps reach: networks made by CNI plugins, and proxies that keep account.
//!
//! ```text
//! Networks::open        finds out how the steps of an engine reach the network, and clears up what a killed one left
//! Networks::attach      what one container needs: a namespace, and behind a proxy variables and a certificate
//! Attached::detach      lets go of it, and tells what went through the proxy
//! ```
//!
//! The engine itself talks to plugins ([`cni`]) as the CNI specification says. A proxied step has a namespace of its own
//! with nothing in it but `lo`; there the [`proxy`] listens, whose own connections start elsewhere.
//!
//! Never: knows builds, or decides what may be fetched. It asks a [`Judge`].

mod cni;
mod networks;
mod proxy;

pub use cni::List;
pub use networks::{Attached, Mode, Needs, Networks, Options};
pub use proxy::{Judge, Judgement, Material, Missing, Request, Traffic};
