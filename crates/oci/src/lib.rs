//! Data of the OCI image and distribution specs: digests, platforms, references, descriptors, manifests, image config.
//!
//! Never: does I/O or depends on any other crate of this workspace.

pub mod digest;

pub use digest::Digest;
pub mod platform;

pub use platform::Platform;
