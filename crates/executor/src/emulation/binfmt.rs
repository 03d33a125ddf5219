//! What is registered with the kernel (Linux, Documentation/admin-guide/binfmt-misc.rst).

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::elf::Machine;

const PLACE: &str = "/proc/sys/fs/binfmt_misc";

/// Emulators that the kernel starts in any container.
#[derive(Debug, Default)]
pub(super) struct Registered(Vec<Entry>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    interpreter: PathBuf,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

/// What is registered now; nothing where that cannot be read.
pub(super) fn registered() -> Registered {
    // In a container the place is often not mounted, though what is registered holds there too.
    if Path::new(PLACE).join("status").exists() {
        return Registered::read(Path::new(PLACE));
    }
    let Ok(context) = rustix::mount::fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC) else {
        return Registered::default();
    };
    let mounted = rustix::mount::fsconfig_create(&context).and_then(|()| {
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    });
    match mounted {
        Ok(root) => Registered::read(Path::new(&format!("/proc/self/fd/{}", root.as_raw_fd()))),
        Err(_) => Registered::default(),
    }
}

impl Registered {
    /// The file name of the emulator that gets programs for `machine`. The kernel asks what was registered last first,
    /// but its order cannot be read.
    pub fn handler(&self, machine: &Machine) -> Option<String> {
        let entry = self.0.iter().find(|entry| entry.takes(&machine.header))?;
        Some(entry.interpreter.file_name()?.to_string_lossy().into_owned())
    }

    fn read(folder: &Path) -> Self {
        let text = |name: &OsString| fs::read_to_string(folder.join(name)).unwrap_or_default();
        if text(&"status".into()).trim() != "enabled" {
            return Registered::default();
        }
        let Ok(files) = fs::read_dir(folder) else { return Registered::default() };
        let names = files.flatten().map(|file| file.file_name());
        let mut names: Vec<_> = names.filter(|name| name != "status" && name != "register").collect();
        names.sort();
        Registered(names.iter().filter_map(|name| Entry::parse(&text(name))).collect())
    }
}

impl Entry {
    /// Nothing for an entry that is off, goes by the name of the file, or names an emulator that each container would
    /// have to have.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let field = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::trim)
        };
        if !field("flags:")?.contains('F') {
            return None;
        }
        let magic = hex(field("magic ")?)?;
        let mask = match field("mask ") {
            Some(mask) => hex(mask)?,
            None => vec![0xff; magic.len()],
        };
        let offset = field("offset ")?.parse().ok()?;
        Some(Entry { interpreter: field("interpreter ")?.into(), offset, magic, mask })
    }

    fn takes(&self, header: &[u8]) -> bool {
        let compared = self.magic.iter().zip(&self.mask).zip(header.iter().skip(self.offset));
        self.offset + self.magic.len() <= header.len()
            && compared.into_iter().all(|((magic, mask), byte)| byte & mask == magic & mask)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AARCH64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn check(text: &str, architecture: &str, expected: bool) {
        let machine = Machine::of(architecture).expect("a known architecture");
        let takes = Entry::parse(text).is_some_and(|entry| entry.takes(&machine.header));
        assert_eq!(takes, expected, "{architecture}\n{text}");
    }

    #[test]
    fn entries_take_the_programs_of_their_machine() {
        check(AARCH64, "arm64", true);
        for other in ["amd64", "386", "arm", "riscv64", "s390x", "ppc64le", "mips64"] {
            check(AARCH64, other, false);
        }
        let s390x = "enabled\ninterpreter /usr/bin/qemu-s390x\nflags: F\noffset 0\n\
            magic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n";
        check(s390x, "s390x", true);
        check(s390x, "arm64", false);
    }

    #[test]
    fn entries_that_hold_in_no_container_do_not_count() {
        check(&AARCH64.replace("enabled", "disabled"), "arm64", false);
        check(&AARCH64.replace("POCF", "POC"), "arm64", false);
        check("enabled\ninterpreter /usr/bin/jexec\nflags: F\nextension .jar\n", "arm64", false);
        check(&AARCH64.replace("magic 7f", "magic 7"), "arm64", false);
        check("", "arm64", false);
    }
}
