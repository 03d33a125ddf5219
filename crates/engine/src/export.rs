//! From a result to what the client asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use exporter::{ExportContext, Exportable, Exporter, Exporters, InlineCache, Response};
use frontend::{Attestation, AttestationBody, BuildResult, Refs};
use futures_util::future::try_join_all;
use oci::Descriptor;
use progress::{Sink, Step};
use tokio_util::sync::CancellationToken;

use crate::bridge::BuildBridge;
use crate::cache_export::{self, Inline};
use crate::request::{BuildRequest, BuildResponse};

/// The exporters of a request. Called before anything is built, so that what is asked for wrongly is said at once.
pub fn resolve(exporters: &Exporters, request: &BuildRequest) -> Result<Vec<Box<dyn Exporter>>> {
    let epoch = exporter::epoch_of_build_args(&request.attrs);
    let resolved = request.exporters.iter().map(|exporter| match epoch {
        Some((key, value)) if !exporter.attrs.contains_key(key) => {
            let mut attrs = exporter.attrs.clone();
            attrs.insert(key.to_owned(), value.to_owned());
            exporters.resolve(&exporter.kind, &attrs)
        }
        _ => exporters.resolve(&exporter.kind, &exporter.attrs),
    });
    resolved.collect()
}

/// All that is to be made of a result.
pub struct Exports {
    pub exporters: Vec<Box<dyn Exporter>>,
    pub caches: Vec<remote_cache::Export>,
}

/// Exports a result; pushes and caches come last, when all artifacts are made.
pub async fn run(
    exports: Exports,
    bridge: &BuildBridge,
    built: &BuildResult,
    result: Exportable,
    sink: &Arc<dyn Sink>,
    cancel: &CancellationToken,
) -> Result<BuildResponse> {
    let mut response = inline_metadata(&result);
    let mut finalizers = Vec::new();
    let mut results = BTreeMap::new();
    let mut attestations: BTreeMap<String, Vec<Descriptor>> = BTreeMap::new();
    let Exports { exporters, caches } = exports;
    let inline_cache: Option<Arc<dyn InlineCache>> = match cache_export::wants_inline(&caches) {
        true => Some(Arc::new(Inline::new(bridge, built, sink))),
        false => None,
    };
    for (index, exporter) in exporters.iter().enumerate() {
        let step =
            Step::start(Arc::clone(sink), &format!("{}:export:{index}", bridge.build_id()), exporter.name());
        let cx = ExportContext {
            sessions: bridge.context().sessions.clone(),
            session_id: bridge.context().session.clone(),
            index: index as u32,
            step: step.clone(),
            cancel: cancel.clone(),
            inline_cache: inline_cache.clone(),
        };
        let exported = exporter.export(&result, &cx).await;
        match exported {
            Ok(exported) => {
                response.extend(exported.response);
                results.extend(exported.descriptor.map(|descriptor| (index as u32, descriptor)));
                for (platform, statements) in exported.attestations {
                    attestations.entry(platform).or_default().extend(statements);
                }
                match exported.finalize {
                    Some(finalize) => finalizers.push((finalize, cx, step)),
                    None => step.finish(Ok(()))?,
                }
            }
            Err(e) => step.finish(Err(e))?,
        }
    }
    let finals =
        finalizers.into_iter().map(|(finalize, cx, step)| async move { step.finish(finalize.run(cx).await) });
    let cached = cache_export::run(&caches, bridge, built, sink);
    let (_, cached) = futures_util::try_join!(try_join_all(finals), cached)?;
    response.extend(cached);
    Ok(BuildResponse { exporter: response, results, attestations })
}

/// Metadata that goes to the client as it is.
fn inline_metadata(result: &Exportable) -> Response {
    let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).ok();
    let wanted = |key: &str| key.starts_with("frontend.") || key.starts_with("result.") || key == "version";
    result
        .metadata
        .iter()
        .filter(|(k, _)| wanted(k))
        .filter_map(|(k, v)| Some((k.clone(), text(v)?)))
        .collect()
}

/// Computes all that is to be exported.
pub async fn compute(bridge: &BuildBridge, result: &BuildResult) -> Result<Exportable> {
    let refs = match &result.refs {
        Refs::None => exporter::Refs::Single(None),
        Refs::Single(only) => exporter::Refs::Single(bridge.value(only).await?),
        Refs::Map(map) => {
            let computed = map.iter().map(|(id, r)| async move {
                let value = bridge.value(r).await?;
                Ok::<_, Error>((id.clone(), value))
            });
            exporter::Refs::Map(try_join_all(computed).await?.into_iter().collect::<BTreeMap<_, _>>())
        }
    };
    let attested = result.attestations.iter().map(async |(platform, attestations)| {
        let computed = attestations.iter().map(|attestation| compute_attestation(bridge, attestation));
        Ok::<_, Error>((platform.clone(), try_join_all(computed).await?))
    });
    let attestations = try_join_all(attested).await?.into_iter().collect();
    Ok(Exportable { refs, metadata: result.metadata.clone(), attestations })
}

async fn compute_attestation(
    bridge: &BuildBridge,
    attestation: &Attestation,
) -> Result<exporter::Attestation> {
    let body = match &attestation.body {
        AttestationBody::File { reference, path } => {
            exporter::AttestationBody::File { reference: bridge.value(reference).await?, path: path.clone() }
        }
        AttestationBody::Inline(bytes) => exporter::AttestationBody::Inline(bytes.clone()),
        AttestationBody::Late(late) => exporter::AttestationBody::Late(Arc::clone(late)),
    };
    let (kind, metadata) = (attestation.kind.clone(), attestation.metadata.clone());
    Ok(exporter::Attestation { kind, metadata, body })
}
