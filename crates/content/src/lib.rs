//! Stores blobs by digest. A blob is seen only after its commit, and stays while a lease holds it.
//!
//! On disk, below the root that the store is given:
//!
//! ```text
//! content-v1/ingest/<n>           being written; swept at start
//! content-v1/sha256/ab/cdef...    blobs, in place by rename
//! ```
//!
//! A committed blob is used at once and becomes durable with the next [`Store::flush`]. The database notes which are.
//! After a crash of the machine the others are dropped at start; after a crash of the process nothing is lost.
//!
//! Never: knows images, layers or networks.

mod check;
mod hash;
mod ingest;
mod lease;
mod store;
mod table;
mod verify;

pub use hash::Hasher;
pub use ingest::Ingest;
pub use lease::Lease;
pub use store::{Collected, Store};
pub use verify::Verified;
