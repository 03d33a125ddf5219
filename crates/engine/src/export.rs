//! From a result to what the client asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Error, Result};
use exporter::{ExportContext, Exportable, Exporter, Exporters, Response};
use frontend::{BuildResult, Refs};
use futures_util::future::try_join_all;
use progress::{Sink, Step};
use tokio_util::sync::CancellationToken;

use crate::bridge::BuildBridge;
use crate::request::{BuildRequest, BuildResponse};

/// The exporters of a request. Called before anything is built, so that what is asked for wrongly is said at once.
pub fn resolve(exporters: &Exporters, request: &BuildRequest) -> Result<Vec<Box<dyn Exporter>>> {
    if let Some(cache) = request.cache_exports.first() {
        return Err(Error::unimplemented(format!("cache export of type {} is not there yet", cache.kind)));
    }
    if let Some(cache) = request.cache_imports.first() {
        return Err(Error::unimplemented(format!("cache import of type {} is not there yet", cache.kind)));
    }
    request.exporters.iter().map(|e| exporters.resolve(&e.kind, &e.attrs)).collect()
}

/// Computes the result and exports it; pushes come last, when all artifacts are made.
pub async fn run(
    exporters: Vec<Box<dyn Exporter>>,
    bridge: &BuildBridge,
    result: BuildResult,
    sink: &Arc<dyn Sink>,
    cancel: &CancellationToken,
) -> Result<BuildResponse> {
    let result = compute(bridge, result).await?;
    let mut response = inline_metadata(&result);
    let mut finalizers = Vec::new();
    for (index, exporter) in exporters.iter().enumerate() {
        let step =
            Step::start(Arc::clone(sink), &format!("{}:export:{index}", bridge.build_id()), exporter.name());
        let cx = ExportContext {
            sessions: bridge.context().sessions.clone(),
            session_id: bridge.context().session.clone(),
            index: index as u32,
            step: step.clone(),
            cancel: cancel.clone(),
        };
        let exported = exporter.export(&result, &cx).await;
        match exported {
            Ok(exported) => {
                response.extend(exported.response);
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
    try_join_all(finals).await?;
    Ok(BuildResponse { exporter: response })
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

async fn compute(bridge: &BuildBridge, result: BuildResult) -> Result<Exportable> {
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
    Ok(Exportable { refs, metadata: result.metadata })
}
