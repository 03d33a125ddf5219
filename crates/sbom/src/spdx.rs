//! The list as a document (SPDX 2.3, JSON), in the form that the scanner images of BuildKit give.

use std::collections::BTreeMap;

use jiff::Timestamp;
use oci::Digest;
use serde::Serialize;

use crate::license::Declared;
use crate::package::{Inventory, Kind, Package};

/// What statements with such a document are called (in-toto).
pub const PREDICATE_TYPE: &str = "https://spdx.dev/Document";

const NONE: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-DocumentRoot";

/// What a document is called, and when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    pub name: &'a str,
    /// As `kiln-v1.0.0`.
    pub tool: &'a str,
    pub created: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spdx<'a> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    document_namespace: String,
    creation_info: CreationInfo,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    packages: Vec<SpdxPackage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<SpdxFile<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<Extracted>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    name: String,
    #[serde(rename = "SPDXID")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version_info: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    supplier: String,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    homepage: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_info: String,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpdxFile<'a> {
    file_name: String,
    #[serde(rename = "SPDXID")]
    id: String,
    checksums: [Checksum<'a>; 2],
    license_concluded: &'static str,
    license_info_in_files: [&'static str; 1],
    copyright_text: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum<'a> {
    algorithm: &'static str,
    checksum_value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extracted {
    license_id: String,
    extracted_text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    related_spdx_element: String,
    relationship_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

impl Inventory {
    /// The document as JSON. It depends on what was found and on what is given alone.
    pub fn to_spdx(&self, document: Document<'_>) -> Vec<u8> {
        let mut licenses = BTreeMap::new();
        let packages: Vec<SpdxPackage> =
            self.packages.iter().map(|package| self.package(package, &mut licenses)).collect();
        let file_ids: BTreeMap<&str, String> =
            self.files.keys().map(|path| (path.as_str(), id("File", path, path))).collect();
        let relationships = self.relationships(&packages, &file_ids);
        let files = self.files.iter().map(|(path, evidence)| SpdxFile {
            // The specification has them relative.
            file_name: format!(".{path}"),
            id: file_ids[path.as_str()].clone(),
            checksums: [("SHA1", &evidence.sha1), ("SHA256", &evidence.sha256)]
                .map(|(algorithm, value)| Checksum { algorithm, checksum_value: value }),
            license_concluded: NONE,
            license_info_in_files: [NONE],
            copyright_text: NONE,
        });
        let mut spdx = Spdx {
            spdx_version: "SPDX-2.3",
            data_license: "CC0-1.0",
            id: DOCUMENT,
            name: document.name,
            document_namespace: String::new(),
            creation_info: CreationInfo {
                created: document.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                creators: [format!("Tool: {}", document.tool)],
            },
            comment: self.notes.join("\n"),
            packages: std::iter::once(self.root(document.name)).chain(packages).collect(),
            files: files.collect(),
            has_extracted_licensing_infos: licenses
                .into_iter()
                .map(|(license_id, extracted_text)| Extracted { license_id, extracted_text })
                .collect(),
            relationships,
        };
        // Two documents are one where all that they say is the same.
        spdx.document_namespace = format!("urn:uuid:{}", uuid(&oci::json::to_vec(&spdx)));
        oci::json::to_vec(&spdx)
    }

    /// What was scanned, as a package that contains the others.
    fn root(&self, name: &str) -> SpdxPackage {
        let distro = self.distro.clone().unwrap_or_default();
        SpdxPackage {
            name: name.to_owned(),
            id: ROOT.into(),
            version_info: String::new(),
            supplier: NONE.into(),
            download_location: NONE,
            files_analyzed: false,
            homepage: String::new(),
            source_info: if distro.name.is_empty() { distro.id } else { distro.name },
            license_concluded: NONE,
            license_declared: NONE.into(),
            copyright_text: NONE,
            external_refs: Vec::new(),
            primary_package_purpose: Some("CONTAINER"),
        }
    }

    fn package(&self, package: &Package, licenses: &mut BTreeMap<String, String>) -> SpdxPackage {
        let purl = package.purl(self.distro.as_ref());
        let declared = Declared::read(&package.license);
        licenses.extend(declared.iter().flat_map(|declared| declared.others.clone()));
        let reference = ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: purl.clone(),
        };
        let supplier = match package.supplier.as_str() {
            "" => NONE.to_owned(),
            name if name.contains('@') => format!("Person: {}", name.replace('<', "(").replace('>', ")")),
            name => format!("Organization: {name}"),
        };
        SpdxPackage {
            name: package.name.clone(),
            id: id("Package", &format!("{}-{}", package.kind.name(), package.name), &purl),
            version_info: package.version.clone(),
            supplier,
            download_location: NONE,
            files_analyzed: false,
            // The specification wants an address, and people write anything.
            homepage: Some(&package.homepage)
                .filter(|page| page.starts_with("http"))
                .cloned()
                .unwrap_or_default(),
            source_info: source_info(package),
            license_concluded: NONE,
            license_declared: declared.map_or(NONE.into(), |declared| declared.expression),
            copyright_text: NONE,
            external_refs: vec![reference],
            primary_package_purpose: None,
        }
    }

    fn relationships(&self, packages: &[SpdxPackage], files: &BTreeMap<&str, String>) -> Vec<Relationship> {
        let relation = |from: &str, kind, to: &str| Relationship {
            spdx_element_id: from.to_owned(),
            related_spdx_element: to.to_owned(),
            relationship_type: kind,
            comment: None,
        };
        let mut all = vec![relation(DOCUMENT, "DESCRIBES", ROOT)];
        all.extend(packages.iter().map(|package| relation(ROOT, "CONTAINS", &package.id)));
        for (package, spdx) in self.packages.iter().zip(packages) {
            let evident = package.found_in.iter().filter_map(|path| files.get(path.as_str()));
            all.extend(evident.map(|file| Relationship {
                comment: Some("evident-by: indicates the package's existence is evident by the given file"),
                ..relation(&spdx.id, "OTHER", file)
            }));
        }
        let needed = self.dependencies().into_iter();
        all.extend(needed.map(|(of, by)| relation(&packages[of].id, "DEPENDENCY_OF", &packages[by].id)));
        all
    }
}

/// How the package was found, for people.
fn source_info(package: &Package) -> String {
    let how = match package.kind {
        Kind::Deb => "DPKG DB",
        Kind::Apk => "APK DB",
        Kind::Rpm => "RPM DB",
        Kind::Npm => "installed node module manifest file",
        Kind::Pypi => "installed python package manifest file",
        Kind::Cargo => "rust cargo manifest",
        Kind::Golang => "go module information",
    };
    let places: Vec<&str> = package.found_in.iter().map(String::as_str).collect();
    format!("acquired package info from {how}: {}", places.join(", "))
}

/// An id of letters, digits, `.` and `-`, which `whole` makes unlike all others.
fn id(of: &str, words: &str, whole: &str) -> String {
    let plain = words.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' });
    let plain: String = plain.take(100).collect();
    format!("SPDXRef-{of}-{}-{}", plain.trim_matches('-'), &Digest::of(whole).hex()[..16])
}

/// A name made of bytes (RFC 9562, version 8).
fn uuid(bytes: &[u8]) -> String {
    let digest = Digest::of(bytes);
    let hex = digest.hex();
    format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
