//! Objects, layer trees, views, mounts, diff and apply.
//!
//! Never: know images, registries or builds.
