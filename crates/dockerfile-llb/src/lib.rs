//! Dockerfile instructions to LLB and image config; the `dockerfile.v0` frontend.
//!
//! [`DockerfileFrontend`] reads the Dockerfile through the bridge, [`convert`] turns it into a graph and a config, and
//! the bridge gets the graph. The ops are those of BuildKit's own frontend byte for byte, so that a cache made by one
//! is good for the other.
//!
//! Never: do I/O except through the bridge.

mod config;
mod convert;
mod diagnose;
mod draft;
mod environment;
mod frontend;
mod git;
mod image;
mod path;
mod state;
mod windows;

pub use diagnose::Diagnosis;
pub use frontend::{DockerfileFrontend, FrontendImage, WebContext, frontend_image, is_built_in};
