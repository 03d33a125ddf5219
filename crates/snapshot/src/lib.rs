//! Objects, layer trees, views, mounts, diff and apply.
//!
//! A [`Store`] holds *layer trees*: directories in overlayfs' own form, each committed by a rename and never changed
//! after. A [`View`] reads a chain of them as one tree without a mount. A [`TreeWriter`] makes a new one: as the
//! writable top of a mount, or by a [`TreeBuilder`], which does what overlayfs would do and links files where it can.
//!
//! On disk, below the root that the store is given:
//!
//! ```text
//! objects-v1/ab/cdef...-<mtime>   regular files, linked into trees; garbage with one link
//! layers-v1/<id>/tree/            a layer's files, as overlayfs wants them
//! layers-v1/<id>/{shared,digests,implied}
//!                                 what is remembered of them, see `layer`
//! tmp/                            being written; swept at start
//! mounts/                         mount points; swept at start
//! ```
//!
//! Never: know images, registries or builds.

mod meta;
mod path;
mod sys;

mod layer;
mod store;
mod view;

mod builder;
mod object;
mod tree;

mod apply;
mod check;
mod chmod;
mod compare;
mod diff;
mod hash;
mod pile;
mod room;
mod same;
mod scratch;
mod stack;

pub use apply::Applied;
pub use builder::{CopyOptions, Earlier, FileOptions, MkdirOptions, Mode, RemoveOptions, Spot, TreeBuilder};
pub use check::CheckedObjects;
pub use compare::{Aspect, Change, Difference, TakeDifference, Times};
pub use hash::{FileHasher, HashOptions};
pub use layer::LayerId;
pub use meta::{Attrs, FileType, Meta, Owner, Time};
pub use object::{Collected, Object, ObjectWriter, Placed};
pub use room::Freed;
pub use stack::Part;
pub use store::{Leftover, Options, Store};
pub use tree::TreeWriter;
pub use view::{DirEntry, Entry, View, Walk};
