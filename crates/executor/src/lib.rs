//! Runs one process in a root file system: namespaces, mounts, network, cgroups, seccomp.
//!
//! [`entry`] comes first in `main`; [`Executor::start`] starts the helper process that makes containers;
//! [`Executor::run`] runs one. The engine never forks its threaded self: see the module `helper` for who does what.
//!
//! Never: know refs or builds.

mod alive;
mod cgroup;
mod container;
pub mod emulation;
mod executor;
mod helper;
mod hosts;
mod io;
mod namespace;
mod seccomp;
mod spec;
mod wire;

pub use cdi::{Hook, Moment, NetDevice, Node as Device, NodeKind as DeviceKind};
pub use container::{Container, Control, Tty};
pub use executor::{Executor, Options};
pub use helper::entry;
pub use hosts::Dns;
pub use io::{Io, Output, Stream};
pub use namespace::Namespace;
pub use spec::{
    DEFAULT_HOSTNAME, Emulator, Exit, HostIp, Network, Process, Resources, Spec, Ulimit, WinSize,
};

/// Makes a test binary fit to be its own helper: [`entry`] is called before `main`, which the test harness owns.
#[macro_export]
macro_rules! entry_before_main {
    () => {
        const _: () = {
            extern "C" fn before_main() {
                $crate::entry();
            }
            // SAFETY: the section holds pointers to functions that the C library calls before `main`, when there is
            // one thread only. The standard library learns of the arguments in the same way, only earlier.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEFORE_MAIN: extern "C" fn() = before_main;
        };
    };
}
