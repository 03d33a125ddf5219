//! Builders and their nodes: the store that buildx has too, and which node builds what.
//!
//! A [`Group`] is a builder: a name, a driver and [`Node`]s, each an engine and the platforms that the user says are its
//! own. [`Store`] keeps groups in files, byte for byte where and as buildx keeps them, so that both programs see the same
//! builders. [`choose`] gives each platform of a build to a node.
//!
//! Never: reaches an engine, or touches a file outside of the store.

mod choice;
mod group;
mod name;
mod platforms;
mod store;

pub use choice::{Share, choose};
pub use group::{Change, File, Group, Node};
pub use name::{check_name, random_name};
pub use platforms::{parse_platform, parse_platforms, platform_list, short_platforms, without_repeats};
pub use store::{Locked, Owner, Store};
