//! What clients ask attestations for: `attest:provenance=mode=max`.

use std::collections::BTreeMap;

use dockerfile::{csv, go};
use errdefs::{Error, Result};

/// How provenance is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub version: Version,
    pub mode: Mode,
    /// Who builds; a URL.
    pub builder: String,
    pub reproducible: bool,
    /// What steps and the machine used is told.
    pub usage: bool,
    /// Nothing may be used that cannot be told of.
    pub complete_materials: bool,
    /// Only for exporters that always show attestations.
    pub inline_only: bool,
    /// What exporters of files name it.
    pub filename: String,
}

/// Versions of SLSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    #[default]
    V1,
    V02,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Without what people hand in, and without the graph.
    Min,
    #[default]
    Max,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            version: Version::V1,
            mode: Mode::Max,
            builder: String::new(),
            reproducible: false,
            usage: false,
            complete_materials: false,
            inline_only: false,
            filename: "provenance.json".into(),
        }
    }
}

impl Version {
    pub fn predicate_type(self) -> &'static str {
        match self {
            Version::V1 => "https://slsa.dev/provenance/v1",
            Version::V02 => "https://slsa.dev/provenance/v0.2",
        }
    }
}

/// The attestations that the options of a frontend ask for, each with its own options.
///
/// # Errors
/// For kinds that there are not.
pub fn attestations(opts: &BTreeMap<String, String>) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut all = BTreeMap::new();
    for (key, value) in opts {
        let kind = key.strip_prefix("attest:").or_else(|| key.strip_prefix("build-arg:BUILDKIT_ATTEST_"));
        let Some(kind) = kind.map(str::to_lowercase) else { continue };
        let fields = match value.as_str() {
            "" => Vec::new(),
            text => csv::fields(text).map_err(|e| Error::user(format!("failed to parse {kind}: {e}")))?,
        };
        let options = fields.into_iter().map(|field| match field.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (field, String::new()),
        });
        all.insert(kind, options.collect());
    }
    match all.keys().find(|kind| !matches!(kind.as_str(), "sbom" | "provenance")) {
        Some(kind) => Err(Error::user(format!("unknown attestation type {}", go::quote(kind)))),
        None => Ok(all),
    }
}

impl Options {
    /// The provenance that the options of a frontend ask for.
    pub fn of(opts: &BTreeMap<String, String>) -> Result<Option<Self>> {
        attestations(opts)?.get("provenance").map(Self::parse).transpose()
    }

    fn parse(options: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &str| options.get(key).map(String::as_str);
        let flag = |key: &str, name: &str| match text(key) {
            None => Ok(false),
            Some(value) => oci::parse_bool(value).ok_or_else(|| {
                let value = go::quote(value);
                Error::user(format!(
                    "failed to parse {name} flag {value}: strconv.ParseBool: parsing {value}: invalid syntax"
                ))
            }),
        };
        let version = match text("version") {
            None | Some("v1") => Version::V1,
            Some("v0.2") => Version::V02,
            Some("") => return Err(Error::user("provenance SLSA version cannot be empty")),
            Some(other) => return Err(Error::user(format!("invalid provenance SLSA version: {other}"))),
        };
        let mode = match text("mode") {
            None | Some("max" | "full") => Mode::Max,
            Some("min") => Mode::Min,
            Some(other) => return Err(Error::user(format!("invalid mode {}", go::quote(other)))),
        };
        let standard = Options::default();
        Ok(Options {
            version,
            mode,
            builder: text("builder-id").unwrap_or_default().to_owned(),
            reproducible: flag("reproducible", "reproducible")?,
            usage: text("capture-usage").and_then(oci::parse_bool).unwrap_or(false),
            complete_materials: flag("complete-materials", "complete-materials")?,
            inline_only: text("inline-only").and_then(oci::parse_bool).unwrap_or(false),
            filename: text("filename").map_or(standard.filename, str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<Option<Options>> {
        Options::of(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn options() {
        let check = |key: &str, value: &str, expected: Option<Options>| {
            assert_eq!(read(key, value).expect(value), expected, "{key}={value}");
        };
        let standard = Options::default;
        check("attest:provenance", "", Some(standard()));
        check("attest:sbom", "generator=x", None);
        check(
            "build-arg:BUILDKIT_ATTEST_PROVENANCE",
            "mode=min",
            Some(Options { mode: Mode::Min, ..standard() }),
        );
        check(
            "attest:provenance",
            "mode=full,version=v0.2",
            Some(Options { version: Version::V02, ..standard() }),
        );
        check(
            "attest:provenance",
            "builder-id=b,reproducible=1,\"filename=a,b\",inline-only=true,complete-materials=true,capture-usage=x",
            Some(Options {
                builder: "b".into(),
                reproducible: true,
                filename: "a,b".into(),
                inline_only: true,
                complete_materials: true,
                ..standard()
            }),
        );
        check("attest:provenance", "inline-only=perhaps", Some(standard()));
        check("attest:provenance", "capture-usage=true", Some(Options { usage: true, ..standard() }));
    }

    #[test]
    fn faults() {
        let check = |key: &str, value: &str, expected: &str| {
            assert_eq!(read(key, value).expect_err(value).to_string(), expected);
        };
        check("attest:foo", "", "unknown attestation type \"foo\"");
        check("attest:provenance", "mode=x", "invalid mode \"x\"");
        check("attest:provenance", "version=", "provenance SLSA version cannot be empty");
        check("attest:provenance", "version=v2", "invalid provenance SLSA version: v2");
        check(
            "attest:provenance",
            "reproducible=maybe",
            "failed to parse reproducible flag \"maybe\": strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
    }
}
