//! The op graph: build, byte-stable encoding, digest, load and verify, capabilities.
//!
//! Never: do I/O or start a task.
