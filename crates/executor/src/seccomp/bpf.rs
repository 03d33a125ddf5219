//! Classic BPF as seccomp has it: loads, jumps forward, returns.

/// One instruction, `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insn {
    pub code: u16,
    pub on_true: u8,
    pub on_false: u8,
    pub k: u32,
}

pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;

/// The lower half of an argument. The calls that are filtered by one take an `int`, or look at its low bits alone.
pub(super) fn argument(n: u32) -> u32 {
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    16 + 8 * n + low_half
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// The call fails with this error.
    Errno(i32),
    Kill,
}

impl Action {
    fn value(self) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
            Action::Kill => libc::SECCOMP_RET_KILL_THREAD,
        }
    }
}

pub(super) fn load(offset: u32) -> Insn {
    Insn { code: LOAD, on_true: 0, on_false: 0, k: offset }
}

pub(super) fn ret(action: Action) -> Insn {
    Insn { code: RETURN, on_true: 0, on_false: 0, k: action.value() }
}

/// `yes` where the loaded value passes the test, else `no`. Blocks never run into what follows them: each ends with a
/// return.
pub(super) fn branch(code: u16, k: u32, yes: Vec<Insn>, no: Vec<Insn>) -> Vec<Insn> {
    let mut block = Vec::with_capacity(yes.len() + no.len() + 2);
    match u8::try_from(yes.len()) {
        Ok(on_false) => block.push(Insn { code, on_true: 0, on_false, k }),
        // A conditional jump reaches 255 instructions far, an unconditional one any number.
        Err(_) => {
            block.push(Insn { code, on_true: 1, on_false: 0, k });
            block.push(Insn { code: JUMP, on_true: 0, on_false: 0, k: yes.len() as u32 });
        }
    }
    block.extend(yes);
    block.extend(no);
    block
}
