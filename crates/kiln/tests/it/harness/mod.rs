//! What the tests stand on: an engine of their own, contexts, a base image, registries and servers, and readers of
//! results that are not Kiln's. Everything is gone when its value is dropped, also after a panic.

#![allow(dead_code, unused_imports, reason = "each of the test programs uses a part of it")]

mod base;
mod build;
mod buildkit;
mod check;
mod engine;
mod faulty;
mod folder;
mod image;
mod json;
mod listing;
mod net;
mod registry;
mod server;
mod silent;
mod steps;
mod tool;
mod vitals;

pub use base::{busybox, busybox_layer};
pub use build::Build;
pub use buildkit::BuildKit;
pub use check::{check_config, check_files};
pub use engine::{Engine, is_alive};
pub use faulty::{Fault, FaultyProxy, Passed};
pub use folder::Folder;
pub use image::{Image, Layout};
pub use json::assert_has;
pub use listing::{files_below, list_tar};
pub use net::Net;
pub use registry::{LOGIN, Registry};
pub use server::{FileServer, Process};
pub use silent::SilentRegistry;
pub use steps::{State, Steps};
pub use tool::{output_of, run_tool, tool};
pub use vitals::{CgroupParent, Vitals};
