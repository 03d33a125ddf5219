//! Packages of Alpine and its kin: `lib/apk/db/installed` (apk-package(5)).

use crate::package::{Kind, Package};

/// All packages of a database.
pub fn read(bytes: &[u8]) -> Vec<Package> {
    let text = String::from_utf8_lossy(bytes);
    text.split("\n\n").filter_map(package).collect()
}

fn package(paragraph: &str) -> Option<Package> {
    let mut package = Package::new(Kind::Apk, "", "");
    for line in paragraph.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key {
            "P" => package.name = value.into(),
            "V" => package.version = value.into(),
            "A" => package.arch = value.into(),
            "L" => package.license = value.into(),
            "U" => package.homepage = value.into(),
            "m" => package.supplier = value.into(),
            "o" => package.source.0 = value.into(),
            "p" => package.provides = names(value),
            "D" => package.needs = names(value),
            _ => {}
        }
    }
    (!package.name.is_empty() && !package.version.is_empty()).then_some(package)
}

/// Names without the versions that they must have; what must not be there is no need.
fn names(list: &str) -> Vec<String> {
    let words = list.split_whitespace().filter(|word| !word.starts_with('!'));
    words.filter_map(|word| word.split(['=', '<', '>', '~']).next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database() {
        let text = "C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:x\n\n\
            P:busybox\nV:1.36-r5\nD:so:libc.musl-x86_64.so.1 !x a>=1\n\nP:half\n";
        let read = read(text.as_bytes());
        assert_eq!(read.iter().map(|p| p.version.as_str()).collect::<Vec<_>>(), ["1.2.4-r2", "1.36-r5"]);
        assert_eq!(read[0].provides, ["so:libc.musl-x86_64.so.1"]);
        assert_eq!(read[1].needs, ["so:libc.musl-x86_64.so.1", "a"]);
    }
}
