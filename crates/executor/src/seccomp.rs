//! The system calls that a container may make: BuildKit's default profile, as a filter of its own making.
//!
//! The choice was between three. libseccomp is under the LGPL, which a static program had better not link; the crate
//! `seccompiler` kills a process of a second architecture, so 32-bit programs die, and forbids new privileges, so `su`
//! and `sudo` fail. What is left is small: a table of numbers, a search, and a few comparisons of arguments. A test
//! holds it against what libseccomp makes of the same profile, call by call.

mod bpf;
mod profile;

use std::io;

pub(crate) use bpf::Insn;

/// A filter, ready to be installed.
#[derive(Debug, Clone)]
pub(crate) struct Filter(Vec<Insn>);

impl Filter {
    /// What every container gets that is not insecure.
    pub fn usual() -> Filter {
        Filter(profile::program(profile::NATIVE))
    }

    /// Binds the calling thread, and what it executes, for good. Needs `CAP_SYS_ADMIN`, as new privileges stay allowed.
    ///
    /// # Errors
    ///
    /// The kernel knows no filters: [`io::ErrorKind::InvalidInput`].
    pub fn install(&self) -> io::Result<()> {
        /// `struct sock_fprog`.
        #[repr(C)]
        struct Program {
            len: u16,
            insns: *const Insn,
        }
        let program =
            Program { len: u16::try_from(self.0.len()).map_err(io::Error::other)?, insns: self.0.as_ptr() };
        // SAFETY: the program and its instructions live through the call, which copies them.
        let done =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
