//! Which files tell of packages, and who reads them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;

use errdefs::{Error, Result};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::elf::{Bytes, Elf};
use crate::package::{Evidence, Inventory, Kind, Package};
use crate::{apk, cargo, dpkg, go, npm, os, python, rpm};

/// Bytes of databases and lock files that are read, at most.
const DATABASE: u64 = 256 << 20;
/// Bytes of the files of single packages.
const SMALL: u64 = 4 << 20;

/// A file system, as a scan sees it.
pub trait Root {
    /// Calls `each` with the path (from the root, without a slash in front) and the permission bits of all regular files.
    /// Links are not followed.
    fn walk(&self, each: &mut dyn FnMut(&[u8], u32) -> Result<()>) -> Result<()>;

    /// Opens a regular file, behind links too, which never lead out; `None` where there is none.
    fn open(&self, path: &[u8]) -> Result<Option<File>>;
}

/// Finds the packages of a file system.
///
/// # Errors
/// Those of the file system. What is in a file is none: see [`Inventory::notes`].
pub fn scan(root: &dyn Root) -> Result<Inventory> {
    let mut scan = Scan { root, packages: Vec::new(), locks: Vec::new(), notes: Vec::new() };
    root.walk(&mut |path, mode| match Reader::of(path, mode) {
        Some(reader) => scan.read(reader, path),
        None => Ok(()),
    })?;
    scan.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Dpkg,
    Apk,
    RpmSqlite,
    RpmNdb,
    RpmBerkeley,
    RpmLog,
    Npm,
    NpmLock,
    Python,
    CargoLock,
    Program,
}

impl Reader {
    fn of(path: &[u8], mode: u32) -> Option<Self> {
        let cut = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (dir, name) = path.split_at(cut);
        let is_in = |folder: &str| {
            dir.strip_suffix(folder.as_bytes()).is_some_and(|d| d.is_empty() || d.ends_with(b"/"))
        };
        let is_of_rpm = || is_in("lib/rpm/") || is_in("lib/sysimage/rpm/") || is_in("usr/share/rpm/");
        let known = match name {
            b"status" if is_in("var/lib/dpkg/") => Reader::Dpkg,
            _ if is_in("var/lib/dpkg/status.d/") && !name.ends_with(b".md5sums") => Reader::Dpkg,
            b"installed" if is_in("lib/apk/db/") => Reader::Apk,
            b"rpmdb.sqlite" if is_of_rpm() => Reader::RpmSqlite,
            b"rpmdb.sqlite-wal" if is_of_rpm() => Reader::RpmLog,
            b"Packages.db" if is_of_rpm() => Reader::RpmNdb,
            b"Packages" if is_of_rpm() => Reader::RpmBerkeley,
            b"package.json" if is_a_module(dir) => Reader::Npm,
            b"package-lock.json" | b"npm-shrinkwrap.json" if !contains(dir, b"node_modules/") => {
                Reader::NpmLock
            }
            b"METADATA" if dir.ends_with(b".dist-info/") => Reader::Python,
            b"PKG-INFO" if dir.ends_with(b".egg-info/") => Reader::Python,
            _ if name.ends_with(b".egg-info") => Reader::Python,
            b"Cargo.lock" => Reader::CargoLock,
            _ if mode & 0o111 != 0 || contains(name, b".so") => Reader::Program,
            _ => return None,
        };
        Some(known)
    }
}

/// `node_modules/NAME/` or `node_modules/@SCOPE/NAME/`.
fn is_a_module(dir: &[u8]) -> bool {
    let mut folders = dir.split(|b| *b == b'/').rev().skip(2);
    let above = folders.next().unwrap_or_default();
    above == b"node_modules" || above.starts_with(b"@") && folders.next() == Some(b"node_modules")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

struct Scan<'a> {
    root: &'a dyn Root,
    packages: Vec<Package>,
    /// Lock files of npm with their folders, which count where nothing is installed beside them.
    locks: Vec<(String, Vec<Package>)>,
    notes: Vec<String>,
}

