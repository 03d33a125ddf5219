//! Exporters that the client's session picks, once it knows the result.

use std::time::Duration;

use errdefs::Result;
use exporter::Exporter;
use frontend::{BuildResult, Refs};
use session::Session;

use crate::bridge::BuildBridge;
use crate::request::BuildResponse;

/// How long a session that is still connecting is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exporters that the client picks. It may look into the files of the result through the gateway of the build.
pub async fn find(bridge: &BuildBridge, result: &BuildResult) -> Result<Vec<Box<dyn Exporter>>> {
    let refs = match &result.refs {
        Refs::None => Vec::new(),
        Refs::Single(only) => vec![only],
        Refs::Map(map) => map.values().collect(),
    };
    // Scratch has no id.
    let ids = refs.iter().map(|r| r.id.clone()).filter(|id| !id.is_empty()).collect();
    let picked = session(bridge).await?.find_exporters(&result.metadata, ids).await?;
    picked.iter().map(|e| bridge.parts().exporters.resolve(&e.kind, &e.attrs)).collect()
}

/// Tells the client that its exporters are done.
pub async fn finalize(bridge: &BuildBridge, response: &BuildResponse) -> Result<()> {
    session(bridge).await?.finalize_export(&response.exporter).await
}

async fn session(bridge: &BuildBridge) -> Result<Session> {
    let context = bridge.context();
    context.sessions.get(&context.session, PATIENCE).await
}
