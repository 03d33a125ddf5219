//! What is known of a package, whoever installed it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whose package it is; the names are those of package URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Deb,
    Apk,
    Rpm,
    Npm,
    Pypi,
    Cargo,
    Golang,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Deb => "deb",
            Kind::Apk => "apk",
            Kind::Rpm => "rpm",
            Kind::Npm => "npm",
            Kind::Pypi => "pypi",
            Kind::Cargo => "cargo",
            Kind::Golang => "golang",
        }
    }

    /// Whether one installation holds but one version of a name, and so a need is met by name alone.
    fn is_of_system(self) -> bool {
        matches!(self, Kind::Deb | Kind::Apk | Kind::Rpm)
    }
}

/// A package, or a module that was built into a program. What is empty is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub kind: Kind,
    /// As its packager names it: `libc6`, `@types/node`, `golang.org/x/sys`.
    pub name: String,
    /// With epoch and release, as its packager writes it.
    pub version: String,
    pub arch: String,
    /// The package that it was built from, and the version of that where it is another.
    pub source: (String, String),
    /// In whatever words the packager has.
    pub license: String,
    pub supplier: String,
    pub homepage: String,
    /// Files that tell of it, by paths from the root.
    pub found_in: BTreeSet<String>,
    /// Other names by which it meets needs.
    pub provides: Vec<String>,
    /// Names, or `name version`.
    pub needs: Vec<String>,
}

impl Package {
    pub fn new(kind: Kind, name: impl Into<String>, version: impl Into<String>) -> Self {
        Package {
            kind,
            name: name.into(),
            version: version.into(),
            arch: String::new(),
            source: Default::default(),
            license: String::new(),
            supplier: String::new(),
            homepage: String::new(),
            found_in: BTreeSet::new(),
            provides: Vec::new(),
            needs: Vec::new(),
        }
    }

    /// Takes over what another finding of the same package tells.
    fn merge(&mut self, other: Package) {
        let fill = |own: &mut String, other: String| {
            if own.is_empty() {
                *own = other;
            }
        };
        fill(&mut self.license, other.license);
        fill(&mut self.supplier, other.supplier);
        fill(&mut self.homepage, other.homepage);
        self.found_in.extend(other.found_in);
        self.provides.extend(other.provides);
        self.needs.extend(other.needs);
    }

    /// The package URL (purl-spec). Those of distributions name theirs.
    pub fn purl(&self, distro: Option<&Distro>) -> String {
        let mut name = escape(&self.name);
        let mut version = self.version.clone();
        let mut qualifiers: BTreeMap<&str, String> = BTreeMap::new();
        match self.kind {
            Kind::Deb | Kind::Apk | Kind::Rpm => {
                if let Some(distro) = distro {
                    name = format!("{}/{name}", escape(&distro.id));
                    qualifiers.insert("distro", distro.to_string());
                }
                qualifiers.insert("arch", self.arch.clone());
                qualifiers.insert("upstream", self.upstream());
                if let (Kind::Rpm, Some((epoch, rest))) = (self.kind, self.version.split_once(':')) {
                    qualifiers.insert("epoch", epoch.to_owned());
                    version = rest.to_owned();
                }
            }
            Kind::Npm | Kind::Golang => {
                name = self.name.split('/').map(escape).collect::<Vec<_>>().join("/");
            }
            Kind::Pypi => name = escape(&self.name.to_lowercase().replace('_', "-")),
            Kind::Cargo => {}
        }
        let mut purl = format!("pkg:{}/{name}", self.kind.name());
        // That of a program that was built outside of a release names none.
        if !version.is_empty() && version != "(devel)" {
            purl.push_str(&format!("@{}", escape(&version)));
        }
        qualifiers.retain(|_, value| !value.is_empty());
        for (i, (key, value)) in qualifiers.iter().enumerate() {
            purl.push_str(&format!("{}{key}={}", if i == 0 { '?' } else { '&' }, escape(value)));
        }
        purl
    }

    fn upstream(&self) -> String {
        let (name, version) = &self.source;
        match version.as_str() {
            "" if *name == self.name => String::new(),
            "" => name.clone(),
            version => format!("{name}@{version}"),
        }
    }
}

/// What package URLs have no use for otherwise (purl-spec, on percent-encoding).
fn escape(text: &str) -> String {
    oci::percent_encode(text, b":")
}

/// Whose file system it is, as `os-release` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distro {
    pub id: String,
    /// Empty for those without releases.
    pub version: String,
    /// For people.
    pub name: String,
}

impl fmt::Display for Distro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version.as_str() {
            "" => f.write_str(&self.id),
            version => write!(f, "{}-{version}", self.id),
        }
    }
}

/// A file that tells of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Hex.
    pub sha1: String,
    pub sha256: String,
}

