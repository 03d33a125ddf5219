//! What is said of the result.

use std::collections::BTreeMap;

use errdefs::{Error, Result};

use crate::args::BuildArgs;
use crate::environment::Environment;
use crate::flags::{AttestationFlag, parse_bool};

const NO_DEFAULT: &str = "BUILDX_NO_DEFAULT_ATTESTATIONS";
const NO_ARTIFACT: &str = "BUILDX_NO_DEFAULT_OCI_ARTIFACT";

/// Attestations that somebody asked for, and the one that there is anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attestations {
    /// Options of the frontend.
    pub attrs: BTreeMap<String, String>,
    /// Whether some of them were asked for.
    pub asked: bool,
}

/// The first flag of a kind counts, `--attest` before the short forms.
pub(crate) fn attestations(args: &BuildArgs, env: &Environment) -> Result<Attestations> {
    let mut flags =
        args.attestations.iter().map(|f| AttestationFlag::parse(f)).collect::<Result<Vec<_>>>()?;
    for (kind, value) in [("provenance", &args.provenance), ("sbom", &args.sbom)] {
        if let Some(text) = value.as_ref().filter(|text| !text.is_empty()) {
            flags.push(AttestationFlag::short(kind, text)?);
        }
    }
    let mut by_kind: BTreeMap<String, AttestationFlag> = BTreeMap::new();
    for flag in flags {
        by_kind.entry(flag.kind.clone()).or_insert(flag);
    }
    let wanted = by_kind.values().filter(|flag| !flag.disabled);
    let mut attrs: BTreeMap<_, _> = wanted.map(|f| (format!("attest:{}", f.kind), f.value())).collect();
    let asked = !attrs.is_empty();
    if !by_kind.contains_key("provenance") && !is_set(NO_DEFAULT, env)? {
        attrs.insert("attest:provenance".into(), "mode=min,inline-only=true".into());
    }
    Ok(Attestations { attrs, asked })
}

/// Whether attestations are to hang on images as they did of old, where an output does not say.
pub(super) fn wants_no_artifact(env: &Environment) -> Result<bool> {
    is_set(NO_ARTIFACT, env)
}

fn is_set(name: &str, env: &Environment) -> Result<bool> {
    let Some(value) = env.get(name) else { return Ok(false) };
    parse_bool(value).ok_or_else(|| {
        let why = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
        Error::user(format!("invalid {name}: {why}"))
    })
}

/// How much of the provenance goes into the metadata file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetadataProvenance {
    None,
    /// Without the graph, and without times.
    Min,
    Max,
}

impl MetadataProvenance {
    pub(crate) fn of(env: &Environment) -> Self {
        match env.get("BUILDX_METADATA_PROVENANCE") {
            Some("max") => MetadataProvenance::Max,
            Some("disabled") => MetadataProvenance::None,
            Some(text) if parse_bool(text) == Some(false) => MetadataProvenance::None,
            _ => MetadataProvenance::Min,
        }
    }
}
