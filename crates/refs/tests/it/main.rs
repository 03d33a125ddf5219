//! States on a real file system. These tests make devices and trusted attributes: they need root.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod blobs;
mod cache_mounts;
mod collection;
mod lazy;
mod revisions;
mod states;
mod usage;
mod world;
