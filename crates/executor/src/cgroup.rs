//! One cgroup per container: limits, devices, and whether memory ran out. Version 1 and version 2 of the interface.
//!
//! Where the file system is not writable a container does without, as long as nothing asks for a limit; the pid
//! namespace is what kills it, never the cgroup.

mod devices;
mod group;
mod layout;
mod limits;
mod sweep;

pub(crate) use group::Group;
pub(crate) use layout::Layout;
pub(crate) use sweep::sweep;
