//! Packages of Debian and its kin: `/var/lib/dpkg/status`, `status.d` of images without dpkg, and copyright files.

use std::collections::BTreeSet;

use crate::package::{Kind, Package};
use crate::paragraphs::{Paragraph, paragraphs};

/// The installed packages of a status file (dpkg(1), deb-control(5)).
pub fn read(bytes: &[u8]) -> Vec<Package> {
    paragraphs(&String::from_utf8_lossy(bytes)).filter_map(|fields| package(&fields)).collect()
}

fn package(fields: &Paragraph) -> Option<Package> {
    let (name, version) = (fields.get("Package"), fields.get("Version"));
    // Files in `status.d` have no status: all are installed.
    let status = fields.get("Status");
    let installed = status.is_empty() || status.split_whitespace().last() == Some("installed");
    if name.is_empty() || version.is_empty() || !installed {
        return None;
    }
    let mut package = Package::new(Kind::Deb, name, version);
    package.arch = fields.get("Architecture").into();
    package.source = source(fields.get("Source"), name);
    package.supplier = fields.get("Maintainer").into();
    package.homepage = fields.get("Homepage").into();
    package.provides = names(fields.get("Provides"));
    package.needs = ["Pre-Depends", "Depends"].into_iter().flat_map(|key| names(fields.get(key))).collect();
    Some(package)
}

/// `name` or `name (version)`; the package's own name where there is none.
fn source(field: &str, own: &str) -> (String, String) {
    match field.split_once(" (") {
        None if field.is_empty() => (own.to_owned(), String::new()),
        None => (field.to_owned(), String::new()),
        Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
    }
}

/// The names in a list of relations, with all alternatives.
fn names(list: &str) -> Vec<String> {
    let words = list.split([',', '|']).map(|item| item.trim().split([' ', '(', ':', '\n']).next());
    words.flatten().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The licences that a copyright file names, where it is written for machines (DEP 5); empty otherwise.
pub fn copyright(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut paragraphs = paragraphs(&text);
    let is_for_machines =
        paragraphs.next().is_some_and(|header| header.get("Format").contains("copyright-format"));
    if !is_for_machines {
        return String::new();
    }
    // The text of a licence follows its name, in lines of its own.
    let name = |field: &str| field.lines().next().unwrap_or_default().trim().to_owned();
    let named: BTreeSet<String> = paragraphs
        .filter(|paragraph| !paragraph.get("Files").is_empty())
        .map(|paragraph| name(paragraph.get("License")))
        .filter(|name| !name.is_empty())
        .collect();
    named.into_iter().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\n\
            Version: 2.36-9+deb12u4\nDepends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~) | x:any\nDescription: c\n more: x\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nVersion: 2\n";
        let read = read(status.as_bytes());
        assert_eq!(read.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["libc6", "b"]);
        assert_eq!(read[0].source, ("glibc".to_owned(), "2.36-9".to_owned()));
        assert_eq!(read[0].needs, ["libgcc-s1", "libcrypt1", "x"]);
    }

    #[test]
    fn copyright_files_for_machines() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
            Files: *\nCopyright: x\nLicense: GPL-2+\n words\n\nFiles: a\nLicense: Expat\n\nLicense: Other\n words\n";
        assert_eq!(copyright(text.as_bytes()), "Expat\nGPL-2+");
        assert_eq!(copyright(b"This package was debianized by\n\nLicense: GPL\n"), "");
    }
}
