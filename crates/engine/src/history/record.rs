use std::collections::BTreeMap;

use jiff::Timestamp;
use oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use crate::request::{Attributed, BuildRequest, Work};

/// What is known of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// The id that the client chose.
    pub id: String,
    pub frontend: String,
    /// The frontend's options as the client gave them.
    pub attrs: BTreeMap<String, String>,
    pub exporters: Vec<Attributed>,
    pub created_at: Timestamp,
    /// Nothing while it runs.
    pub end: Option<End>,
    /// Stays whatever the limits say.
    #[serde(default)]
    pub pinned: bool,
    /// How often the record changed.
    #[serde(default)]
    pub generation: i32,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub at: Timestamp,
    pub failure: Option<Failure>,
    /// All status messages.
    pub log: Option<Descriptor>,
    /// What each exporter made, by its place in the request.
    #[serde(default)]
    pub results: BTreeMap<u32, Descriptor>,
    /// Blobs that the manifests among the results cannot be read without: other manifests and configs.
    #[serde(default)]
    pub result_parts: Vec<Digest>,
    /// What the client was answered.
    #[serde(default)]
    pub response: BTreeMap<String, String>,
    pub steps: Steps,
    /// Attestations by platform; the empty name stands for the only one.
    #[serde(default)]
    pub attestations: BTreeMap<String, Vec<Descriptor>>,
    #[serde(default)]
    pub trace: Option<Descriptor>,
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// As gRPC counts them.
    pub code: i32,
    pub message: String,
    /// The error with its details.
    pub whole: Option<Descriptor>,
}

/// Counts of vertices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Steps {
    pub total: u32,
    pub completed: u32,
    pub cached: u32,
    pub warnings: u32,
}

impl BuildRecord {
    /// The record of a build that starts now.
    pub fn of(request: &BuildRequest) -> Self {
        let (frontend, opts) = match &request.work {
            Work::Frontend { name, opts, .. } => (name.clone(), opts),
            Work::Definition(_) | Work::Client { .. } => (String::new(), &request.attrs),
        };
        BuildRecord {
            id: request.id.clone(),
            frontend,
            attrs: opts.clone(),
            exporters: request.exporters.clone(),
            created_at: Timestamp::now(),
            end: None,
            pinned: false,
            generation: 0,
        }
    }

    /// The blobs that the record keeps.
    pub fn blobs(&self) -> Vec<Digest> {
        let Some(end) = &self.end else { return Vec::new() };
        let mut blobs: Vec<_> = self.own_blobs();
        blobs.extend(end.results.values().map(|d| d.digest.clone()));
        blobs.extend(end.result_parts.iter().cloned());
        blobs
    }

    /// Those among them that were made for the history alone.
    pub fn own_blobs(&self) -> Vec<Digest> {
        let Some(end) = &self.end else { return Vec::new() };
        let whole = end.failure.as_ref().and_then(|f| f.whole.as_ref());
        [end.log.as_ref(), end.trace.as_ref(), whole]
            .into_iter()
            .flatten()
            .chain(end.attestations.values().flatten())
            .map(|d| d.digest.clone())
            .collect()
    }

    /// In one word: `running`, `completed`, `error` or `canceled`.
    pub fn status(&self) -> &'static str {
        match self.end.as_ref().map(|end| &end.failure) {
            None => "running",
            Some(None) => "completed",
            Some(Some(failure)) if failure.message.contains("context canceled") => "canceled",
            Some(Some(_)) => "error",
        }
    }
}
