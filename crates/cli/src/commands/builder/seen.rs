//! What the engines of builders say of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Device, GcPolicy};
use errdefs::{Code, Error, Result};
use futures_util::future::join_all;
use oci::Platform;

use crate::engine::driver::Status;
use crate::engine::{Builder, Member};

/// A node as it was found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `None` where there is an error.
    pub status: Option<Status>,
    pub error: Option<Error>,
    pub version: String,
    pub ids: Vec<String>,
    pub platforms: Vec<Platform>,
    pub labels: BTreeMap<String, String>,
    pub gc_policy: Vec<GcPolicy>,
    pub devices: Vec<Device>,
}

/// Looks at all nodes, side by side. One that does not answer in time is not running.
pub(super) async fn look(builder: &Builder, timeout: Duration) -> Vec<Seen> {
    join_all(builder.nodes.iter().map(|member| async move {
        let seen = match tokio::time::timeout(timeout, of_node(member)).await {
            Ok(seen) => seen,
            Err(_) => Ok(Seen { status: Some(Status::Inactive), ..Seen::default() }),
        };
        seen.unwrap_or_else(|error| Seen { error: Some(error), ..Seen::default() })
    }))
    .await
}

async fn of_node(member: &Member) -> Result<Seen> {
    let (status, client) = member.driver()?.look().await?;
    let mut seen = Seen { status: Some(status), ..Seen::default() };
    let Some(client) = client else { return Ok(seen) };
    let workers = client.workers().await?;
    for worker in &workers {
        seen.ids.push(worker.id.clone());
        seen.platforms.extend(worker.platforms.iter().filter_map(|p| p.parse().ok()));
        seen.devices.clone_from(&worker.devices);
    }
    seen.ids.sort();
    seen.platforms = ::builder::without_repeats(seen.platforms);
    if let Some(first) = workers.into_iter().next() {
        (seen.labels, seen.gc_policy) = (first.labels, first.gc_policy);
    }
    match client.version().await {
        Ok(version) => seen.version = version.unwrap_or_default().version,
        Err(e) if e.code() == Code::Unimplemented => {}
        Err(e) => return Err(e),
    }
    Ok(seen)
}
