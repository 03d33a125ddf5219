//! The one door to files: walk, patterns, tar, packed streams, copy, whiteouts, safe paths.
//!
//! Never: know images or builds.

mod aside;
pub mod copy;
mod decompress;
pub mod glob;
pub mod mount;
pub mod passwd;
pub mod pattern;
pub mod tar;

pub use aside::set_aside;
pub use decompress::{Compression, Decoder};