impl Scan<'_> {
    fn read(&mut self, reader: Reader, path: &[u8]) -> Result<()> {
        let shown = shown(path);
        match reader {
            Reader::Program => {
                let packages = self.root.open(path)?.map(program).unwrap_or_default();
                self.packages.extend(found_in(&shown, packages));
                return Ok(());
            }
            Reader::RpmBerkeley => {
                self.notes
                    .push(format!("{shown} was not read: it is in Berkeley DB, which is not supported"));
                return Ok(());
            }
            _ => {}
        }
        let limit = if matches!(reader, Reader::Npm | Reader::Python) { SMALL } else { DATABASE };
        let Some(bytes) = self.bytes(path, limit)? else { return Ok(()) };
        let read = match reader {
            Reader::Dpkg => {
                let mut packages = dpkg::read(&bytes);
                packages.iter_mut().try_for_each(|package| self.debian(package, path))?;
                Some(packages)
            }
            Reader::Apk => Some(apk::read(&bytes)),
            Reader::RpmSqlite => rpm::sqlite(&bytes),
            Reader::RpmNdb => rpm::ndb(&bytes),
            Reader::RpmLog if !bytes.is_empty() => {
                self.notes
                    .push(format!("{shown} was not read: packages of the last transactions may be missing"));
                None
            }
            Reader::RpmLog | Reader::RpmBerkeley | Reader::Program => None,
            Reader::Npm => Some(npm::manifest(&bytes).into_iter().collect()),
            Reader::NpmLock => {
                let folder = shown.rsplit_once('/').map_or("", |(folder, _)| folder);
                let packages = found_in(&shown, npm::lock(&bytes));
                self.locks.push((format!("{folder}/node_modules/"), packages));
                None
            }
            Reader::Python => Some(python::metadata(&bytes).into_iter().collect()),
            Reader::CargoLock => Some(cargo::lock(&bytes)),
        };
        match read {
            Some(packages) => self.packages.extend(found_in(&shown, packages)),
            None if matches!(reader, Reader::RpmSqlite | Reader::RpmNdb) => {
                self.notes.push(format!("{shown} was not read: it is damaged"));
            }
            None => {}
        }
        Ok(())
    }

    /// What Debian tells of a package in files of its own: in which layer it came is told by the list of its files.
    fn debian(&mut self, package: &mut Package, status: &[u8]) -> Result<()> {
        let status = String::from_utf8_lossy(status).into_owned();
        let Some(root) = status.find("var/lib/dpkg/").map(|at| &status[..at]) else { return Ok(()) };
        for name in [package.name.clone(), format!("{}:{}", package.name, package.arch)] {
            let list = format!("{root}var/lib/dpkg/info/{name}.list");
            if self.root.open(list.as_bytes())?.is_some() {
                package.found_in.insert(format!("/{list}"));
            }
        }
        let copyright = format!("{root}usr/share/doc/{}/copyright", package.name);
        if let Some(bytes) = self.bytes(copyright.as_bytes(), SMALL)? {
            package.license = dpkg::copyright(&bytes);
        }
        Ok(())
    }

    fn bytes(&mut self, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.root.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            self.notes.push(format!("{} was not read: it has more than {limit} bytes", shown(path)));
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn finish(mut self) -> Result<Inventory> {
        let is_npm = |package: &&Package| package.kind == Kind::Npm;
        let installed: Vec<String> =
            self.packages.iter().filter(is_npm).flat_map(|package| &package.found_in).cloned().collect();
        for (modules, packages) in std::mem::take(&mut self.locks) {
            if !installed.iter().any(|path| path.starts_with(&modules)) {
                self.packages.extend(packages);
            }
        }
        let distro = ["etc/os-release", "usr/lib/os-release"].into_iter().find_map(|path| {
            self.bytes(path.as_bytes(), SMALL).transpose().map(|bytes| bytes.map(|bytes| os::read(&bytes)))
        });
        let mut inventory = Inventory { distro: distro.transpose()?.flatten(), ..Inventory::default() };
        inventory.set_packages(self.packages);
        let files: BTreeSet<_> =
            inventory.packages.iter().flat_map(|package| package.found_in.clone()).collect();
        inventory.files = files.into_iter().map(|path| evidence(self.root, path)).collect::<Result<_>>()?;
        self.notes.sort();
        inventory.notes = self.notes;
        Ok(inventory)
    }
}

/// What a program says it was built of.
pub fn program(file: File) -> Vec<Package> {
    let bytes = Bytes::new(file);
    let Some(elf) = Elf::read(&bytes) else { return Vec::new() };
    let mut packages = go::build_info(&elf);
    packages.extend(elf.section(".dep-v0").iter().flat_map(|section| cargo::audited(section)));
    packages
}

fn found_in(path: &str, mut packages: Vec<Package>) -> Vec<Package> {
    packages.iter_mut().for_each(|package| _ = package.found_in.insert(path.to_owned()));
    packages
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// What a document must tell of a file.
fn evidence(root: &dyn Root, path: String) -> Result<(String, Evidence)> {
    let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
    // A name that is no UTF-8 is shown as another.
    if let Some(mut file) = root.open(path.trim_start_matches('/').as_bytes())? {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut buffer).map_err(Error::from)?;
            if read == 0 {
                break;
            }
            sha1.update(&buffer[..read]);
            sha256.update(&buffer[..read]);
        }
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok((path, Evidence { sha1: hex(&sha1.finalize()), sha256: hex(&sha256.finalize()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_readers() {
        for (path, mode, expected) in [
            ("var/lib/dpkg/status", 0o644, Some(Reader::Dpkg)),
            ("rootfs/var/lib/dpkg/status.d/base", 0o644, Some(Reader::Dpkg)),
            ("var/lib/dpkg/status.d/base.md5sums", 0o644, None),
            ("xvar/lib/dpkg/status", 0o644, None),
            ("usr/lib/apk/db/installed", 0o644, Some(Reader::Apk)),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", 0o644, Some(Reader::RpmSqlite)),
            ("var/lib/rpm/Packages", 0o644, Some(Reader::RpmBerkeley)),
            ("app/node_modules/a/package.json", 0o644, Some(Reader::Npm)),
            ("app/node_modules/@a/b/package.json", 0o644, Some(Reader::Npm)),
            ("app/node_modules/a/lib/package.json", 0o644, None),
            ("app/package.json", 0o644, None),
            ("app/package-lock.json", 0o644, Some(Reader::NpmLock)),
            ("app/node_modules/a/package-lock.json", 0o644, None),
            ("usr/lib/python3/dist-packages/a-1.dist-info/METADATA", 0o644, Some(Reader::Python)),
            ("usr/lib/python3/dist-packages/a-1.egg-info", 0o644, Some(Reader::Python)),
            ("src/Cargo.lock", 0o644, Some(Reader::CargoLock)),
            ("usr/bin/x", 0o755, Some(Reader::Program)),
            ("usr/lib/libx.so.1", 0o644, Some(Reader::Program)),
            ("etc/passwd", 0o644, None),
        ] {
            assert_eq!(Reader::of(path.as_bytes(), mode), expected, "{path}");
        }
    }
}
