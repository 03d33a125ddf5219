//! Wire types and services of the BuildKit protocol, generated from the files in `proto/`. `kiln` is our own.
//!
//! The modules follow the proto packages under shorter names. File names are bytes everywhere, maps are ordered, and
//! bulk data is shared, not copied. `cargo xtask proto` generates the code anew.
//!
//! Never: hold logic.

#[allow(clippy::all, clippy::undocumented_unsafe_blocks, missing_docs)]
#[rustfmt::skip]
mod generated;
pub mod raw;
pub mod transport;

pub use generated::containerd::services::content::v1 as content;

/// containerd's own services, beside its blobs.
pub mod containerd {
    pub use super::generated::containerd::services::diff::v1 as diff;
    pub use super::generated::containerd::services::images::v1 as images;
    pub use super::generated::containerd::services::leases::v1 as leases;
    pub use super::generated::containerd::services::snapshots::v1 as snapshots;
    pub use super::generated::containerd::types;
}
pub use generated::errdefs;
pub use generated::fsutil::types as fsutil;
pub use generated::google::rpc;
pub use generated::grpc::health::v1 as health;
pub use generated::kiln::v1 as kiln;
pub use generated::moby::buildkit::secrets::v1 as secrets;
pub use generated::moby::buildkit::v1 as control;
pub use generated::moby::buildkit::v1::apicaps;
pub use generated::moby::buildkit::v1::frontend as gateway;
pub use generated::moby::buildkit::v1::sourcepolicy;
pub use generated::moby::buildkit::v1::sourcepolicy::policysession;
pub use generated::moby::buildkit::v1::types as worker;
pub use generated::moby::exporter::v1 as exporter;
pub use generated::moby::filesync::v1 as filesync;
pub use generated::moby::sshforward::v1 as sshforward;
pub use generated::moby::upload::v1 as upload;
pub use generated::pb;
pub use generated::stack;
pub use prost_types::{Any, FieldMask, Timestamp};

/// All of the .proto files, compiled (`google.protobuf.FileDescriptorSet`).
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");

/// FileSend, whose messages are left as bytes (see `proto/filesync.proto`).
pub mod filesend {
    #[allow(clippy::all)]
    mod generated {
        include!("generated/moby.filesync.v1.FileSend.rs");
    }
    pub use generated::{file_send_client, file_send_server};
}
