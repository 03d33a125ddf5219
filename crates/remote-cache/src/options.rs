//! Caches as they are asked for: a type and its attributes.

use std::collections::BTreeMap;

use errdefs::{Error, Result, ResultExt as _};
use oci::{Digest, Reference};
use refs::Compression;

type Attrs = BTreeMap<String, String>;

/// Types of BuildKit's that are not there yet.
const LATER: [&str; 3] = ["gha", "s3", "azblob"];

/// Where a cache is exported to, and how.
#[derive(Debug, Clone)]
pub struct Export {
    pub kind: ExportKind,
    pub mode: ExportMode,
    pub compression: Compression,
    /// Media types are OCI's rather than Docker's.
    pub oci_types: bool,
    /// The manifest is that of an image rather than an index.
    pub image_manifest: bool,
    /// A cache that cannot be exported fails no build.
    pub ignore_error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportKind {
    /// Into the config of the image that is exported.
    Inline,
    Registry {
        reference: Reference,
        insecure: bool,
    },
    /// A folder of the client, by the name that the client gave it.
    Local {
        dest: String,
    },
}

/// Which results go along with the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportMode {
    /// Those of which there are layers anyway, as of the image that is exported.
    #[default]
    Min,
    /// Those of all steps.
    Max,
}

/// Where a cache is imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    Registry { reference: Reference, insecure: bool },
    Local { src: String, digest: Digest },
}

impl Export {
    /// # Errors
    /// What is wrong with the type or an attribute.
    pub fn parse(kind: &str, attrs: &Attrs) -> Result<Self> {
        let named = || format!("failed to configure {kind} cache exporter");
        let mode = match attrs.get("mode").map(String::as_str) {
            Some("max") => ExportMode::Max,
            _ => ExportMode::Min,
        };
        let ignore_error = ignores_errors(attrs);
        let parsed = match kind {
            "inline" => Ok(ExportKind::Inline),
            "registry" => {
                registry(attrs).map(|(reference, insecure)| ExportKind::Registry { reference, insecure })
            }
            "local" => match attrs.get("dest").filter(|dest| !dest.is_empty()) {
                Some(dest) => Ok(ExportKind::Local { dest: dest.clone() }),
                None => Err(Error::user("local cache exporter requires dest")),
            },
            later if LATER.contains(&later) => {
                return Err(Error::unimplemented(format!(
                    "cache export of type `{later}` is not supported yet"
                ))
                .hint("there are the types registry, local and inline"));
            }
            _ => return Err(Error::user(format!("unknown cache exporter: \"{kind}\""))),
        };
        let parse = || {
            let kind = parsed?;
            if kind == ExportKind::Inline {
                let (oci_types, image_manifest) = (true, true);
                return Ok(Export {
                    kind,
                    mode,
                    compression: Compression::default(),
                    oci_types,
                    image_manifest,
                    ignore_error,
                });
            }
            let compression = Compression::parse(
                attrs.get("compression").map(String::as_str),
                attrs.get("compression-level").map(String::as_str),
                attrs.get("force-compression").map(String::as_str),
            )?;
            let oci_types = flag(attrs, "oci-mediatypes")?.unwrap_or(true);
            let image_manifest = flag(attrs, "image-manifest")?.unwrap_or(oci_types);
            if image_manifest && !oci_types {
                return Err(Error::user(
                    "invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format",
                ));
            }
            Ok(Export { kind, mode, compression, oci_types, image_manifest, ignore_error })
        };
        parse().with_context(named)
    }

    /// The exports of a request: inline ones count as one.
    ///
    /// # Errors
    /// The same cache is to be written twice.
    pub fn parse_all<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Attrs)>) -> Result<Vec<Self>> {
        let mut all: Vec<(&str, &Attrs)> = Vec::new();
        let mut doubles: Vec<&str> = Vec::new();
        for (kind, attrs) in entries {
            if kind == "inline" && all.iter().any(|(known, _)| *known == "inline") {
                continue;
            }
            if all.iter().any(|(known, other)| import_key(known, other) == import_key(kind, attrs)) {
                doubles.push(kind);
            }
            all.push((kind, attrs));
        }
        if !doubles.is_empty() {
            return Err(Error::user(format!("duplicate cache exports [{}]", doubles.join(" "))));
        }
        let parsed = all.into_iter().map(|(kind, attrs)| Self::parse_or_ignore(kind, attrs));
        parsed.filter_map(Result::transpose).collect()
    }

    /// A type that is not there yet is passed over where errors are to be ignored.
    fn parse_or_ignore(kind: &str, attrs: &Attrs) -> Result<Option<Self>> {
        match Self::parse(kind, attrs) {
            Err(e) if LATER.contains(&kind) && ignores_errors(attrs) => {
                tracing::warn!("a cache is not exported: {e}");
                Ok(None)
            }
            parsed => parsed.map(Some),
        }
    }
}

impl Import {
    /// # Errors
    /// What is wrong with the type or an attribute.
    pub fn parse(kind: &str, attrs: &Attrs) -> Result<Self> {
        let parsed = match kind {
            "registry" => {
                registry(attrs).map(|(reference, insecure)| Import::Registry { reference, insecure })
            }
            "local" => local(attrs),
            later if LATER.contains(&later) => {
                return Err(Error::unimplemented(format!(
                    "cache import of type `{later}` is not supported yet"
                ))
                .hint("there are the types registry and local"));
            }
            _ => return Err(Error::user(format!("unknown cache importer: {kind}"))),
        };
        parsed.with_context(|| format!("failed to configure {kind} cache importer"))
    }
}

