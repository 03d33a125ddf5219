//! The op graph: build, byte-stable encoding, digest, load and verify, capabilities.
//!
//! LLB is the narrow waist of a build: frontends only make it, the engine only runs it. An [`Op`] is what one vertex
//! does; a [`Node`] ties an op to its inputs while a graph is being built; [`Output::marshal`] turns the part of a
//! graph that one output needs into a [`Definition`]; [`Graph::load`] reads a definition back and verifies it.
//!
//! The digest of a vertex is the sha256 of its encoded op, as received: bytes are never encoded anew before they are
//! hashed.
//!
//! Never: does I/O or starts a task.

pub mod caps;
mod definition;
mod exec;
mod file;
mod go_json;
mod graph;
mod json;
mod metadata;
mod node;
mod op;
mod policy;
mod wire;

pub use definition::{Definition, Location, SourceInfo, SourceMap};
pub use exec::{
    CacheOpt, CacheSharing, CdiDevice, ContentCache, ExecOp, HostIp, Meta, Mount, MountType, NetMode,
    ProxyEnv, SecretEnv, SecretOpt, SecurityMode, SshOpt, TmpfsOpt, Ulimit,
};
pub use file::{Chown, Copy, FileAction, FileActionKind, FileOp, MkDir, MkFile, Rm, Symlink, User};
pub use graph::{Graph, Input, LoadedOp};
pub use json::op_json;
pub use metadata::{LinuxResources, OpMetadata, ProgressGroup};
pub use node::{Node, Output};
pub use op::{BuildOp, DiffOp, MergeOp, Op, OpKind, PassthroughOp, SourceOp};
pub use policy::{Policies, Policy};

/// Stands for "no input" or "no output" wherever an index is asked for.
pub const NONE: i64 = -1;

#[cfg(test)]
mod tests;
