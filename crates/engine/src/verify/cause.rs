//! Why a file is not the same twice: what its name says, and the bytes where the two part.

use std::fs::File;
use std::io::Read as _;

use errdefs::Result;
use snapshot::{Aspect, Change, Difference, View};

/// Bytes of a file that are looked at, at most.
const LIMIT: u64 = 32 << 20;
/// Bytes around the first that differ.
const AROUND: usize = 32;
/// How far a time in a file may lie from that of the step, in seconds: steps take time.
const NEAR: i64 = 24 * 3600;

/// A path that differs, in both trees.
pub struct Pair<'a> {
    pub views: [&'a View; 2],
    /// When the two were made, in seconds since 1970.
    pub made_at: [i64; 2],
    pub difference: &'a Difference,
    /// It was fetched, not made.
    pub is_source: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    Source,
    Versions,
    PackageLists,
    Logs,
    LdCache,
    RandomId,
    PythonCache,
    Gzip,
    Zip,
    Ar,
    Tar,
    Date,
    TemporaryName,
    Order,
    Names,
    OnlyTimes,
    Unknown,
}

impl Finding {
    /// Tells little where something else is told too.
    pub fn is_vague(self) -> bool {
        matches!(self, Finding::OnlyTimes | Finding::Names | Finding::Unknown)
    }

    pub fn text(self) -> &'static str {
        match self {
            Finding::Source => "what is fetched changed between the two builds",
            Finding::Versions => "other versions of packages were installed",
            Finding::PackageLists => "lists of packages were fetched anew",
            Finding::Logs => "logs tell when they were written",
            Finding::LdCache => "the cache of ldconfig holds inode numbers and times",
            Finding::RandomId => "it is random by intent: an id, a key, a seed",
            Finding::PythonCache => "compiled Python files hold the time of their source",
            Finding::Gzip => "gzip wrote the time into the header",
            Finding::Zip => "the zip archive holds times of files",
            Finding::Ar => "the ar archive holds times of its members",
            Finding::Tar => "the tar archive holds times of files, or has them in another order",
            Finding::Date => "the time of the build is in it",
            Finding::TemporaryName => "the name of a temporary file or folder is in it",
            Finding::Order => "the same lines are in another order",
            Finding::Names => "only one of the two builds has it: its name may be random, or hold the time",
            Finding::OnlyTimes => "only the times of files differ",
            Finding::Unknown => {
                "the bytes differ: a random value, the order of a hash table, or parallel work"
            }
        }
    }

    pub fn remedy(self) -> &'static str {
        match self {
            Finding::Source => "pin it: a digest of the image, a commit, ADD --checksum",
            Finding::Versions | Finding::PackageLists => {
                "pin versions or a snapshot of the archive, and remove /var/lib/apt/lists in the same RUN"
            }
            Finding::Logs => "remove them in the same RUN: rm -rf /var/log/*",
            Finding::LdCache => "remove it in the same RUN: rm -f /var/cache/ldconfig/aux-cache",
            Finding::RandomId => "remove it in the same RUN, and make it where the image runs",
            Finding::PythonCache => {
                "set PYTHONDONTWRITEBYTECODE=1 or pip's --no-compile, or have SOURCE_DATE_EPOCH in the step"
            }
            Finding::Gzip => "compress with gzip -n",
            Finding::Zip => "give all files one time before (touch -d), and use zip -X",
            Finding::Ar => "use ar with the modifier D",
            Finding::Tar => {
                "use tar --sort=name --mtime=@$SOURCE_DATE_EPOCH --owner=0 --group=0 --numeric-owner"
            }
            Finding::Date => {
                "declare ARG SOURCE_DATE_EPOCH, so that tools that know it take that time, and give it with --build-arg"
            }
            Finding::TemporaryName => "build in a folder of a fixed name",
            Finding::Order => "sort what is written",
            Finding::Names => "give it a fixed name, or remove it in the same RUN",
            Finding::OnlyTimes => {
                "give --build-arg SOURCE_DATE_EPOCH=…, and rewrite-timestamp=true with --output type=image or oci"
            }
            Finding::Unknown => "run the step twice by hand and compare the files",
        }
    }
}

