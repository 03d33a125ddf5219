//! Which calls, and the program that tells them apart.

use super::bpf::{
    self, Action, Insn, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, argument, branch, load, ret,
};

/// Every call of the profile (github.com/moby/profiles, for a container with the default capabilities), with its
/// number on each architecture.
const SYSCALLS: &str = include_str!("syscalls.txt");

/// An architecture, whose column in the table its value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64 = 1,
    X86,
    /// The kernel tells it from `X86_64` by a bit in the number.
    X32,
    Aarch64,
    Arm,
}

/// Families of architectures that one kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    X86,
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
    Arm,
}

#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: Family = Family::X86;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: Family = Family::Arm;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("seccomp/syscalls.txt has no column for this architecture");

const X32_BIT: u32 = 0x4000_0000;

/// Where 32-bit ARM has a few calls of its own, far behind the others.
const ARM_PRIVATE: u32 = 0xf_0000;

const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;

/// All `CLONE_NEW*`.
const NAMESPACES: u32 = 0x7e02_0000;

/// Personalities that a program may take: Linux in all variants of 32 and 64 bits; the last one asks for the current.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What the profile says of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Allow,
    /// Any address family but two that reach into the kernel or the host.
    Socket,
    Personality,
    /// No new namespaces.
    Clone,
    /// Its flags are in memory, where a filter does not see them: programs fall back to `clone`.
    NotThere,
}

impl Rule {
    fn of(name: &str) -> Rule {
        match name {
            "socket" => Rule::Socket,
            "personality" => Rule::Personality,
            "clone" => Rule::Clone,
            "clone3" => Rule::NotThere,
            _ => Rule::Allow,
        }
    }

    /// What to do once the number is known.
    fn block(self) -> Vec<Insn> {
        let refuse = || vec![ret(REFUSED)];
        let allow = || vec![ret(Action::Allow)];
        let with_first = |rest: Vec<Insn>| [vec![load(argument(0))], rest].concat();
        match self {
            Rule::Allow => allow(),
            Rule::NotThere => vec![ret(MISSING)],
            Rule::Socket => {
                let vsock = branch(JUMP_IF_EQUAL, AF_VSOCK, refuse(), allow());
                with_first(branch(JUMP_IF_EQUAL, AF_ALG, refuse(), vsock))
            }
            Rule::Clone => with_first(branch(JUMP_IF_ANY_BIT, NAMESPACES, refuse(), allow())),
            Rule::Personality => with_first(
                PERSONALITIES.iter().fold(refuse(), |others, k| branch(JUMP_IF_EQUAL, *k, allow(), others)),
            ),
        }
    }
}

const REFUSED: Action = Action::Errno(libc::EPERM);
/// Also for calls that are younger than the profile: programs know what to do without a call, but not without the
/// permission for it.
const MISSING: Action = Action::Errno(libc::ENOSYS);

/// The whole filter.
pub(super) fn program(family: Family) -> Vec<Insn> {
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    const AUDIT_ARCH_I386: u32 = 0x4000_0003;
    const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
    const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
    let stranger = vec![ret(Action::Kill)];
    let arch = |token, block, others| branch(JUMP_IF_EQUAL, token, block, others);
    let numbered = |block: Vec<Insn>| [vec![load(bpf::NUMBER)], block].concat();
    let tokens = match family {
        Family::X86 => {
            let both = branch(JUMP_IF_AT_LEAST, X32_BIT, search(Arch::X32), search(Arch::X86_64));
            let x86 = arch(AUDIT_ARCH_I386, numbered(search(Arch::X86)), stranger);
            arch(AUDIT_ARCH_X86_64, numbered(both), x86)
        }
        Family::Arm => {
            let arm = arch(AUDIT_ARCH_ARM, numbered(search(Arch::Arm)), stranger);
            arch(AUDIT_ARCH_AARCH64, numbered(search(Arch::Aarch64)), arm)
        }
    };
    [vec![load(bpf::ARCH)], tokens].concat()
}

/// Finds what to do about the loaded number.
fn search(arch: Arch) -> Vec<Insn> {
    search_in(&ranges(&numbers(arch)))
}

/// The calls of an architecture by number.
fn numbers(arch: Arch) -> Vec<(u32, Rule)> {
    let rows = SYSCALLS.lines().filter(|line| !line.starts_with('#'));
    let mut numbers: Vec<(u32, Rule)> = rows
        .filter_map(|row| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let number: u32 = fields.get(arch as usize)?.parse().ok()?;
            let bit = if arch == Arch::X32 { X32_BIT } else { 0 };
            Some((number | bit, Rule::of(fields[0])))
        })
        .collect();
    numbers.sort_unstable_by_key(|(number, _)| *number);
    // Two names may stand for one call.
    numbers.dedup();
    numbers
}

/// A run of numbers that are treated alike, from this one up to the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    from: u32,
    does: Does,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Rule(Rule),
    Refuse,
}

/// From 0 to beyond the last number of the profile, which counts as not there.
fn ranges(numbers: &[(u32, Rule)]) -> Vec<Range> {
    let mut ranges = vec![Range { from: 0, does: Does::Refuse }];
    let mut push = |from, does| match ranges.last() {
        Some(last) if last.does == does => {}
        Some(last) if last.from == from => *ranges.last_mut().expect("there is one") = Range { from, does },
        _ => ranges.push(Range { from, does }),
    };
    let mut next = 0;
    for &(number, rule) in numbers {
        if number > next {
            let young = next < ARM_PRIVATE && (ARM_PRIVATE..X32_BIT).contains(&number);
            push(next, if young { Does::Rule(Rule::NotThere) } else { Does::Refuse });
        }
        push(number, Does::Rule(rule));
        next = number + 1;
    }
    push(next, Does::Rule(Rule::NotThere));
    ranges
}

/// Halves the ranges until one is left.
fn search_in(ranges: &[Range]) -> Vec<Insn> {
    match ranges {
        [] => vec![ret(REFUSED)],
        [range] => match range.does {
            Does::Refuse => vec![ret(REFUSED)],
            Does::Rule(rule) => rule.block(),
        },
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            branch(JUMP_IF_AT_LEAST, high[0].from, search_in(high), search_in(low))
        }
    }
}

#[cfg(test)]
mod tests;
