//! Where bytes come from: image, http, local, oci-layout; each gives a ref and a stable key.
//!
//! Never: decides when to fetch.

mod context;
mod instance;
mod sources;

pub use context::Context;
pub use instance::{SourceInstance, SourceKey};
pub use sources::{Parts, Sources};
