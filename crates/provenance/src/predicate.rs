//! The statement of SLSA v1. The fields of BuildKit's own have its names.

use std::collections::BTreeMap;

use errdefs::{MissingMaterial, Result};
use jiff::Timestamp;
use llb::{Definition, Graph};
use meter::MachineSample;
use oci::{Descriptor, Digest, Platform};
use serde::Serialize;
use serde_json::Value;

use crate::capture::Capture;
use crate::material::{self, Material};
use crate::options::{Mode, Options, Version};
use crate::request::{ConfigSource, NamedRequest, Request};
use crate::steps::{Source, Steps};
use crate::v02::as_v02;

const BUILD_TYPE: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
/// The frontend whose version is told.
const DOCKERFILE: &str = "dockerfile.v0";

/// The layers of outputs, where they are known: of one output may come more than one chain.
pub type Layers = Vec<(Digest, usize, Vec<Descriptor>)>;

/// One run of a build.
#[derive(Debug, Clone)]
pub struct Run {
    /// Nobody else's.
    pub id: String,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// The compatibility version that results have.
    pub compatibility: i64,
    pub dockerfile_version: String,
    /// What the owner of the engine wants told.
    pub env: BTreeMap<String, Value>,
    /// What the machine did meanwhile, where that is to be told.
    pub usage: Vec<MachineSample>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: ExternalParameters,
    internal_parameters: InternalParameters<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolved_dependencies: Vec<Material>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalParameters {
    config_source: ConfigSource,
    request: Request,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InternalParameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    build_config: Option<Steps<'a>>,
    builder_platform: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dockerfile_version: String,
    #[serde(flatten)]
    env: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Builder,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Builder {
    id: String,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(rename = "invocationId")]
    invocation: String,
    #[serde(rename = "startedOn")]
    started: Timestamp,
    #[serde(rename = "finishedOn")]
    finished: Timestamp,
    #[serde(rename = "buildkit_metadata")]
    more: MoreMetadata,
    #[serde(rename = "buildkit_hermetic", skip_serializing_if = "std::ops::Not::not")]
    hermetic: bool,
    #[serde(rename = "buildkit_completeness")]
    completeness: Completeness,
    #[serde(rename = "buildkit_reproducible", skip_serializing_if = "std::ops::Not::not")]
    reproducible: bool,
}

#[derive(Serialize)]
struct MoreMetadata {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vcs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, Vec<Vec<Descriptor>>>,
    #[serde(rename = "sysUsage", skip_serializing_if = "Vec::is_empty")]
    usage: Vec<MachineSample>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkMetadata>,
}

/// How steps reached the network, where that was through proxies.
#[derive(Serialize)]
struct NetworkMetadata {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<ProxyMetadata>,
}

#[derive(Serialize)]
struct ProxyMetadata {
    incomplete: Vec<MissingMaterial>,
}

impl NetworkMetadata {
    fn of(used: &Capture) -> Option<Self> {
        let incomplete: Vec<_> = used.missing.iter().cloned().collect();
        let proxy = (!incomplete.is_empty()).then_some(ProxyMetadata { incomplete });
        used.proxied.then_some(NetworkMetadata { mode: "proxy", proxy })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Completeness {
    request: bool,
    resolved_dependencies: bool,
}

impl<'a> Predicate<'a> {
    /// What is said of the result of a graph, which is that of the definition.
    pub fn new(
        used: &Capture,
        asked: NamedRequest,
        (graph, definition): (&'a Graph, &Definition),
        run: Run,
        options: &Options,
    ) -> Result<Self> {
        let NamedRequest { config_source, request } = asked;
        let mut request = request.with_used(used);
        let vcs = request.take_vcs();
        let mut knows_request = !request.frontend.is_empty();
        let (mut build_config, mut source) = (None, None);
        match options.mode {
            Mode::Min => knows_request &= !request.reduce(),
            Mode::Max => {
                let mut steps = Steps::of(graph, definition);
                if options.usage {
                    steps = steps.with_usage(&used.usage);
                }
                source = Source::of(&definition.source, &steps)?;
                build_config = Some(steps);
            }
        }
        request.compatibility = Some(run.compatibility);
        let tells_version = request.frontend == DOCKERFILE && !run.env.contains_key("dockerfileVersion");
        let dockerfile_version = if tells_version { run.dockerfile_version } else { String::new() };
        Ok(Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: ExternalParameters { config_source, request },
                internal_parameters: InternalParameters {
                    build_config,
                    builder_platform: Platform::host().to_string(),
                    dockerfile_version,
                    env: run.env,
                },
                resolved_dependencies: material::all(used),
            },
            run_details: RunDetails {
                builder: Builder { id: options.builder.clone() },
                metadata: Metadata {
                    invocation: run.id,
                    started: run.started,
                    finished: run.finished,
                    more: MoreMetadata {
                        vcs,
                        source,
                        layers: BTreeMap::new(),
                        usage: if options.usage { run.usage } else { Vec::new() },
                        network: NetworkMetadata::of(used),
                    },
                    hermetic: used.is_complete() && !used.network,
                    completeness: Completeness {
                        request: knows_request,
                        resolved_dependencies: used.is_complete(),
                    },
                    reproducible: options.reproducible,
                },
            },
        })
    }

    /// Tells of layers too, where the graph is told.
    pub fn with_layers(mut self, layers: Layers) -> Self {
        let Some(steps) = &self.build_definition.internal_parameters.build_config else { return self };
        let known = &mut self.run_details.metadata.more.layers;
        for (vertex, output, chain) in layers {
            let Some(name) = steps.output(&vertex, output) else { continue };
            let chains = known.entry(name).or_default();
            let is_same =
                |other: &Vec<Descriptor>| other.iter().map(|d| &d.digest).eq(chain.iter().map(|d| &d.digest));
            if !chains.iter().any(is_same) {
                chains.push(chain);
            }
        }
        self
    }

    /// As JSON of a version.
    pub fn to_json(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V1 => oci::json::to_vec_indent(self),
            Version::V02 => {
                let plain = serde_json::to_value(self).expect("only texts as keys");
                oci::json::to_vec_indent(&as_v02(plain))
            }
        }
    }
}
