//! From a build that runs to its record.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use content::Lease;
use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;
use oci::media::{IN_TOTO, PREDICATE_TYPE};
use oci::{Descriptor, Digest};
use progress::{SolveStatus, Vertex};
use provenance::{PREDICATE_TYPES, Version};

use crate::history::{BuildRecord, End, Failure, History, Steps};
use crate::log::BuildLog;
use crate::request::BuildResponse;

/// Media type of a log: status messages, each after its length in four bytes, the least first.
const LOG: &str = "application/vnd.buildkit.status.v0";
/// Media type of an error. The misspelling is the name.
const ERROR: &str = "application/vnd.googeapis.google.rpc.status+proto";

/// How a build is written down for clients; whoever talks to them gives it.
pub trait Wire: Send + Sync {
    /// Appends a status message to a log.
    fn status(&self, status: SolveStatus, log: &mut Vec<u8>);
    fn error(&self, error: &Error) -> WireError;
    /// All that a log tells of vertices, in its order.
    fn vertices(&self, log: File) -> Result<Vec<Vertex>>;
}

/// An error as clients read it.
pub struct WireError {
    pub code: i32,
    pub message: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A build that is to have a record. Dropped, it leaves none.
pub struct Recording {
    pub(super) history: History,
    pub(super) record: Arc<BuildRecord>,
}

impl Recording {
    /// Writes the record of a build that is over, `log` being closed. What fails here is told in the engine's log: the
    /// build has its outcome all the same.
    pub async fn complete(
        self,
        log: &Arc<BuildLog>,
        outcome: &Result<BuildResponse>,
        provenance: BTreeMap<String, Vec<u8>>,
    ) {
        let (log, outcome) = (Arc::clone(log), outcome.clone());
        let id = self.record.id.clone();
        let written = tokio::task::spawn_blocking(move || self.write(&log, &outcome, &provenance)).await;
        let written = written.unwrap_or_else(|e| Err(Error::internal(e.to_string())));
        if let Err(e) = written {
            tracing::warn!(build = id, "the build has no record: {e}");
        }
    }

    fn write(
        self,
        log: &Arc<BuildLog>,
        outcome: &Result<BuildResponse>,
        provenance: &BTreeMap<String, Vec<u8>>,
    ) -> Result<()> {
        // Holds what is written until the record does.
        let lease = self.history.content().lease();
        let mut end = self.end(log, outcome, &lease)?;
        for (platform, statement) in provenance {
            let descriptor = self.provenance(statement, &lease)?;
            end.attestations.entry(platform.clone()).or_default().push(descriptor);
        }
        let record = BuildRecord { end: Some(end), ..BuildRecord::clone(&self.record) };
        self.history.completed(record)
    }

    fn end(&self, log: &Arc<BuildLog>, outcome: &Result<BuildResponse>, lease: &Lease) -> Result<End> {
        let at = Timestamp::now();
        let (log, steps) = self.log(log, lease)?;
        let mut end = End {
            at,
            failure: None,
            log: Some(log),
            results: BTreeMap::new(),
            result_parts: Vec::new(),
            response: BTreeMap::new(),
            steps,
            attestations: BTreeMap::new(),
            trace: None,
        };
        match outcome {
            Ok(response) => {
                // A build whose exporter kept nothing in the store has nothing to show.
                let is_there = |d: &&Descriptor| lease.hold(&d.digest);
                let results = response.results.iter().filter(|(_, d)| is_there(d));
                end.results = results.map(|(index, d)| (*index, d.clone())).collect();
                end.result_parts = self.parts(end.results.values(), lease);
                end.attestations = attestations(response, lease);
                end.response = response.exporter.clone();
            }
            Err(e) => end.failure = Some(self.failure(e, lease)?),
        }
        Ok(end)
    }

    fn log(&self, log: &Arc<BuildLog>, lease: &Lease) -> Result<(Descriptor, Steps)> {
        let mut bytes = Vec::new();
        let mut count = Count::default();
        let mut ingest = lease.ingest(None)?;
        let mut size = 0;
        for message in log.messages() {
            count.add(&message);
            self.history.wire().status(message, &mut bytes);
            ingest.write_all(&bytes).context("failed to keep the log of a build")?;
            size += bytes.len() as u64;
            bytes.clear();
        }
        Ok((Descriptor::new(LOG, ingest.commit()?, size), count.steps()))
    }

    fn provenance(&self, statement: &[u8], lease: &Lease) -> Result<Descriptor> {
        let mut ingest = lease.ingest(None)?;
        ingest.write_all(statement).context("failed to keep the provenance of a build")?;
        let mut descriptor = Descriptor::new(IN_TOTO, ingest.commit()?, statement.len() as u64);
        let predicate_type = Version::V1.predicate_type().to_owned();
        descriptor.annotations.insert(PREDICATE_TYPE.into(), predicate_type);
        Ok(descriptor)
    }

    fn failure(&self, error: &Error, lease: &Lease) -> Result<Failure> {
        let WireError { code, message, bytes } = self.history.wire().error(error);
        let mut ingest = lease.ingest(None)?;
        ingest.write_all(&bytes).context("failed to keep the error of a build")?;
        let whole = Some(Descriptor::new(ERROR, ingest.commit()?, bytes.len() as u64));
        Ok(Failure { code, message, whole })
    }

    /// The configs and manifests that belong to results, without layers: those are the build cache's.
    fn parts<'a>(&self, results: impl Iterator<Item = &'a Descriptor>, lease: &Lease) -> Vec<Digest> {
        let mut parts = Vec::new();
        let mut todo: Vec<Digest> = results.map(|d| d.digest.clone()).collect();
        while let Some(digest) = todo.pop() {
            for part in self.history.parts_of(&digest) {
                if lease.hold(&part) && !parts.contains(&part) {
                    parts.push(part.clone());
                    todo.push(part);
                }
            }
        }
        parts
    }
}

/// What images say of themselves. Provenance is left out: clients look for the history's own, which is in another form.
fn attestations(response: &BuildResponse, lease: &Lease) -> BTreeMap<String, Vec<Descriptor>> {
    let is_provenance =
        |d: &Descriptor| d.annotations.get(PREDICATE_TYPE).is_some_and(|t| t.starts_with(PREDICATE_TYPES));
    let kept = |d: &&Descriptor| !is_provenance(d) && lease.hold(&d.digest);
    let by_platform = response.attestations.iter().map(|(platform, statements)| {
        let kept: Vec<_> = statements.iter().filter(kept).cloned().collect();
        (platform.clone(), kept)
    });
    by_platform.filter(|(_, kept)| !kept.is_empty()).collect()
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.history.forget_active(&self.record.id);
    }
}

/// Counts what a log tells of.
#[derive(Default)]
struct Count {
    /// Whether each vertex is completed, and whether it was in the cache.
    vertices: BTreeMap<Digest, (bool, bool)>,
    warnings: u32,
}

impl Count {
    fn add(&mut self, message: &SolveStatus) {
        for vertex in &message.vertexes {
            let known = self.vertices.entry(vertex.digest.clone()).or_default();
            known.0 |= vertex.completed.is_some();
            known.1 |= vertex.cached;
        }
        self.warnings += u32::try_from(message.warnings.len()).unwrap_or(u32::MAX);
    }

    fn steps(&self) -> Steps {
        let count = |wanted: &dyn Fn(&(bool, bool)) -> bool| {
            let count = self.vertices.values().filter(|state| wanted(state)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Steps {
            total: count(&|_| true),
            completed: count(&|state| state.0),
            cached: count(&|state| state.1),
            warnings: self.warnings,
        }
    }
}
