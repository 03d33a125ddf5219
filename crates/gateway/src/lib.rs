//! LLBBridge: serves frontends behind the wire, and runs those that are images.
//!
//! A [`Session`] is the bridge of one frontend on the wire: it turns requests into calls of [`frontend::Bridge`], knows
//! the containers that the frontend has asked for, and takes the result. A client that is its own frontend reaches its
//! session through [`Service`]; [`ImageFrontend`] (`gateway.v0`) runs a frontend image in a container and serves it
//! on its standard streams. [`ask_policy`] shows a source to a client that judges sources.
//!
//! Never: knows how a build is run.

mod caps;
mod convert;
mod exec;
mod image;
mod policy;
mod service;
mod session;
mod signal;
mod stdio;

pub use image::ImageFrontend;
pub use policy::{Lookup, Verdict, ask as ask_policy};
pub use service::{Find, Service};
pub use session::Session;