/// All that was found.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    pub distro: Option<Distro>,
    /// Each once, in order.
    pub packages: Vec<Package>,
    /// The files of [`Package::found_in`].
    pub files: BTreeMap<String, Evidence>,
    /// What was there and could not be read.
    pub notes: Vec<String>,
}

impl Inventory {
    /// Puts packages in order, and those that were found several times together.
    pub(crate) fn set_packages(&mut self, packages: Vec<Package>) {
        let mut all: BTreeMap<_, Package> = BTreeMap::new();
        for package in packages {
            // Python has several ways to write one name.
            let key = (package.kind, package.purl(None));
            match all.get_mut(&key) {
                Some(known) => known.merge(package),
                None => _ = all.insert(key, package),
            }
        }
        self.packages = all.into_values().collect();
    }

    /// In a few words: `127 packages: 88 deb, 39 npm`.
    pub fn summary(&self) -> String {
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for package in &self.packages {
            *counts.entry(package.kind).or_default() += 1;
        }
        let each: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        match self.packages.len() {
            0 => "no packages".into(),
            1 => format!("1 package: {}", each.join(", ")),
            all => format!("{all} packages: {}", each.join(", ")),
        }
    }

    /// Who needs whom, by positions in the list of packages: the one that is needed first.
    pub fn dependencies(&self) -> BTreeSet<(usize, usize)> {
        let mut by_name: BTreeMap<(Kind, &str), Vec<usize>> = BTreeMap::new();
        for (at, package) in self.packages.iter().enumerate() {
            let own = std::iter::once(&package.name).chain(&package.provides);
            for name in own.collect::<BTreeSet<_>>() {
                by_name.entry((package.kind, name)).or_default().push(at);
            }
        }
        let mut found = BTreeSet::new();
        for (at, package) in self.packages.iter().enumerate() {
            for need in &package.needs {
                let met = by_name.get(&(package.kind, need.as_str())).map_or(&[][..], Vec::as_slice);
                // Of several versions nobody knows which one it is.
                if met.len() == 1 || package.kind.is_of_system() {
                    found.extend(met.iter().filter(|other| **other != at).map(|other| (*other, at)));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls() {
        let debian = Distro { id: "debian".into(), version: "12".into(), name: String::new() };
        for (kind, name, version, arch, source, expected) in [
            (
                Kind::Deb,
                "libstdc++6",
                "12.2.0-14+deb12u1",
                "amd64",
                ("gcc-12", ""),
                "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12",
            ),
            (
                Kind::Rpm,
                "bash",
                "1:5.2-1.fc39",
                "x86_64",
                ("bash-5.2-1.fc39.src.rpm", ""),
                "pkg:rpm/debian/bash@5.2-1.fc39?arch=x86_64&distro=debian-12&epoch=1&upstream=bash-5.2-1.fc39.src.rpm",
            ),
            (Kind::Npm, "@types/node", "20.1.0", "", ("", ""), "pkg:npm/%40types/node@20.1.0"),
            (Kind::Pypi, "Typing_Extensions", "4", "", ("", ""), "pkg:pypi/typing-extensions@4"),
            (
                Kind::Golang,
                "github.com/BurntSushi/toml",
                "v1.0.0+incompatible",
                "",
                ("", ""),
                "pkg:golang/github.com/BurntSushi/toml@v1.0.0%2Bincompatible",
            ),
            (Kind::Golang, "example.com/a", "(devel)", "", ("", ""), "pkg:golang/example.com/a"),
        ] {
            let mut package = Package::new(kind, name, version);
            package.arch = arch.into();
            package.source = (source.0.into(), source.1.into());
            assert_eq!(package.purl(Some(&debian)), expected);
        }
    }

    #[test]
    fn needs_are_met_by_names_where_they_are_clear() {
        let package = |kind, name: &str, version: &str, provides: &[&str], needs: &[&str]| {
            let mut package = Package::new(kind, name, version);
            package.provides = provides.iter().map(|p| (*p).to_owned()).collect();
            package.needs = needs.iter().map(|n| (*n).to_owned()).collect();
            package
        };
        let mut inventory = Inventory::default();
        inventory.set_packages(vec![
            package(Kind::Deb, "a", "1", &[], &["b", "c", "a", "gone"]),
            package(Kind::Deb, "b", "1", &["c"], &[]),
            package(Kind::Npm, "x", "1", &["x 1"], &[]),
            package(Kind::Npm, "x", "2", &["x 2"], &[]),
            package(Kind::Npm, "y", "1", &[], &["x"]),
            package(Kind::Npm, "z", "1", &[], &["x 2"]),
        ]);
        let name = |at: usize| format!("{} {}", inventory.packages[at].name, inventory.packages[at].version);
        let found: Vec<_> = inventory.dependencies().into_iter().map(|(a, b)| (name(a), name(b))).collect();
        let expected = [("b 1", "a 1"), ("x 2", "z 1")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(inventory.summary(), "6 packages: 2 deb, 4 npm");
    }
}
