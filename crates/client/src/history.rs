//! Builds that an engine remembers.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;
use oci::Digest;
use proto::content as blobs;
use proto::content::content_client::ContentClient;
use proto::kiln::history_client::HistoryClient;
use proto::{control as pb, kiln};
use session::grpcerr;

use crate::Client;
use crate::status::{solve_status, timestamp};

/// Bytes of a message that carries a part of a blob.
const PIECE: usize = 1 << 20;

/// Which records are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    /// Only builds that run.
    pub active_only: bool,
    /// Only this build; empty for all.
    pub id: String,
    /// Do not wait for what comes.
    pub early_exit: bool,
    /// Of which one must match. See BuildKit's `history.filter`.
    pub filter: Vec<String>,
    /// The newest so many; 0 for all.
    pub limit: i32,
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryEvent {
    Started(BuildRecord),
    Complete(BuildRecord),
    /// Nothing but the id is set.
    Deleted(BuildRecord),
}

/// What is to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryChange {
    Pin,
    Unpin,
    Delete,
    Finalize,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BuildRecord {
    pub id: String,
    pub frontend: String,
    pub frontend_attrs: BTreeMap<String, String>,
    /// Types with their attributes.
    pub exporters: Vec<(String, BTreeMap<String, String>)>,
    pub error: Option<Failure>,
    pub created_at: Option<Timestamp>,
    /// Nothing while it runs.
    pub completed_at: Option<Timestamp>,
    pub logs: Option<Descriptor>,
    pub trace: Option<Descriptor>,
    /// The error with its details.
    pub external_error: Option<Descriptor>,
    pub exporter_response: BTreeMap<String, String>,
    /// What exporters made, by their place in the request.
    pub results: BTreeMap<i64, Descriptor>,
    /// Attestations by platform; the empty name stands for the only one.
    pub attestations: BTreeMap<String, Vec<Descriptor>>,
    pub generation: i32,
    pub pinned: bool,
    pub steps: Steps,
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As gRPC counts them.
    pub code: i32,
    pub message: String,
}

/// Counts of vertices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Steps {
    pub total: i32,
    pub completed: i32,
    pub cached: i32,
    pub warnings: i32,
}

/// Names a blob of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    /// Bytes.
    pub size: i64,
    pub annotations: BTreeMap<String, String>,
}

impl Client {
    /// Calls `each` with what is known, and with what comes unless the query exits early, until it says `false`.
    pub async fn history(
        &self,
        query: &HistoryQuery,
        mut each: impl FnMut(HistoryEvent) -> bool,
    ) -> Result<()> {
        let request = pb::BuildHistoryRequest {
            active_only: query.active_only,
            r#ref: query.id.clone(),
            early_exit: query.early_exit,
            filter: query.filter.clone(),
            limit: query.limit,
        };
        let answer = self.control().listen_build_history(request).await.map_err(grpcerr::from_status);
        let mut events = answer.context("failed to ask for the history of builds")?.into_inner();
        while let Some(event) = events.message().await.map_err(grpcerr::from_status)? {
            use pb::BuildHistoryEventType as Type;
            let kind = event.r#type();
            let record = record(event.record.unwrap_or_default());
            let event = match kind {
                Type::Started => HistoryEvent::Started(record),
                Type::Complete => HistoryEvent::Complete(record),
                Type::Deleted => HistoryEvent::Deleted(record),
            };
            if !each(event) {
                break;
            }
        }
        Ok(())
    }

    /// The records that a query finds now. A build that ends meanwhile is there once.
    pub async fn records(&self, query: &HistoryQuery) -> Result<Vec<BuildRecord>> {
        let query = HistoryQuery { early_exit: true, ..query.clone() };
        let mut records: Vec<BuildRecord> = Vec::new();
        let add = |event| {
            if let HistoryEvent::Started(record) | HistoryEvent::Complete(record) = event {
                records.retain(|known| known.id != record.id);
                records.push(record);
            }
            true
        };
        self.history(&query, add).await?;
        Ok(records)
    }

