//! Immutable and mutable refs over snapshot and content: lazy layers, usage, prune, path hashes, cache mounts.
//!
//! Never: know where bytes came from.