/// What explains a difference best; nothing for a mode, an owner and the like.
pub fn explain(pair: &Pair<'_>) -> Result<Option<Finding>> {
    if pair.is_source {
        return Ok(Some(Finding::Source));
    }
    let path = &pair.difference.path[..];
    let aspects = match &pair.difference.change {
        Change::OnlyFirst | Change::OnlySecond => return Ok(Some(by_name(path).unwrap_or(Finding::Names))),
        Change::Other(aspects) => aspects,
    };
    if aspects[..] == [Aspect::Mtime] {
        return Ok(Some(Finding::OnlyTimes));
    }
    if !aspects.contains(&Aspect::Content) {
        return Ok(None);
    }
    let [first, second] = pair.views.map(|view| view.open(path).and_then(read));
    let (first, second) = (first?, second?);
    if is_dpkg_status(path) {
        let is_same = lines_with(&first, b"Version:") == lines_with(&second, b"Version:");
        return Ok(Some(if is_same { Finding::Unknown } else { Finding::Versions }));
    }
    Ok(Some(by_name(path).unwrap_or_else(|| by_content(&first, &second, pair.made_at))))
}

fn read(file: File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_dpkg_status(path: &[u8]) -> bool {
    path.ends_with(b"var/lib/dpkg/status")
}

fn lines_with<'a>(bytes: &'a [u8], prefix: &[u8]) -> Vec<&'a [u8]> {
    bytes.split(|b| *b == b'\n').filter(|line| line.starts_with(prefix)).collect()
}

/// Files that are never the same, by their places.
fn by_name(path: &[u8]) -> Option<Finding> {
    let is_below = |dir: &str| path.starts_with(dir.as_bytes());
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let known = match name {
        b"machine-id" | b"random-seed" => Finding::RandomId,
        _ if is_below("etc/ssh/ssh_host_") || is_below("etc/ssl/private/") => Finding::RandomId,
        _ if is_below("var/log/") || name.ends_with(b".log") => Finding::Logs,
        _ if is_below("var/cache/ldconfig/") => Finding::LdCache,
        _ if is_below("var/lib/apt/lists/") || is_below("var/cache/apt/") || is_below("var/cache/apk/") => {
            Finding::PackageLists
        }
        _ if name.ends_with(b".pyc") => Finding::PythonCache,
        _ => return None,
    };
    Some(known)
}

/// By what the file is, and by what stands where the two part.
fn by_content(first: &[u8], second: &[u8], made_at: [i64; 2]) -> Finding {
    let Some(at) = first.iter().zip(second).position(|(a, b)| a != b) else {
        return Finding::Unknown;
    };
    let both = |magic: &[u8]| first.starts_with(magic) && second.starts_with(magic);
    if both(b"\x1f\x8b") && (4..8).contains(&at) {
        return Finding::Gzip;
    }
    if both(b"PK\x03\x04") {
        return Finding::Zip;
    }
    if both(b"!<arch>\n") && is_near([first, second], at, made_at) {
        return Finding::Ar;
    }
    if [first, second].iter().all(|bytes| bytes.get(257..262) == Some(b"ustar")) {
        return Finding::Tar;
    }
    if is_temporary(first, at) || is_temporary(second, at) {
        return Finding::TemporaryName;
    }
    if is_near([first, second], at, made_at) || has_date(first, at) && has_date(second, at) {
        return Finding::Date;
    }
    let sorted = |bytes: &[u8]| {
        let mut lines: Vec<_> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    if first.len() == second.len() && sorted(first) == sorted(second) {
        return Finding::Order;
    }
    Finding::Unknown
}

/// Whether the times of the two runs stand there, as numbers in text or as four bytes.
fn is_near(both: [&[u8]; 2], at: usize, made_at: [i64; 2]) -> bool {
    let is_near = |number: i64, made_at: i64| (number - made_at).abs() <= NEAR;
    let is_text = both.iter().zip(made_at).all(|(bytes, made_at)| {
        // Seconds, or parts of them: the first ten digits are the seconds.
        let digits = digits_at(bytes, at);
        let seconds = digits.get(..10).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        seconds.is_some_and(|seconds| is_near(seconds, made_at))
    });
    let is_number = |turn: fn([u8; 4]) -> u32| {
        (at.saturating_sub(3)..=at).any(|start| {
            both.iter().zip(made_at).all(|(bytes, made_at)| {
                let bytes = bytes.get(start..start + 4).and_then(|b| b.try_into().ok());
                bytes.is_some_and(|bytes| is_near(turn(bytes).into(), made_at))
            })
        })
    };
    is_text || is_number(u32::from_le_bytes) || is_number(u32::from_be_bytes)
}

/// The digits around a place.
fn digits_at(bytes: &[u8], at: usize) -> &[u8] {
    let start = bytes[..at].iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |before| before + 1);
    let len = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    &bytes[start..start + len]
}