    pub async fn update_history(&self, id: &str, change: HistoryChange) -> Result<()> {
        let request = pb::UpdateBuildHistoryRequest {
            r#ref: id.to_owned(),
            pinned: change == HistoryChange::Pin,
            delete: change == HistoryChange::Delete,
            finalize: change == HistoryChange::Finalize,
        };
        self.control().update_build_history(request).await.map_err(grpcerr::from_status)?;
        Ok(())
    }

    /// Sends all that a build told, and what it tells until it ends.
    pub async fn replay(&self, id: &str, to: crate::StatusSink) -> Result<()> {
        let answer = self.control().status(pb::StatusRequest { r#ref: id.to_owned() }).await;
        let mut messages = answer.map_err(grpcerr::from_status)?.into_inner();
        while let Some(message) = messages.message().await.map_err(grpcerr::from_status)? {
            if to.send(solve_status(message)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Reads a blob, piece by piece.
    pub async fn read_blob(&self, digest: &str, mut each: impl FnMut(Bytes) -> Result<()>) -> Result<()> {
        let mut client = proto::sized!(ContentClient::new(self.channel()));
        let request = blobs::ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let mut pieces = client.read(request).await.map_err(grpcerr::from_status)?.into_inner();
        while let Some(piece) = pieces.message().await.map_err(grpcerr::from_status)? {
            each(piece.data)?;
        }
        Ok(())
    }

    /// A whole blob of at most `limit` bytes, with its digest checked.
    pub async fn blob(&self, digest: &str, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let add = |piece: Bytes| {
            all.extend_from_slice(&piece);
            match all.len() > limit {
                true => Err(Error::user(format!("the blob {digest} is longer than {limit} bytes"))),
                false => Ok(()),
            }
        };
        self.read_blob(digest, add).await?;
        match Digest::of(&all).to_string() == digest || !digest.starts_with("sha256:") {
            true => Ok(all),
            false => Err(Error::environment(format!("the blob {digest} is damaged"))),
        }
    }

    /// Takes builds into the history of a Kiln engine: each with the blobs that belong to it. Gives the ids of those
    /// that are new there, and of those that it knew.
    pub async fn import_records(
        &self,
        builds: Vec<(BuildRecord, Vec<(String, Bytes)>)>,
    ) -> Result<(Vec<String>, Vec<String>)> {
        use kiln::import_request::Part;
        let parts = builds.into_iter().flat_map(|(record, blobs)| {
            let record = Part::Record(wire_record(record));
            blobs
                .into_iter()
                .flat_map(|(digest, bytes)| pieces(digest, bytes))
                .map(Part::Blob)
                .chain([record])
        });
        let messages = parts.map(|part| kiln::ImportRequest { part: Some(part) });
        let mut client = proto::sized!(HistoryClient::new(self.channel()));
        let answer = client.import(tokio_stream::iter(messages)).await.map_err(|e| self.only_kiln(e))?;
        let kiln::ImportResponse { imported, known } = answer.into_inner();
        Ok((imported, known))
    }

    /// The error of a build with all its details.
    pub async fn build_error(&self, record: &BuildRecord) -> Result<Option<Error>> {
        use prost::Message as _;
        const LIMIT: usize = 16 << 20;
        let Some(whole) = &record.external_error else {
            let plain = |f: &Failure| proto::rpc::Status {
                code: f.code,
                message: f.message.clone(),
                ..Default::default()
            };
            return Ok(record.error.as_ref().map(|f| grpcerr::from_rpc(&plain(f))));
        };
        let bytes = self.blob(&whole.digest, LIMIT).await?;
        let wire = proto::rpc::Status::decode(&*bytes)
            .map_err(|e| Error::environment(format!("the error of the build is damaged: {e}")))?;
        Ok(Some(grpcerr::from_rpc(&wire)))
    }
}

impl BuildRecord {
    /// All blobs that belong to it, but for those that results consist of.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let own = [&self.logs, &self.trace, &self.external_error].into_iter().flatten();
        own.chain(self.attestations.values().flatten())
    }
}

fn record(r: pb::BuildHistoryRecord) -> BuildRecord {
    let mut attestations = BTreeMap::new();
    let mut results = BTreeMap::new();
    for (platform, info) in r.result.into_iter().map(|info| (String::new(), info)).chain(r.results) {
        let found: Vec<_> = info.attestations.into_iter().map(descriptor).collect();
        if !found.is_empty() {
            attestations.insert(platform, found);
        }
        results.extend(info.result_deprecated.map(|d| (0, descriptor(d))));
        results.extend(info.results.into_iter().map(|(index, d)| (index, descriptor(d))));
    }
    BuildRecord {
        id: r.r#ref,
        frontend: r.frontend,
        frontend_attrs: r.frontend_attrs,
        exporters: r.exporters.into_iter().map(|e| (e.r#type, e.attrs)).collect(),
        error: r.error.map(|e| Failure { code: e.code, message: e.message }),
        created_at: r.created_at.and_then(timestamp),
        completed_at: r.completed_at.and_then(timestamp),
        logs: r.logs.map(descriptor),
        trace: r.trace.map(descriptor),
        external_error: r.external_error.map(descriptor),
        exporter_response: r.exporter_response,
        results,
        attestations,
        generation: r.generation,
        pinned: r.pinned,
        steps: Steps {
            total: r.num_total_steps,
            completed: r.num_completed_steps,
            cached: r.num_cached_steps,
            warnings: r.num_warnings,
        },
    }
}

/// A blob cut into messages; an empty one is one piece.
fn pieces(digest: String, mut rest: Bytes) -> Vec<kiln::BlobPiece> {
    let mut pieces = Vec::new();
    loop {
        let data = rest.split_to(rest.len().min(PIECE));
        let last = rest.is_empty();
        pieces.push(kiln::BlobPiece { digest: digest.clone(), data, last });
        if last {
            return pieces;
        }
    }
}

fn wire_record(r: BuildRecord) -> pb::BuildHistoryRecord {
    let time = |at: Timestamp| proto::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() };
    let attested = |list: Vec<Descriptor>| pb::BuildResultInfo {
        attestations: list.into_iter().map(wire_descriptor).collect(),
        ..pb::BuildResultInfo::default()
    };
    let mut attestations = r.attestations;
    let only = attestations.remove("").unwrap_or_default();
    pb::BuildHistoryRecord {
        r#ref: r.id,
        frontend: r.frontend,
        frontend_attrs: r.frontend_attrs,
        exporters: r
            .exporters
            .into_iter()
            .map(|(kind, attrs)| pb::Exporter { r#type: kind, attrs })
            .collect(),
        error: r.error.map(|e| proto::rpc::Status { code: e.code, message: e.message, details: Vec::new() }),
        created_at: r.created_at.map(time),
        completed_at: r.completed_at.map(time),
        logs: r.logs.map(wire_descriptor),
        exporter_response: r.exporter_response,
        result: Some(pb::BuildResultInfo {
            results: r.results.into_iter().map(|(index, d)| (index, wire_descriptor(d))).collect(),
            ..attested(only)
        }),
        results: attestations.into_iter().map(|(platform, list)| (platform, attested(list))).collect(),
        generation: r.generation,
        trace: r.trace.map(wire_descriptor),
        pinned: r.pinned,
        num_cached_steps: r.steps.cached,
        num_total_steps: r.steps.total,
        num_completed_steps: r.steps.completed,
        external_error: r.external_error.map(wire_descriptor),
        num_warnings: r.steps.warnings,
    }
}

fn wire_descriptor(d: Descriptor) -> pb::Descriptor {
    pb::Descriptor { media_type: d.media_type, digest: d.digest, size: d.size, annotations: d.annotations }
}

fn descriptor(d: pb::Descriptor) -> Descriptor {
    Descriptor { media_type: d.media_type, digest: d.digest, size: d.size, annotations: d.annotations }
}
