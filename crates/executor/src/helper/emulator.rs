//! An emulator for one container: a user namespace of its own, in which the kernel knows the emulator. Nobody else's
//! programs are touched by it (binfmt_misc belongs to user namespaces since Linux 6.7).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::net::RecvFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::thread::LinkNameSpaceType;

use super::clone::{Side, clone};
use crate::emulation::Machine;
use crate::namespace;
use crate::wire::{self, Failure};

/// It lasts as long as this handle and the processes that entered.
pub(super) struct Emulator {
    user_namespace: OwnedFd,
    /// What is registered goes with its last mount.
    _registry: OwnedFd,
}

impl Emulator {
    /// Makes `program`, a static one, run what is for `machine`.
    pub fn install(program: &Path, machine: &Machine) -> Result<Self> {
        let (ours, theirs) = wire::pair()?;
        // SAFETY: a supervisor has one thread.
        let side = unsafe { clone(libc::CLONE_NEWUSER | libc::CLONE_NEWNS, None) }
            .context("failed to make a user namespace")?;
        let (pid, pidfd) = match side {
            Side::Parent { pid, pidfd } => (pid, pidfd),
            Side::Child => {
                drop(ours);
                inside(&theirs, program, machine);
                // SAFETY: always safe. What the supervisor does at its exit is not for its child to do.
                unsafe { libc::_exit(0) }
            }
        };
        drop(theirs);
        let installed = direct(pid, &ours);
        // It has nothing left to do, or failed.
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        let reaped = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        });
        reaped.map_err(io::Error::from)?;
        installed.with_context(|| format!("failed to register the emulator `{}`", program.display()))
    }

    /// Takes the calling process, which has one thread, to where the emulator is known. What it may do there it may not
    /// do outside.
    pub fn enter(&self) -> io::Result<()> {
        let inside = Some(LinkNameSpaceType::User);
        Ok(rustix::thread::move_into_link_name_space(self.user_namespace.as_fd(), inside)?)
    }
}

/// Every id means the same inside as here.
fn direct(pid: i32, socket: &OwnedFd) -> Result<Emulator> {
    for map in ["uid_map", "gid_map"] {
        let own = fs::read_to_string(Path::new("/proc/self").join(map))?;
        fs::write(format!("/proc/{pid}/{map}"), same(&own)).context("failed to map users")?;
    }
    let user_namespace = namespace::open(&PathBuf::from(format!("/proc/{pid}/ns/user")))?;
    wire::send(socket, &(), &[])?;
    let gone = || Error::internal("the process that registers an emulator died");
    let (answer, fds) = wire::recv::<Option<Failure>>(socket, RecvFlags::empty())?.ok_or_else(gone)?;
    match (answer, fds.into_iter().next()) {
        (Some(failure), _) => Err(failure.into()),
        (None, Some(registry)) => Ok(Emulator { user_namespace, _registry: registry }),
        (None, None) => Err(gone()),
    }
}

/// From the lines of this namespace, `inside outside count`, those of one in it.
fn same(own: &str) -> String {
    let lines = own.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace();
        let (inside, _, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(format!("{inside} {inside} {count}\n"))
    });
    lines.collect()
}

/// In the new namespaces. Files of the host are seen still, and so the kernel can open the emulator.
fn inside(socket: &OwnedFd, program: &Path, machine: &Machine) {
    let registered = match wire::recv::<()>(socket, RecvFlags::empty()) {
        Ok(Some(_)) => register(program, machine),
        Ok(None) | Err(_) => return,
    };
    let _ = match registered {
        Ok(registry) => wire::send(socket, &None::<Failure>, &[registry.as_fd()]),
        Err(e) => wire::send(socket, &Some(Failure::from(&Error::from(e))), &[]),
    };
}

fn register(program: &Path, machine: &Machine) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let registry = rustix::mount::fsmount(&context, flags, MountAttrFlags::empty())?;
    let place = format!("/proc/self/fd/{}/register", registry.as_raw_fd());
    fs::write(place, line(program, machine))?;
    Ok(registry)
}

/// The emulator is opened at once (F), told the name that the program was started by (P), and given the program opened
/// (O) with the rights that are its own (C).
fn line(program: &Path, machine: &Machine) -> Vec<u8> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect() };
    let start = format!(":emulator:M::{}:{}:", hex(&machine.header), hex(&machine.mask()));
    [start.as_bytes(), program.as_os_str().as_bytes(), b":POCF"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_what_they_are() {
        assert_eq!(same("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(same("0 1000 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn what_the_kernel_is_told() {
        let machine = Machine::of("arm64").expect("a known architecture");
        let line = String::from_utf8(line(Path::new("/bin/qemu"), &machine)).expect("text");
        let magic = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
        let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
        assert_eq!(line, format!(":emulator:M::{magic}:{mask}:/bin/qemu:POCF"));
    }
}
