//! Devices of this machine that steps may ask for, by the Container Device Interface.
//!
//! Vendors put spec files into well-known folders. A file names devices of one kind, as `vendor.com/gpu=0`, and says what
//! a container gets of each: variables, device nodes, mounts, groups, hooks, network interfaces. The files are read anew whenever somebody asks, for
//! devices come and go while an engine runs.
//!
//! ```text
//! Devices --look--> Known --grant(what a step asks for, Rights)--> names --edits--> Edits
//! ```
//!
//! Never: touches a container.

mod hook;
mod known;
mod node;
mod rights;
mod spec;

pub use hook::{Hook, Moment};
pub use known::{Device, Devices, Known};
pub use node::{Node, NodeKind};
pub use rights::{Rights, Wanted};
pub use spec::{Edits, Mount, NetDevice};
