//! The contract between a frontend and the engine: `Frontend`, `Bridge`, `BuildResult`.
//!
//! Never: hold an implementation.
