//! Runs one process in a root file system: namespaces, mounts, network, cgroups, seccomp.
//!
//! Never: know refs or builds.
