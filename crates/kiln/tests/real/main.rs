//! Real images: Debian's packages, and what pip, npm, cargo and go make. Needs Debian's mirrors and the registries of
//! those.
//!
//! The base and an image with compilers are made once and stay in the target folder, so that a second run is quicker.

mod base;
#[path = "../it/harness/mod.rs"]
mod harness;
mod reproducible;
mod software;
