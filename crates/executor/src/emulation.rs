//! Programs for other processors than this machine's.
//!
//! The kernel starts an emulator for such a program where one is registered (binfmt_misc). That counts only if it was
//! registered with its file held open (flag `F`), or the emulator would have to lie in every container.

mod binfmt;
mod elf;

use std::borrow::Cow;
use std::path::PathBuf;

use fsutil::mount::{Mount, Source};
use oci::Platform;

pub(crate) use elf::Machine;

use crate::{Emulator, Spec};

/// Where a container finds an emulator that is mounted for it, as with BuildKit.
const PLACE: &str = "/dev/.buildkit_qemu_emulator";

/// How the programs of a platform run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emulation {
    /// The processor runs them.
    Needless,
    /// The kernel starts the emulator of this name for them.
    Registered(String),
    /// This emulator can be put into the container, and runs its first program and all that come of it.
    Mountable(PathBuf),
    /// This emulator can be registered for one container, see [`crate::Emulator`].
    Installable(PathBuf),
    /// Nothing here runs them.
    Missing,
}

impl Emulation {
    /// Looks for it. What is registered may change at any time, so this is asked for each step.
    pub fn of(platform: &Platform) -> Self {
        if is_native(platform) {
            return Emulation::Needless;
        }
        let Some(machine) = Machine::of(&platform.architecture) else { return Emulation::Missing };
        if let Some(name) = binfmt::registered().handler(&machine) {
            return Emulation::Registered(name);
        }
        let mountable = mountable(&platform.architecture).map(Emulation::Mountable);
        let installable = || installable(&platform.architecture).map(Emulation::Installable);
        mountable.or_else(installable).unwrap_or(Emulation::Missing)
    }

    /// Gives a container of `platform` its emulator, where it needs one of its own.
    pub fn equip(&self, spec: &mut Spec, platform: &Platform) {
        match self {
            Emulation::Mountable(program) => {
                spec.mounts.push(Mount::new(Source::Bind(program.clone()), PLACE).readonly(true));
                spec.process.args.insert(0, PLACE.to_owned());
            }
            Emulation::Installable(program) => {
                let architecture = platform.architecture.clone();
                spec.emulator = Some(Emulator { program: program.clone(), architecture });
            }
            Emulation::Needless | Emulation::Registered(_) | Emulation::Missing => {}
        }
    }

    /// The emulator's file name, where there is one.
    pub fn name(&self) -> Option<Cow<'_, str>> {
        match self {
            Emulation::Registered(name) => Some(name.into()),
            Emulation::Mountable(path) | Emulation::Installable(path) => {
                path.file_name().map(|name| name.to_string_lossy())
            }
            Emulation::Needless | Emulation::Missing => None,
        }
    }
}

/// What this machine runs: its own platform first, then what its processor runs too, then what is emulated.
pub fn platforms() -> Vec<Platform> {
    let host = Platform::host();
    let registered = binfmt::registered();
    let runs = |platform: &Platform| {
        is_native(platform)
            || Machine::of(&platform.architecture).is_some_and(|m| registered.handler(&m).is_some())
            || mountable(&platform.architecture).is_some()
            || installable(&platform.architecture).is_some()
    };
    let others = OTHERS.iter().map(|(architecture, variant)| Platform::new("linux", architecture, variant));
    let mut all = vec![host.clone()];
    all.extend(levels().map(|level| Platform::new("linux", "amd64", level)));
    all.extend(others.filter(|p| *p != host && runs(p)));
    all
}

/// Architecture and variant, in the order in which BuildKit names them.
const OTHERS: [(&str, &str); 12] = [
    ("amd64", ""),
    ("arm64", ""),
    ("riscv64", ""),
    ("ppc64", ""),
    ("ppc64le", ""),
    ("s390x", ""),
    ("386", ""),
    ("mips64le", ""),
    ("mips64", ""),
    ("loong64", ""),
    ("arm", "v7"),
    ("arm", "v6"),
];

fn is_native(platform: &Platform) -> bool {
    let host = Platform::host();
    let (own, wanted) = (host.architecture.as_str(), platform.architecture.as_str());
    platform.os != host.os
        || wanted == own
        || (own == "amd64" && wanted == "386" && runs_386())
        || (own == "arm64" && wanted == "arm" && runs_arm())
}

/// Whether the kernel was built and started with support for 32-bit programs.
fn runs_386() -> bool {
    std::path::Path::new("/proc/sys/abi/vsyscall32").exists()
}

/// A processor without the 32-bit state refuses this personality (arm64 Linux).
fn runs_arm() -> bool {
    const PER_LINUX32: libc::c_ulong = 8;
    const ASK: libc::c_ulong = 0xffff_ffff;
    let ask = || {
        // SAFETY: the personality is of this thread alone, and is set back.
        unsafe {
            let before = libc::personality(ASK);
            let able = libc::personality(PER_LINUX32) != -1;
            libc::personality(before as libc::c_ulong);
            able
        }
    };
    std::thread::spawn(ask).join().unwrap_or(false)
}

/// The levels of x86-64 above the first that this processor has (x86-64 psABI, "Micro-Architecture Levels").
#[cfg(target_arch = "x86_64")]
fn levels() -> impl Iterator<Item = &'static str> {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse3") && has!("ssse3") && has!("sse4.1") && has!("sse4.2") && has!("popcnt");
    let v2 = v2 && has!("cmpxchg16b");
    let v3 = v2 && has!("avx") && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c");
    let v3 = v3 && has!("fma") && has!("lzcnt") && has!("movbe");
    let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq");
    let v4 = v4 && has!("avx512vl");
    [("v2", v2), ("v3", v3), ("v4", v4)].into_iter().filter_map(|(level, there)| there.then_some(level))
}

#[cfg(not(target_arch = "x86_64"))]
fn levels() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}

/// BuildKit's build of qemu, which goes on emulating what an emulated program executes: `buildkit-qemu-aarch64`.
fn mountable(architecture: &str) -> Option<PathBuf> {
    on_path(&format!("buildkit-qemu-{}", elf::qemu_name(architecture)))
}

/// A static qemu as distributions have it, where the kernel can register it for one container alone.
fn installable(architecture: &str) -> Option<PathBuf> {
    const SINCE: (u32, u32) = (6, 7);
    if kernel() < SINCE {
        return None;
    }
    on_path(&format!("qemu-{}-static", elf::qemu_name(architecture)))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Its version, as `6.12`.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_platform_needs_no_emulator() {
        assert_eq!(Emulation::of(&Platform::host()), Emulation::Needless);
        assert_eq!(Emulation::of(&Platform::new("windows", "amd64", "")), Emulation::Needless);
        assert_eq!(Emulation::of(&Platform::new("linux", "pdp11", "")), Emulation::Missing);
        let all = platforms();
        assert_eq!(all[0], Platform::host());
        assert_eq!(all.iter().filter(|p| **p == Platform::host()).count(), 1);
    }
}
