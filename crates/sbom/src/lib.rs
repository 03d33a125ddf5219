//! What software a file system holds, as a list in SPDX.
//!
//! [`scan`] walks a [`Root`] once and hands each file that some packager left to its reader: the databases of dpkg, apk
//! and rpm, what npm, pip and cargo install, and what Go and `cargo auditable` write into programs. [`Inventory::to_spdx`]
//! says it as the scanner images of BuildKit do (SPDX 2.3, JSON). The same files give the same bytes.
//!
//! ```text
//! Root -> find (which file is whose) -> dpkg apk rpm npm python cargo elf -> Package -> license, spdx
//! ```
//!
//! Whatever is in the files, a scan ends, with memory in the order of their size; what it does not read it says in
//! [`Inventory::notes`].
//!
//! Never: runs anything that it finds, or asks a network.

mod apk;
mod cargo;
mod dpkg;
mod elf;
mod find;
mod go;
mod license;
mod npm;
mod os;
mod package;
mod paragraphs;
mod python;
mod rpm;
mod spdx;

pub use find::{Root, scan};
pub use package::{Distro, Inventory, Kind, Package};
pub use spdx::{Document, PREDICATE_TYPE};

/// The readers, each on the bytes of a file: for those who feed them with anything.
pub mod readers {
    pub use crate::apk::read as apk;
    pub use crate::cargo::{audited, lock as cargo_lock};
    pub use crate::dpkg::{copyright, read as dpkg};
    pub use crate::find::program;
    pub use crate::license::Declared;
    pub use crate::npm::{lock as npm_lock, manifest as npm_manifest};
    pub use crate::python::metadata as python;
    pub use crate::rpm::{ndb, sqlite};
}
