//! Trees, views and hashes on a real file system. These tests make devices and trusted attributes: they need root.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod compare;
mod copying;
mod hashing;
mod layers;
mod random;
mod recopy;
mod room;
mod tree;
mod world;
