//! Images as archives: OCI image layouts and Docker's, read and written.
//!
//! ```text
//! oci-layout, index.json    OCI image layout (OCI image-spec, image-layout.md)
//! manifest.json             what `docker load` looks at (moby, image/spec: "Combined Image JSON + Filesystem Changeset")
//! blobs/sha256/…            the blobs of both; older archives of Docker's have paths of their own
//! ```
//!
//! [`write()`] puts images of a content store into one archive. [`Reading`] takes one apart: it comes from anywhere, so
//! that every digest is checked, sizes are bounded, and paths are nothing but keys.
//!
//! Never: writes a file that a path of an archive names.

mod docker;
mod layout;
mod members;
mod read;
mod write;

pub use read::{Image, Reading};
pub use write::{Named, Variant, copy, reachable, write};

/// Files of an archive that are no blobs.
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const DOCKER_MANIFEST: &str = "manifest.json";

/// Annotation with the full name of an image.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Most bytes of a manifest or config.
const MANIFEST: u64 = 8 << 20;
