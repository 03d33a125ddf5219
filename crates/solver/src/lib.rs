//! The graph engine: keys, lookup, scheduling.
//!
//! Never: know a container, a file or a network.
