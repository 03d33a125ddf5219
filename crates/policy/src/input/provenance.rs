//! What an image says of how it was built: statements of SLSA, versions 0.2 and 1.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Input;
use super::materials::{self, Material};
use crate::source::Chain;

const SLSA_02: &str = "https://slsa.dev/provenance/v0.2";
const SLSA_1: &str = "https://slsa.dev/provenance/v1";
/// Statements that are read.
pub(crate) const STATEMENTS: [&str; 2] = [SLSA_02, SLSA_1];
const TYPE: &str = "in-toto.io/predicate-type";
const ARGUMENT: &str = "build-arg:";

type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Provenance {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub predicate_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub build_type: String,
    #[serde(rename = "builderID", skip_serializing_if = "String::is_empty")]
    pub builder_id: String,
    #[serde(rename = "invocationID", skip_serializing_if = "String::is_empty")]
    pub invocation_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub started_on: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub finished_on: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_source: Option<ConfigSource>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub frontend: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub build_args: Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw_args: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reproducible: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hermetic: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Completeness>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub materials: Vec<Input>,
    /// As the statement has them.
    #[serde(skip)]
    pub raw: Vec<Material>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigSource {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: Texts,
    #[serde(skip_serializing_if = "String::is_empty", alias = "entryPoint")]
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Completeness {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub materials: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(default)]
    predicate_type: String,
    #[serde(default)]
    predicate: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Builder {
    id: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    frontend: String,
    args: Texts,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Slsa1 {
    build_definition: Definition,
    run_details: Run,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Definition {
    build_type: String,
    external_parameters: External,
    resolved_dependencies: Vec<Material>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct External {
    config_source: ConfigSource,
    request: Request,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Run {
    builder: Builder,
    metadata: Option<Metadata1>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata1 {
    #[serde(rename = "invocationId")]
    invocation_id: String,
    #[serde(rename = "startedOn")]
    started_on: Option<String>,
    #[serde(rename = "finishedOn")]
    finished_on: Option<String>,
    #[serde(rename = "buildkit_reproducible")]
    reproducible: bool,
    #[serde(rename = "buildkit_hermetic")]
    hermetic: bool,
    #[serde(rename = "buildkit_completeness")]
    completeness: Complete1,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Complete1 {
    request: bool,
    resolved_dependencies: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Slsa02 {
    builder: Builder,
    build_type: String,
    invocation: Invocation,
    metadata: Option<Metadata02>,
    materials: Vec<Material>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Invocation {
    config_source: ConfigSource,
    parameters: Request,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata02 {
    #[serde(rename = "buildInvocationID")]
    invocation_id: String,
    build_started_on: Option<String>,
    build_finished_on: Option<String>,
    completeness: Complete02,
    reproducible: bool,
    #[serde(rename = "https://mobyproject.org/buildkit@v1#hermetic")]
    hermetic: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Complete02 {
    parameters: bool,
    environment: bool,
    materials: bool,
}

impl Provenance {
    /// The first statement among the blobs that can be read.
    pub fn of(chain: &Chain) -> Option<Self> {
        chain.blobs.values().find_map(|blob| {
            let told = blob.annotations.get(TYPE).filter(|kind| STATEMENTS.contains(&kind.as_str()))?;
            let statement: Statement = serde_json::from_slice(&blob.data).ok()?;
            let kind = if statement.predicate_type.is_empty() { told } else { &statement.predicate_type };
            match kind.as_str() {
                SLSA_1 => slsa1(serde_json::from_value(statement.predicate).ok()?),
                SLSA_02 => slsa02(serde_json::from_value(statement.predicate).ok()?),
                _ => None,
            }
        })
    }
}

fn slsa1(Slsa1 { build_definition: definition, run_details: run }: Slsa1) -> Option<Provenance> {
    if definition.build_type.is_empty() && run.builder.id.is_empty() {
        return None;
    }
    let External { config_source, request } = definition.external_parameters;
    let mut provenance = Provenance {
        predicate_type: SLSA_1.into(),
        build_type: definition.build_type,
        builder_id: run.builder.id,
        config_source: Some(config_source),
        frontend: request.frontend,
        build_args: build_args(&request.args),
        raw_args: request.args,
        raw: materials::usable(definition.resolved_dependencies),
        ..Provenance::default()
    };
    if let Some(metadata) = run.metadata {
        provenance.invocation_id = metadata.invocation_id;
        provenance.started_on = time(metadata.started_on);
        provenance.finished_on = time(metadata.finished_on);
        provenance.reproducible = Some(metadata.reproducible);
        provenance.hermetic = Some(metadata.hermetic);
        provenance.completeness = Some(Completeness {
            parameters: Some(metadata.completeness.request),
            environment: None,
            materials: Some(metadata.completeness.resolved_dependencies),
        });
    }
    Some(provenance)
}

fn slsa02(predicate: Slsa02) -> Option<Provenance> {
    if predicate.build_type.is_empty() && predicate.builder.id.is_empty() {
        return None;
    }
    let Invocation { config_source, parameters } = predicate.invocation;
    let mut provenance = Provenance {
        predicate_type: SLSA_02.into(),
        build_type: predicate.build_type,
        builder_id: predicate.builder.id,
        config_source: Some(config_source),
        frontend: parameters.frontend,
        build_args: build_args(&parameters.args),
        raw_args: parameters.args,
        raw: materials::usable(predicate.materials),
        ..Provenance::default()
    };
    if let Some(metadata) = predicate.metadata {
        provenance.invocation_id = metadata.invocation_id;
        provenance.started_on = time(metadata.build_started_on);
        provenance.finished_on = time(metadata.build_finished_on);
        provenance.reproducible = Some(metadata.reproducible);
        provenance.hermetic = Some(metadata.hermetic);
        provenance.completeness = Some(Completeness {
            parameters: Some(metadata.completeness.parameters),
            environment: Some(metadata.completeness.environment),
            materials: Some(metadata.completeness.materials),
        });
    }
    Some(provenance)
}

fn time(time: Option<String>) -> String {
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn build_args(args: &Texts) -> Texts {
    let named = args.iter().filter_map(|(key, value)| Some((key.strip_prefix(ARGUMENT)?, value)));
    named.filter(|(name, _)| !name.is_empty()).map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
