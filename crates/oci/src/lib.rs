//! Data of the OCI image and distribution specs: digests, platforms, references, descriptors, manifests, image config.
//!
//! Never: does I/O or depends on any other crate of this workspace.

pub mod config;
pub mod digest;
pub mod json;
pub mod manifest;
pub mod media;
pub mod platform;
mod purl;
pub mod reference;
mod text;

pub use config::{ChainId, DiffId, Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use digest::{Digest, DigestWriter};
pub use manifest::{Annotations, Descriptor, Index, Manifest};
pub use media::LayerCompression;
pub use platform::Platform;
pub use purl::percent_encode;
pub use reference::{Reference, familiar};
pub use text::parse_bool;
