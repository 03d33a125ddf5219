//! Which devices a container may open: a list in version 1 of cgroups, an eBPF program in version 2.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Device, DeviceKind};

/// A step may make any node, but open only those that every container has.
const ALLOWED: [Rule; 11] = [
    Rule { kind: Kind::Char, major: None, minor: None, access: MKNOD },
    Rule { kind: Kind::Block, major: None, minor: None, access: MKNOD },
    Rule::char(1, 3),
    Rule::char(1, 5),
    Rule::char(1, 7),
    Rule::char(1, 8),
    Rule::char(1, 9),
    Rule::char(5, 0),
    Rule::char(5, 1),
    Rule::char(5, 2),
    Rule { kind: Kind::Char, major: Some(136), minor: None, access: ALL },
];

/// Bits of `BPF_DEVCG_ACC_*`.
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = 7;

/// What a container may do with devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// What every container may, and with these what each says.
    Usual(&'a [Device]),
    Everything,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

/// Values of `BPF_DEVCG_DEV_*`.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Block = 1,
    Char = 2,
}

impl Rule {
    const fn char(major: u32, minor: u32) -> Rule {
        Rule { kind: Kind::Char, major: Some(major), minor: Some(minor), access: ALL }
    }

    /// None where there is nothing to guard.
    fn of(device: &Device) -> Option<Rule> {
        let kind = match device.kind {
            DeviceKind::Block => Kind::Block,
            DeviceKind::Char => Kind::Char,
            DeviceKind::Fifo => return None,
        };
        let bits = [('m', MKNOD), ('r', READ), ('w', WRITE)];
        let access = bits.iter().filter(|(letter, _)| device.access.contains(*letter)).map(|(_, bit)| bit);
        Some(Rule { kind, major: Some(device.major), minor: Some(device.minor), access: access.sum() })
    }
}

fn rules(devices: &[Device]) -> impl Iterator<Item = Rule> {
    ALLOWED.iter().copied().chain(devices.iter().filter_map(Rule::of))
}

/// Lines for `devices.allow`, after `a` was written to `devices.deny`.
pub(super) fn v1_lines(devices: &[Device]) -> impl Iterator<Item = String> {
    rules(devices).map(|rule| {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = match rule.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let letters = [('r', READ), ('w', WRITE), ('m', MKNOD)];
        let access: String =
            letters.iter().filter(|(_, bit)| rule.access & bit != 0).map(|(letter, _)| letter).collect();
        format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
    })
}

/// Has the kernel ask a program about every device that a process of the cgroup makes or opens.
pub(super) fn attach_v2(cgroup: BorrowedFd<'_>, devices: &[Device]) -> io::Result<()> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_ATTACH: libc::c_int = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const BPF_CGROUP_DEVICE: u32 = 6;
    let program = program(devices);
    let load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the call gave a new descriptor that nobody else owns. The cgroup keeps the program alive.
    let program = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let attach = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
    };
    bpf(BPF_PROG_ATTACH, &attach).map(drop)
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<i64> {
    // SAFETY: `attr` is the head of the attributes that this command reads; the kernel takes what is missing as zero.
    // The memory that it points to outlives the call.
    match unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// One eBPF instruction.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u8,
    /// Source register in the high half, destination in the low.
    regs: u8,
    off: i16,
    imm: i32,
}

