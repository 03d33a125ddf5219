//! The client's side channel, both ends: files, credentials, secrets, outputs.
//!
//! Never: decide what a build does.
