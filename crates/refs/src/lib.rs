//! Immutable and mutable refs over snapshot and content: lazy layers, usage, prune, path hashes, cache mounts.
//!
//! A ref is a handle on a file system state; while one is held, the state stays. What a state is made of is a record in
//! the database, so that a state that was [persisted](ImmutableRef::persist) is found again after a restart. A state is
//! a layer on a parent, several states put on each other, or the difference of two; nothing is mounted to make one.
//!
//! Never: know where bytes came from.

mod janitor;
mod record;
mod table;

mod node;
mod refs;
mod wake;

mod lazy;
mod make;
mod stack;

mod blobs;
mod check;
mod clamp;
mod compress;

mod cache_mount;
mod collector;
mod filter;
mod images;
mod ledger;
mod prune;
mod rank;
mod room;
mod usage;
mod watched;

mod records;

pub use blobs::{Compression, CompressionKind};
pub use cache_mount::{CacheMount, Sharing};
pub use check::Found;
pub use collector::Collector;
pub use filter::Filter;
pub use images::{Image, Images};
pub use lazy::{BlobProvider, BlobStream};
pub use make::{MutableRef, NewRef};
pub use node::ImmutableRef;
pub use prune::PruneOptions;
pub use record::{LayerBlob, RecordType};
pub use records::{Keys, Records, Results};
pub use refs::{LastEnd, Refs};
pub use room::Room;
pub use table::{begin as begin_write, begin_lazy as begin_lazy_write, failed as database_failed};
pub use usage::UsageRecord;
pub use watched::Watched;
