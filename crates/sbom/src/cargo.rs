//! Packages of cargo: lock files, and what `cargo auditable` writes into programs.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use crate::package::{Kind, Package};

/// Bytes of what a program says of itself, unpacked.
const LIMIT: u64 = 8 << 20;

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The packages of a `Cargo.lock`.
pub fn lock(bytes: &[u8]) -> Vec<Package> {
    let lock = std::str::from_utf8(bytes).ok().and_then(|text| toml::from_str::<Lock>(text).ok());
    let package = |locked: Locked| {
        let mut package = package(&locked.name, &locked.version);
        // `name`, or `name version` where there are several, and then maybe where it comes from.
        let need = |text: &String| text.split(" (").next().unwrap_or_default().to_owned();
        package.needs = locked.dependencies.iter().map(need).collect();
        package
    };
    lock.map(|lock| lock.package.into_iter().map(package).collect()).unwrap_or_default()
}

#[derive(Deserialize)]
struct Audited {
    packages: Vec<AuditedPackage>,
}

#[derive(Deserialize)]
struct AuditedPackage {
    name: String,
    version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    dependencies: Vec<usize>,
}

/// The packages in the section `.dep-v0` of a program (cargo-auditable, format version 0): JSON in zlib. Those that only
/// helped to build it are not in it.
pub fn audited(section: &[u8]) -> Vec<Package> {
    let mut json = Vec::new();
    if ZlibDecoder::new(section).take(LIMIT).read_to_end(&mut json).is_err() {
        return Vec::new();
    }
    let Ok(Audited { packages }) = serde_json::from_slice(&json) else { return Vec::new() };
    let named = |at: &usize| packages.get(*at).map(|p| format!("{} {}", p.name, p.version));
    let built_in = packages.iter().filter(|p| p.kind != "build");
    let package = |p: &AuditedPackage| {
        let mut package = package(&p.name, &p.version);
        package.needs = p.dependencies.iter().filter_map(named).collect();
        package
    };
    built_in.map(package).collect()
}

fn package(name: &str, version: &str) -> Package {
    let mut package = Package::new(Kind::Cargo, name, version);
    package.provides = vec![format!("{name} {version}")];
    package
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    fn told(packages: &[Package]) -> Vec<String> {
        packages.iter().map(|p| format!("{} {} <- {}", p.name, p.version, p.needs.join(", "))).collect()
    }

    #[test]
    fn lock_files() {
        let text = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\"b 2.0.0 (registry+x)\", \"c\"]\n\
            [[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        assert_eq!(told(&lock(text.as_bytes())), ["a 1.0.0 <- b 2.0.0, c", "b 2.0.0 <- "]);
        assert!(lock(b"[[package").is_empty());
    }

    #[test]
    fn programs_that_can_be_audited() {
        let json = br#"{"packages":[{"name":"a","version":"1","source":"local","dependencies":[1,2,9],"root":true},
            {"name":"b","version":"2","source":"crates.io"},{"name":"c","version":"3","source":"crates.io","kind":"build"}]}"#;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(json).expect("in memory");
        let packed = packed.finish().expect("in memory");
        assert_eq!(told(&audited(&packed)), ["a 1 <- b 2, c 3", "b 2 <- "]);
        assert!(audited(&packed[..9]).is_empty() && audited(b"").is_empty());
    }
}