/// Compares the request with the rules, one after the other: 1 allows, 0 refuses.
fn program(devices: &[Device]) -> Vec<Insn> {
    const LOAD_WORD: u8 = 0x61;
    const MOV_REG: u8 = 0xbf;
    const MOV: u8 = 0xb7;
    const AND: u8 = 0x57;
    const SHIFT_RIGHT: u8 = 0x77;
    const JUMP_NOT_EQUAL: u8 = 0x55;
    const EXIT: u8 = 0x95;
    // Registers. The context comes in the first.
    const SCRATCH: u8 = 1;
    const KIND: u8 = 2;
    const ACCESS: u8 = 3;
    const MAJOR: u8 = 4;
    const MINOR: u8 = 5;
    let insn = |code, dst: u8, src: u8, off, imm| Insn { code, regs: src << 4 | dst, off, imm };
    let load = |dst, offset| insn(LOAD_WORD, dst, 1, offset, 0);
    let mut program = vec![
        load(KIND, 0),
        load(MAJOR, 4),
        load(MINOR, 8),
        insn(MOV_REG, ACCESS, KIND, 0, 0),
        insn(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        insn(AND, KIND, 0, 0, 0xffff),
    ];
    for rule in rules(devices) {
        let mut block = vec![insn(JUMP_NOT_EQUAL, KIND, 0, 0, rule.kind as i32)];
        if rule.access != ALL {
            // Nothing may be asked for beyond what the rule gives.
            block.push(insn(MOV_REG, SCRATCH, ACCESS, 0, 0));
            block.push(insn(AND, SCRATCH, 0, 0, !rule.access.cast_signed() & ALL as i32));
            block.push(insn(JUMP_NOT_EQUAL, SCRATCH, 0, 0, 0));
        }
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            block.extend(number.map(|n| insn(JUMP_NOT_EQUAL, register, 0, 0, n.cast_signed())));
        }
        block.extend([insn(MOV, 0, 0, 0, 1), insn(EXIT, 0, 0, 0, 0)]);
        let end = block.len();
        for (at, insn) in block.iter_mut().enumerate().filter(|(_, i)| i.code == JUMP_NOT_EQUAL) {
            insn.off = (end - at - 1) as i16;
        }
        program.extend(block);
    }
    program.extend([insn(MOV, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_version_1() {
        let lines: Vec<String> = v1_lines(&[disk("rm")]).collect();
        assert_eq!(&lines[..3], ["c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert!(lines.contains(&"c 136:* rwm".to_owned()));
        assert_eq!(lines.last().map(String::as_str), Some("b 8:3 rm"));
    }

    fn disk(access: &str) -> Device {
        Device {
            path: "/dev/sda3".into(),
            kind: DeviceKind::Block,
            major: 8,
            minor: 3,
            mode: 0o660,
            uid: None,
            gid: None,
            access: access.into(),
        }
    }

    /// Runs the instructions that [`program`] uses.
    fn run(kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        run_with(&[], kind, access, major, minor)
    }

    fn run_with(devices: &[Device], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        let context = [u64::from(access << 16 | kind), u64::from(major), u64::from(minor)];
        let program = program(devices);
        let mut r = [0u64; 11];
        let mut at = 0usize;
        loop {
            let Insn { code, regs, off, imm } = program[at];
            let (dst, src) = (usize::from(regs & 15), usize::from(regs >> 4));
            at += 1;
            match code {
                0x61 => r[dst] = context[off as usize / 4],
                0xbf => r[dst] = r[src],
                0xb7 => r[dst] = imm as u64,
                0x57 => r[dst] &= imm as u64,
                0x77 => r[dst] >>= imm,
                0x55 if r[dst] != imm as u64 => at += off as usize,
                0x55 => {}
                0x95 => return r[0],
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn program_of_version_2() {
        let [block, char] = [1, 2];
        assert_eq!(run(char, 6, 1, 3), 1, "read and write /dev/null");
        assert_eq!(run(char, 7, 136, 12), 1, "a terminal");
        assert_eq!(run(block, 1, 8, 0), 1, "make a disk");
        assert_eq!(run(block, 2, 8, 0), 0, "read a disk");
        assert_eq!(run(block, 3, 8, 0), 0, "make and read a disk");
        assert_eq!(run(char, 2, 1, 1), 0, "read memory");
        assert_eq!(run(block, 4, 1, 3), 0, "a disk with the number of /dev/null");
        let disks = [disk("r")];
        assert_eq!(run_with(&disks, block, 2, 8, 3), 1, "read a disk that it was given");
        assert_eq!(run_with(&disks, block, 6, 8, 3), 0, "write to it");
        assert_eq!(run_with(&disks, block, 2, 8, 4), 0, "read the next one");
    }
}
