//! Modules of programs that Go made, which say so themselves (Go, debug/buildinfo).

use crate::elf::Elf;
use crate::package::{Kind, Package};

const SECTION: &str = ".go.buildinfo";
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Bytes before texts that are in the section itself.
const HEADER: usize = 32;
/// Bytes of a text, at most.
const LIMIT: u64 = 4 << 20;
/// Bytes before and behind the list of modules by which it is found.
const SENTINEL: usize = 16;

/// The modules that a program was built of.
pub fn build_info(elf: &Elf<'_>) -> Vec<Package> {
    let Some((version, modules)) = elf.section(SECTION).and_then(|section| texts(elf, section)) else {
        return Vec::new();
    };
    let mut found = modules_of(&modules);
    let standard = Package::new(Kind::Golang, "stdlib", version.strip_prefix("go").unwrap_or(&version));
    if let Some(main) = found.first_mut() {
        main.needs.push(standard.name.clone());
    }
    found.push(standard);
    found
}

/// The version of Go, and what it wrote of modules.
fn texts(elf: &Elf<'_>, section: &[u8]) -> Option<(String, String)> {
    if !section.starts_with(MAGIC) {
        return None;
    }
    let (word, flags) = (*section.get(14)?, *section.get(15)?);
    let (version, modules) = if flags & 2 != 0 {
        let (version, rest) = counted(section.get(HEADER..)?)?;
        (version, counted(rest)?.0)
    } else {
        let word = usize::from(word).min(8);
        (pointed(elf, section, 16, word)?, pointed(elf, section, 16 + word, word)?)
    };
    let modules = match modules.len() {
        len if len > 2 * SENTINEL && modules[len - SENTINEL - 1] == b'\n' => {
            &modules[SENTINEL..len - SENTINEL]
        }
        _ => &[],
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // `go1.22.1 X:experiments`
    let version = text(version).split(' ').next().unwrap_or_default().to_owned();
    Some((version, text(modules)))
}

/// A text after its length, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0u64;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return bytes[i + 1..].split_at_checked(usize::try_from(len).ok()?);
        }
    }
    None
}

/// The text that a pointer in the section leads to, before Go 1.18: where it is, and its length.
fn pointed<'a>(elf: &Elf<'a>, section: &[u8], at: usize, word: usize) -> Option<&'a [u8]> {
    let header = elf.number(section, at, word)?;
    let header = elf.at_address(header, 2 * word as u64)?;
    let (address, len) = (elf.number(header, 0, word)?, elf.number(header, word, word)?);
    elf.at_address(address, len).filter(|_| len <= LIMIT)
}

/// `mod` is the program's own, `dep` one that it needs, `=>` what took the place of the one before.
fn modules_of(text: &str) -> Vec<Package> {
    let mut found: Vec<Package> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (kind, name) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let version = fields.next().unwrap_or_default();
        let module = || Package::new(Kind::Golang, name, version);
        match kind {
            "mod" => found.insert(0, module()),
            "dep" => found.push(module()),
            // A folder has no name that others know.
            "=>" if !name.starts_with(['.', '/']) => {
                if let Some(replaced) = found.last_mut() {
                    *replaced = module();
                }
            }
            _ => {}
        }
    }
    found.retain(|module| !module.name.is_empty());
    let needs: Vec<_> = found.iter().skip(1).map(|module| module.name.clone()).collect();
    if let Some(main) = found.first_mut() {
        main.needs = needs;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_modules() {
        let text = "path\tx/cmd\nmod\tx\tv1.0.0\th1:\ndep\ta\tv1.0.0\th1:\ndep\tb\tv2.0.0\n=>\tc\tv3.0.0\th1:\n\
            dep\td\tv4.0.0\n=>\t../d\t(devel)\t\nbuild\t-x=y\n";
        let read: Vec<_> = modules_of(text).iter().map(|m| format!("{} {}", m.name, m.version)).collect();
        assert_eq!(read, ["x v1.0.0", "a v1.0.0", "c v3.0.0", "d v4.0.0"]);
        assert!(modules_of("=>\tx\nmod\n").is_empty());
    }

    #[test]
    fn counted_texts() {
        for (bytes, expected) in [
            (&b"\x03abcd"[..], Some(&b"abc"[..])),
            (b"\x83\x00abc", Some(b"abc")),
            (b"\x05abc", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(counted(bytes).map(|(text, _)| text), expected);
        }
    }
}
