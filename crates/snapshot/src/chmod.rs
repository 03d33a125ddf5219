//! Modes as chmod(1) takes them, with no umask.

use errdefs::{Error, Result};

const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
/// What a clause without a class is about; the sticky bit only where it is named.
const ALL: u32 = 0o6777;

/// A parsed mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod(Vec<Step>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Set(u32),
    Clear(u32),
    /// Sets these where the file is a directory or may be executed by anyone.
    SetIfExecutable(u32),
    /// Copies the permissions of one class, given by its shift, to the classes in the mask.
    Copy {
        shift: u32,
        to: u32,
        op: u8,
    },
}

impl Chmod {
    pub fn parse(text: &str) -> Result<Self> {
        let steps =
            if text.starts_with(|c: char| c.is_ascii_digit()) { absolute(text) } else { symbolic(text) };
        steps.map(Chmod).ok_or_else(|| Error::user(format!("invalid mode `{text}`: invalid syntax")))
    }

    /// The new mode of a file that has `mode`, of which the low 12 bits count.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let mut new = mode;
        for step in &self.0 {
            match *step {
                Step::Set(bits) => new |= bits,
                Step::Clear(bits) => new &= !bits,
                Step::SetIfExecutable(bits) if is_dir || mode & 0o111 != 0 => new |= bits,
                Step::SetIfExecutable(_) => {}
                Step::Copy { shift, to, op } => {
                    let value = (((new >> shift) & 7) * 0o111) & to;
                    match op {
                        b'+' => new |= value,
                        b'-' => new &= !value,
                        _ => new = (new & !(to & 0o777)) | value,
                    }
                }
            }
        }
        new & 0o7777
    }
}

fn absolute(text: &str) -> Option<Vec<Step>> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)?;
    Some(vec![Step::Clear(ALL | STICKY), Step::Set(mode)])
}

fn symbolic(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for clause in text.split(',') {
        let ops = clause.find(|c| !matches!(c, 'a' | 'u' | 'g' | 'o'))?;
        let who = clause[..ops].bytes().fold(0, |who, class| {
            who | match class {
                b'a' => ALL,
                b'u' => 0o4700,
                b'g' => 0o2070,
                _ => 0o007,
            }
        });
        let mut rest = &clause.as_bytes()[ops..];
        while !rest.is_empty() {
            rest = operation(who, rest, &mut steps)?;
        }
    }
    Some(steps)
}

/// Reads one operator with its permissions and gives what follows.
fn operation<'a>(who: u32, text: &'a [u8], steps: &mut Vec<Step>) -> Option<&'a [u8]> {
    let (&op, mut rest) = text.split_first()?;
    if !matches!(op, b'+' | b'-' | b'=') {
        return None;
    }
    let mut op_who = who;
    let (mut set, mut set_x) = (0, 0);
    let mut cleared = false;
    // Set-id and sticky bits say nothing about "others".
    let special = who == 0 || who & !0o007 != 0;
    while let Some((&perm, after)) = rest.split_first() {
        match perm {
            b'r' => set |= 0o444,
            b'w' => set |= 0o222,
            b'x' => set |= 0o111,
            b'X' if op == b'-' => set |= 0o111,
            b'X' => set_x |= 0o111,
            b's' if special => set |= SET_ID,
            b't' if special => {
                op_who |= STICKY;
                set |= STICKY;
            }
            b's' | b't' => {}
            b'u' | b'g' | b'o' => {
                flush(op, who, op_who, &mut set, &mut set_x, &mut cleared, steps);
                let shift = match perm {
                    b'u' => 6,
                    b'g' => 3,
                    _ => 0,
                };
                let to = if who == 0 { 0o777 } else { who & 0o777 };
                steps.push(Step::Copy { shift, to, op });
                cleared = true;
            }
            _ => break,
        }
        rest = after;
    }
    if op == b'=' && !cleared && set == 0 {
        steps.push(Step::Clear(if who == 0 { ALL } else { op_who }));
        cleared = true;
    }
    flush(op, who, op_who, &mut set, &mut set_x, &mut cleared, steps);
    Some(rest)
}

/// Turns the permissions gathered so far into steps.
fn flush(
    op: u8,
    who: u32,
    op_who: u32,
    set: &mut u32,
    set_x: &mut u32,
    cleared: &mut bool,
    steps: &mut Vec<Step>,
) {
    let within = |bits: u32| {
        if who == 0 && op_who == 0 {
            bits
        } else if who == 0 {
            bits & (ALL | op_who)
        } else {
            bits & op_who
        }
    };
    if *set != 0 {
        if op == b'=' {
            steps.push(Step::Clear(if who == 0 { ALL | op_who } else { op_who }));
            *cleared = true;
        }
        let bits = within(*set);
        steps.push(if op == b'-' { Step::Clear(bits) } else { Step::Set(bits) });
    }
    if *set_x != 0 {
        steps.push(Step::SetIfExecutable(within(*set_x)));
    }
    (*set, *set_x) = (0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, mode: u32, is_dir: bool, want: u32) {
        let got = Chmod::parse(text).unwrap().apply(mode, is_dir);
        assert_eq!(got, want, "{text} on {mode:o} gave {got:o}, not {want:o}");
    }

    /// What chmod(1) of BSD and GNU agree on.
    #[test]
    fn modes_of_the_manual() {
        check("644", 0o777, false, 0o644);
        check("4755", 0o644, false, 0o4755);
        check("go-w", 0o666, false, 0o644);
        check("=rw,+X", 0o711, false, 0o777);
        check("=rw,+X", 0o600, false, 0o666);
        check("+X", 0o644, true, 0o755);
        check("+X", 0o644, false, 0o644);
        check("u=rwx,go=rx", 0o000, false, 0o755);
        check("u=rwx,go=u-w", 0o000, false, 0o755);
        check("go=", 0o777, false, 0o700);
        check("go=u-w", 0o640, false, 0o644);
        check("a+t", 0o755, true, 0o1755);
        check("u+s,g+s", 0o755, false, 0o6755);
        check("o+s", 0o755, false, 0o755);
        check("u=rwX,go=rX", 0o644, false, 0o644);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("-x", 0o777, false, 0o666);
        check("a-X", 0o777, false, 0o666);
        check("u+x-w", 0o644, false, 0o544);
    }

    #[test]
    fn what_is_no_mode() {
        for text in ["", "z", "u", "u+r,", "8", "10000", "u+rq", "rw", "9z"] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}
