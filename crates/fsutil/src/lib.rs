//! The one door to files: walk, patterns, tar, copy, whiteouts, safe paths.
//!
//! Never: know images or builds.

pub mod mount;
