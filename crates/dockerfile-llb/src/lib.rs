//! Dockerfile instructions to LLB and image config; the `dockerfile.v0` frontend.
//!
//! Never: do I/O except through the bridge.