/// Whether a place is in a time of the clock or a date: `12:34:56`, `2026-11-29`, `20261129123456`, `Nov 29`.
fn has_date(bytes: &[u8], at: usize) -> bool {
    let around = &bytes[at.saturating_sub(AROUND)..bytes.len().min(at + AROUND)];
    let here = at.min(AROUND);
    let forms: [&[u8]; 6] =
        [b"00:00:00", b"00:00", b"0000-00-00", b"0000/00/00", b"00000000000000", b"aaa 00"];
    forms.iter().any(|form| {
        around.windows(form.len()).enumerate().any(|(start, text)| {
            (start..start + form.len()).contains(&here)
                && text.iter().zip(*form).all(|(b, f)| matches_form(*b, *f))
        })
    })
}

fn matches_form(byte: u8, form: u8) -> bool {
    match form {
        b'0' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        other => byte == other,
    }
}

/// Whether a place is in a path below `/tmp`, or in a name as `mktemp` makes them.
fn is_temporary(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(AROUND)..at];
    let word = before.rsplit(|b| b.is_ascii_whitespace() || *b == 0 || *b == b'"').next().unwrap_or(before);
    [&b"/tmp/"[..], b"/tmp.", b"tmp."].iter().any(|mark| word.windows(mark.len()).any(|text| text == *mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_790_000_000;

    #[test]
    fn what_bytes_tell() {
        let number = |n: i64| [&b"\x7fELF...."[..], &(n as u32).to_le_bytes(), b"..."].concat();
        let tar = |time: &str| [&[b'a'; 257][..], b"ustar", time.as_bytes()].concat();
        for (first, second, expected) in [
            (
                &b"\x1f\x8b\x08\x00\x01\x02\x03\x04x"[..],
                &b"\x1f\x8b\x08\x00\x02\x02\x03\x04x"[..],
                Finding::Gzip,
            ),
            (b"PK\x03\x04aaaaa1", b"PK\x03\x04aaaaa2", Finding::Zip),
            (b"!<arch>\nx.o/  1790000001  ", b"!<arch>\nx.o/  1790000009  ", Finding::Ar),
            (&tar("1"), &tar("2"), Finding::Tar),
            (b"built 1790000001.5", b"built 1790000019.5", Finding::Date),
            (&number(AT + 1), &number(AT + 9), Finding::Date),
            (b"at 12:34:56 here", b"at 12:34:58 here", Finding::Date),
            (b"Sun Nov 29 12:34:56 UTC", b"Sun Nov 30 12:34:56 UTC", Finding::Date),
            (b"in /tmp/tmp.aX3 x", b"in /tmp/tmp.b91 x", Finding::TemporaryName),
            (b"b\na\nc\n", b"a\nb\nc\n", Finding::Order),
            (b"8d1f2c", b"13aa00", Finding::Unknown),
            (b"short", b"short and long", Finding::Unknown),
        ] {
            let shown = first.escape_ascii();
            assert_eq!(by_content(first, second, [AT, AT + 10]), expected, "{shown}");
        }
    }

    #[test]
    fn what_names_tell() {
        for (path, expected) in [
            ("var/log/dpkg.log", Some(Finding::Logs)),
            ("etc/machine-id", Some(Finding::RandomId)),
            ("usr/lib/python3/__pycache__/a.pyc", Some(Finding::PythonCache)),
            ("var/cache/ldconfig/aux-cache", Some(Finding::LdCache)),
            ("var/lib/apt/lists/x", Some(Finding::PackageLists)),
            ("etc/passwd", None),
        ] {
            assert_eq!(by_name(path.as_bytes()), expected, "{path}");
        }
    }
}
