//! The gRPC service in front of the engine.
//!
//! Never: hold build logic.
