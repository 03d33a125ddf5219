//! Where results go: image, oci, docker, local, tar.
//!
//! [`Exporters::resolve`] turns a type and its attributes into an [`Exporter`], before anything is built, so that what
//! is asked for wrongly is said at once. [`Exporter::export`] makes the artifact; what is left in [`Exported::finalize`]
//! (a push) may run beside other work.
//!
//! ```text
//! image, oci, docker   layers as blobs -> config -> manifest [-> index]   commit
//!                      what is said about it -> statements -> manifest    attestation
//!   image              -> names in the image store [-> registry]
//!   oci, docker        -> one archive to the client                       `archive`, the crate
//! local, tar           files of the result -> folder or archive           files
//! ```
//!
//! Never: evaluate the graph.

mod annotations;
mod attestation;
mod attrs;
mod commit;
mod config;
mod context;
mod epoch;
mod exportable;
mod files;
mod fingerprint;
mod history;
mod image;
mod layout;
mod local;
mod options;
mod push;
mod resolve;
mod tarball;
mod time;

pub use attestation::{Attestation, AttestationBody};
pub use context::{ExportContext, Exported, Exporter, Finalize, InlineCache, Response};
pub use epoch::of_build_args as epoch_of_build_args;
pub use exportable::{Exportable, Refs, ResultPlatform, platforms};
pub use fingerprint::Fingerprint;
pub use resolve::Exporters;
pub use tarball::write_view;
