use std::collections::BTreeSet;

use super::*;

/// What libseccomp makes of the same profile. See its head for the calls that it does not know.
const ORACLE: &str = include_str!("../libseccomp.txt");

const ARCHES: [(&str, Arch, Family, u32); 5] = [
    ("x86_64", Arch::X86_64, Family::X86, 0xc000_003e),
    ("x86", Arch::X86, Family::X86, 0x4000_0003),
    ("x32", Arch::X32, Family::X86, 0xc000_003e),
    ("aarch64", Arch::Aarch64, Family::Arm, 0xc000_00b7),
    ("arm", Arch::Arm, Family::Arm, 0x4000_0028),
];

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What the kernel would do with a call.
fn run(program: &[Insn], arch: u32, number: u32, argument: u32) -> u32 {
    let mut loaded = 0;
    let mut at = 0;
    loop {
        let Insn { code, on_true, on_false, k } = program[at];
        at += 1;
        let passed = match code {
            bpf::LOAD => {
                loaded = match k {
                    bpf::NUMBER => number,
                    bpf::ARCH => arch,
                    16 => argument,
                    other => panic!("loads from {other}"),
                };
                continue;
            }
            bpf::RETURN => return k,
            bpf::JUMP => {
                at += k as usize;
                continue;
            }
            JUMP_IF_EQUAL => loaded == k,
            JUMP_IF_AT_LEAST => loaded >= k,
            JUMP_IF_ANY_BIT => loaded & k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if passed { on_true } else { on_false });
    }
}

fn oracle(arch: &str) -> BTreeSet<u32> {
    let line = ORACLE.lines().find_map(|line| line.strip_prefix(arch)?.strip_prefix(' ')).expect("a line");
    let number = |s: &str| s.parse::<u32>().expect("a number");
    let ranges = line.split(',').map(|range| range.split_once('-').unwrap_or((range, range)));
    ranges.flat_map(|(from, to)| number(from)..=number(to)).collect()
}

/// Numbers of the calls that the oracle is too old for.
fn unknown(arch: Arch) -> BTreeSet<u32> {
    let names = ORACLE.lines().nth(1).expect("a head").trim_start_matches('#').split_whitespace();
    let rows =
        names.filter_map(|name| SYSCALLS.lines().find(|row| row.split_whitespace().next() == Some(name)));
    rows.filter_map(|row| row.split_whitespace().nth(arch as usize)?.parse().ok()).collect()
}

#[test]
fn allows_what_libseccomp_allows() {
    for (name, arch, family, token) in ARCHES {
        let program = program(family);
        assert!(program.len() < 4096, "the kernel takes no longer one");
        let bit = if arch == Arch::X32 { X32_BIT } else { 0 };
        let numbers = (0..600).chain(0xf_0000..0xf_0010);
        let ours: BTreeSet<u32> = numbers.filter(|n| run(&program, token, n | bit, 0) == ALLOW).collect();
        let theirs = &oracle(name) | &unknown(arch);
        assert_eq!(ours, theirs, "{name}: {:?}", ours.symmetric_difference(&theirs).collect::<Vec<_>>());
    }
}

#[test]
fn arguments_and_errors() {
    let program = program(Family::X86);
    let check = |arch: &str, number, argument, expected| {
        let (.., token) = *ARCHES.iter().find(|(name, ..)| *name == arch).expect("known");
        assert_eq!(run(&program, token, number, argument), expected, "{arch} {number} {argument:#x}");
    };
    for (family, expected) in [(1, ALLOW), (37, ALLOW), (38, EPERM), (39, ALLOW), (40, EPERM), (41, ALLOW)] {
        check("x86_64", 41, family, expected);
        check("x86", 359, family, expected);
    }
    for (personality, expected) in
        [(0, ALLOW), (8, ALLOW), (0x2_0000, ALLOW), (0x2_0008, ALLOW), (u32::MAX, ALLOW), (9, EPERM)]
    {
        check("x86_64", 135, personality, expected);
    }
    check("x86_64", 56, 0x11, ALLOW);
    check("x86_64", 56, 0x1000_0011, EPERM);
    check("x86", 120, 0x0200_0000, EPERM);
    check("x86_64", 435, 0, ENOSYS);
    check("x86_64", 165, 0, EPERM);
    check("x86_64", 425, 0, EPERM);
    check("x86_64", 5000, 0, ENOSYS);
    check("x86_64", X32_BIT | 5000, 0, ENOSYS);
    check("aarch64", 63, 0, libc::SECCOMP_RET_KILL_THREAD);
}

#[test]
fn a_young_call_is_missing_on_arm_too() {
    let program = super::program(Family::Arm);
    assert_eq!(run(&program, 0x4000_0028, 5000, 0), ENOSYS);
    assert_eq!(run(&program, 0x4000_0028, 0xf_0002, 0), ALLOW);
}
