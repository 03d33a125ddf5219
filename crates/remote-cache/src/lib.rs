//! Build caches of other engines: import and export, in BuildKit's own format.
//!
//! ```text
//! export   lineage of a result -> Walk over keys -> Chains -> CacheConfig -> Target (registry, local)
//!                                                                        -> the image's config (inline)
//! import   Place (registry, local) -> manifest -> CacheConfig -> Keys, which the solver looks up by
//! ```
//!
//! An import reads the manifest and the config alone; the layers of a result are fetched when a step reads them.
//!
//! Never: runs a build, or writes to the build cache.

mod chains;
mod config;
mod export;
mod import;
mod inline;
mod keys;
mod local;
mod manifest;
mod options;
mod place;
mod registry;
mod stacks;
mod target;
mod walk;

pub use config::CacheConfig;
pub use export::{Gathered, Known, Sources, write};
pub use import::{Imported, Importer};
pub use inline::{FIELD as INLINE_FIELD, records_for};
pub use keys::{Blobs, Keys};
pub use local::LocalTarget;
pub use options::{Export, ExportKind, ExportMode, Import, import_key};
pub use place::Clients;
pub use registry::RegistryTarget;
pub use target::Target;
