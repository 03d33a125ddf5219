//! Signals by their names, as the wire has them.

/// Names and numbers of Linux on x86 and ARM, but for the real-time ones.
const NAMED: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

/// The first and last real-time signals that programs may use.
const REAL_TIME: (i32, i32) = (34, 64);

/// `TERM`, `RTMIN+3`, `RTMAX-14`; with `SIG` in front or without.
pub fn number(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some((_, number)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let (min, max) = REAL_TIME;
    let offset = |rest: &str, sign| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<i32>().ok().filter(|n| (0..=max - min).contains(n)),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').map(|n| min + n);
    }
    offset(name.strip_prefix("RTMAX")?, '-').map(|n| max - n)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names() {
        let check = |name, expected| assert_eq!(number(name), expected, "{name}");
        check("KILL", Some(9));
        check("SIGINT", Some(2));
        check("RTMIN", Some(34));
        check("RTMIN+3", Some(37));
        check("SIGRTMAX-14", Some(50));
        check("RTMIN+99", None);
        check("RTMIN3", None);
        check("", None);
        check("term", None);
    }
}
