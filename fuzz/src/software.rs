//! Files that tell of packages.

use std::io::{Seek as _, Write as _};

use sbom::readers;

pub fn dpkg(bytes: &[u8]) {
    readers::dpkg(bytes);
    readers::Declared::read(&readers::copyright(bytes));
}

pub fn apk(bytes: &[u8]) {
    for package in readers::apk(bytes) {
        readers::Declared::read(&package.license);
        package.purl(None);
    }
}

pub fn rpm(bytes: &[u8]) {
    readers::sqlite(bytes);
    readers::ndb(bytes);
}

pub fn npm(bytes: &[u8]) {
    readers::npm_manifest(bytes);
    readers::npm_lock(bytes);
}

pub fn python(bytes: &[u8]) {
    readers::python(bytes);
}

pub fn cargo(bytes: &[u8]) {
    readers::cargo_lock(bytes);
    readers::audited(bytes);
}

pub fn program(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("written");
    readers::program(file);
}

/// A program of 64 bits with nothing in it but what Go says of its modules.
pub fn sample_program() -> Vec<u8> {
    const NAMES: &[u8] = b"\0.go.buildinfo\0.names\0";
    let modules = [&b"0123456789abcdef"[..], b"path\tx\nmod\tx\tv1\n", b"0123456789abcdef"].concat();
    let mut info =
        [&b"\xff Go buildinf:\x08\x02"[..], &[0; 16], b"\x06go1.22", &[modules.len() as u8]].concat();
    info.extend(modules);
    let sections = 64 + NAMES.len() + info.len();
    let mut elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 57]].concat();
    elf[40..48].copy_from_slice(&(sections as u64).to_le_bytes());
    for (at, number) in [(58, 64u16), (60, 3), (62, 2)] {
        elf[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    elf.extend_from_slice(NAMES);
    elf.extend_from_slice(&info);
    for (name, offset, size) in [(0u32, 0, 0), (1, 64 + NAMES.len(), info.len()), (15, 64, NAMES.len())] {
        let mut section = [0; 64];
        section[..4].copy_from_slice(&name.to_le_bytes());
        section[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
        section[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        elf.extend_from_slice(&section);
    }
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_program_of_go() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&sample_program()).expect("written");
        let found: Vec<_> =
            readers::program(file).iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        assert_eq!(found, ["x v1", "stdlib 1.22"]);
    }
}
