//! Signals to the first process of a container. The kernel drops those that it does not catch, because it is the first
//! of its pid namespace; anywhere else most of them would end it. A program is to end here as it does elsewhere.

/// Numbers of the signals that end no process by default, or that reach the first one too.
const HARMLESS: [i32; 9] = [
    9,  // KILL
    17, // CHLD
    18, // CONT
    19, // STOP
    20, // TSTP
    21, // TTIN
    22, // TTOU
    23, // URG
    28, // WINCH
];

/// Whether the process `pid` would be ended by `signal` if it were not the first one.
pub fn would_end(pid: i32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !HARMLESS.contains(&signal) && takes_no_notice(&status, signal)
}

/// Whether a process of this status (proc_pid_status(5)) does not catch, ignore or block the signal.
fn takes_no_notice(status: &str, signal: i32) -> bool {
    let Some(bit) = u32::try_from(signal - 1).ok().filter(|bit| *bit < 64) else { return false };
    let mut masks = 0;
    for line in status.lines() {
        let mask = match line.split_once(':') {
            Some(("SigCgt" | "SigIgn" | "SigBlk", mask)) => u64::from_str_radix(mask.trim(), 16),
            _ => continue,
        };
        match mask {
            Ok(mask) if mask >> bit & 1 == 0 => masks += 1,
            _ => return false,
        }
    }
    masks == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERRUPT: i32 = 2;
    const QUIT: i32 = 3;

    #[test]
    fn what_a_status_says() {
        let check = |blocked: &str, ignored: &str, caught: &str, signal, expected| {
            let status =
                format!("Name:\tsh\nSigQ:\t0/9\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n");
            assert_eq!(takes_no_notice(&status, signal), expected, "{blocked} {ignored} {caught} {signal}");
        };
        check("0", "0", "0", INTERRUPT, true);
        check("0", "0", "0", 64, true);
        check("0000000000000002", "0", "0", INTERRUPT, false);
        check("0", "0000000000000002", "0", INTERRUPT, false);
        check("0", "0", "0000000000000002", INTERRUPT, false);
        check("0", "0", "0000000000000002", QUIT, true);
        check("0", "0", "8000000000000000", 64, false);
        check("0", "0", "0", 0, false);
        check("0", "0", "0", 65, false);
        check("0", "0", "x", INTERRUPT, false);
        assert!(!takes_no_notice("", INTERRUPT));
    }

    #[test]
    fn processes() {
        // Not this process: its first thread blocks all signals for a moment while it starts the one of the test.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        // STKFLT, which nothing has a use for. Others may be ignored from birth, as below Python XFSZ is.
        let seen = (would_end(pid, 16), would_end(pid, 17), would_end(0, INTERRUPT));
        child.kill().expect("killed");
        child.wait().expect("it ends");
        assert_eq!(seen, (true, false, false));
    }
}
