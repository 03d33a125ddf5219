//! What the tests stand on: an engine of their own, contexts, a base image, registries and servers, and readers of
//! results that are not Kiln's. Everything is gone when its value is dropped, also after a panic.

mod base;
mod build;
mod check;
mod engine;
mod folder;
mod image;
mod json;
mod listing;
mod registry;
mod server;
mod steps;
mod tool;

pub use base::busybox;
pub use build::Build;
pub use check::{check_config, check_files};
pub use engine::Engine;
pub use folder::Folder;
pub use image::{Image, Layout};
pub use json::assert_has;
pub use listing::{files_below, list_tar};
pub use registry::{LOGIN, Registry};
pub use server::{FileServer, Process};
pub use steps::{State, Steps};
pub use tool::{run_tool, tool};