/// Names an import, for people too: imports of one name are one.
pub fn import_key(kind: &str, attrs: &Attrs) -> String {
    match attrs.get("ref").filter(|reference| kind == "registry" && !reference.is_empty()) {
        Some(reference) => reference.clone(),
        None => {
            let text: String = attrs.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
            format!("{kind}:{}", &Digest::of(text).hex()[..16])
        }
    }
}

fn local(attrs: &Attrs) -> Result<Import> {
    let digest = attrs.get("digest").filter(|digest| !digest.is_empty());
    let digest = digest.ok_or_else(|| Error::user("local cache importer requires explicit digest"))?;
    let digest = digest.parse().map_err(|_| Error::user(format!("invalid digest `{digest}`")))?;
    match attrs.get("src").filter(|src| !src.is_empty()) {
        Some(src) => Ok(Import::Local { src: src.clone(), digest }),
        None => Err(Error::user("local cache importer requires src")),
    }
}

fn registry(attrs: &Attrs) -> Result<(Reference, bool)> {
    let name = attrs.get("ref").filter(|name| !name.is_empty()).ok_or_else(|| Error::user("missing ref"))?;
    let reference: Reference =
        name.parse().map_err(|e| Error::user(format!("invalid reference `{name}`: {e}")))?;
    Ok((reference.with_default_tag(), flag(attrs, "registry.insecure")?.unwrap_or(false)))
}

/// A word that is no truth value counts as none, as in BuildKit.
fn ignores_errors(attrs: &Attrs) -> bool {
    attrs.get("ignore-error").and_then(|v| oci::parse_bool(v)) == Some(true)
}

fn flag(attrs: &Attrs, key: &str) -> Result<Option<bool>> {
    let Some(value) = attrs.get(key) else { return Ok(None) };
    oci::parse_bool(value)
        .map(Some)
        .ok_or_else(|| Error::user(format!("failed to parse {key}: invalid syntax: `{value}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(text: &str) -> Attrs {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn exports() {
        let check = |kind: &str, text: &str, expected: &str| {
            let told = match Export::parse(kind, &attrs(text)) {
                Ok(e) => format!(
                    "{:?} {:?} {} {} {}",
                    e.kind, e.mode, e.oci_types, e.image_manifest, e.ignore_error
                ),
                Err(e) => e.to_string(),
            };
            assert_eq!(told, expected, "{kind} {text}");
        };
        check("inline", "mode=max", "Inline Max true true false");
        check("local", "dest=d,ignore-error=true", "Local { dest: \"d\" } Min true true true");
        check("local", "dest=d,oci-mediatypes=false,mode=x", "Local { dest: \"d\" } Min false false false");
        check("local", "dest=d,image-manifest=false,mode=max", "Local { dest: \"d\" } Max true false false");
        check("local", "", "failed to configure local cache exporter: local cache exporter requires dest");
        check("registry", "", "failed to configure registry cache exporter: missing ref");
        check(
            "local",
            "dest=d,image-manifest=true,oci-mediatypes=0",
            "failed to configure local cache exporter: invalid configuration for remote cache, OCI mediatypes are \
             required for image-manifest cache format",
        );
        check("nope", "", "unknown cache exporter: \"nope\"");
        check("gha", "", "cache export of type `gha` is not supported yet");
    }

    #[test]
    fn the_same_cache_is_not_written_twice() {
        let check = |entries: &[(&str, &str)], expected: Result<usize, &str>| {
            let parsed: Vec<_> = entries.iter().map(|(kind, text)| (*kind, attrs(text))).collect();
            let all = Export::parse_all(parsed.iter().map(|(kind, attrs)| (*kind, attrs)));
            assert_eq!(all.map(|all| all.len()).map_err(|e| e.to_string()), expected.map_err(str::to_owned));
        };
        check(&[("inline", ""), ("inline", ""), ("local", "dest=a"), ("local", "dest=b")], Ok(3));
        check(&[("s3", "ignore-error=true"), ("local", "dest=a")], Ok(1));
        check(&[("s3", "ignore-error=x")], Err("cache export of type `s3` is not supported yet"));
        check(&[("local", "dest=a"), ("local", "dest=a")], Err("duplicate cache exports [local]"));
        check(
            &[("registry", "ref=a/b"), ("registry", "ref=a/b,mode=max")],
            Err("duplicate cache exports [registry]"),
        );
    }

    #[test]
    fn imports() {
        let check = |kind: &str, text: &str, expected: &str| {
            let error = Import::parse(kind, &attrs(text)).map(drop).expect_err(text).to_string();
            assert_eq!(error, expected, "{kind} {text}");
        };
        check(
            "local",
            "src=a",
            "failed to configure local cache importer: local cache importer requires explicit digest",
        );
        check("inline", "", "unknown cache importer: inline");
        check("s3", "", "cache import of type `s3` is not supported yet");
        assert_eq!(import_key("registry", &attrs("ref=a/b:c")), "a/b:c");
    }
}
