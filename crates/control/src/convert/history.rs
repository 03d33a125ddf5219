//! Records of builds, outward, and what is asked of them, inward.

use std::collections::BTreeMap;

use engine::Attributed;
use engine::history::{BuildRecord, Change, End, Failure, HistoryEvent, Query, RecordFilter, Steps};
use errdefs::{Error, Result};
use jiff::Timestamp;
use oci::Descriptor;
use proto::{control as wire, rpc};

use crate::convert::timestamp;

pub(crate) fn query(request: wire::BuildHistoryRequest) -> Result<Query> {
    let limit = usize::try_from(request.limit);
    Ok(Query {
        active_only: request.active_only,
        id: request.r#ref,
        early_exit: request.early_exit,
        filters: request.filter.iter().map(|text| RecordFilter::parse(text)).collect::<Result<_>>()?,
        limit: limit.map_err(|_| Error::user(format!("invalid limit {}", request.limit)))?,
    })
}

/// A request without a wish takes the pin away.
pub(crate) fn change(request: &wire::UpdateBuildHistoryRequest) -> Result<Change> {
    match request {
        _ if request.r#ref.is_empty() => Err(Error::user("the request names no build")),
        wire::UpdateBuildHistoryRequest { finalize: true, .. } => Ok(Change::Finalize),
        wire::UpdateBuildHistoryRequest { delete: true, .. } => Ok(Change::Remove),
        wire::UpdateBuildHistoryRequest { pinned, .. } => Ok(Change::Pin(*pinned)),
    }
}

pub(crate) fn history_event(event: HistoryEvent) -> wire::BuildHistoryEvent {
    use wire::BuildHistoryEventType as Type;
    let (kind, record) = match event {
        HistoryEvent::Started(it) => (Type::Started, record(&it)),
        HistoryEvent::Completed(it) => (Type::Complete, record(&it)),
        HistoryEvent::Deleted(id) => {
            (Type::Deleted, wire::BuildHistoryRecord { r#ref: id, ..Default::default() })
        }
    };
    wire::BuildHistoryEvent { r#type: kind.into(), record: Some(record) }
}

fn record(record: &BuildRecord) -> wire::BuildHistoryRecord {
    let exporters = record.exporters.iter();
    let running = wire::BuildHistoryRecord {
        r#ref: record.id.clone(),
        frontend: record.frontend.clone(),
        frontend_attrs: record.attrs.clone(),
        exporters: exporters
            .map(|e| wire::Exporter { r#type: e.kind.clone(), attrs: e.attrs.clone() })
            .collect(),
        created_at: Some(timestamp(record.created_at)),
        generation: record.generation,
        pinned: record.pinned,
        ..Default::default()
    };
    match &record.end {
        Some(end) => ended(running, end),
        None => running,
    }
}

fn ended(running: wire::BuildHistoryRecord, end: &End) -> wire::BuildHistoryRecord {
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let failure = end.failure.as_ref();
    wire::BuildHistoryRecord {
        error: failure.map(|f| rpc::Status { code: f.code, message: f.message.clone(), details: Vec::new() }),
        external_error: failure.and_then(|f| f.whole.as_ref()).map(descriptor),
        completed_at: Some(timestamp(end.at)),
        logs: end.log.as_ref().map(descriptor),
        trace: end.trace.as_ref().map(descriptor),
        exporter_response: end.response.clone(),
        result: result(end),
        results: end
            .attestations
            .iter()
            .filter(|(platform, _)| !platform.is_empty())
            .map(|(platform, attestations)| (platform.clone(), attested(attestations)))
            .collect(),
        num_cached_steps: count(end.steps.cached),
        num_total_steps: count(end.steps.total),
        num_completed_steps: count(end.steps.completed),
        num_warnings: count(end.steps.warnings),
        ..running
    }
}

fn result(end: &End) -> Option<wire::BuildResultInfo> {
    let attestations = end.attestations.get("").map(Vec::as_slice).unwrap_or_default();
    let is_there = !end.results.is_empty() || !attestations.is_empty();
    is_there.then(|| wire::BuildResultInfo {
        result_deprecated: end.results.values().next().map(descriptor),
        results: end.results.iter().map(|(index, d)| (i64::from(*index), descriptor(d))).collect(),
        ..attested(attestations)
    })
}

fn attested(attestations: &[Descriptor]) -> wire::BuildResultInfo {
    wire::BuildResultInfo {
        attestations: attestations.iter().map(descriptor).collect(),
        ..wire::BuildResultInfo::default()
    }
}

/// A record that comes from elsewhere.
pub(crate) fn record_from_wire(r: wire::BuildHistoryRecord) -> Result<BuildRecord> {
    let time = |t: Option<proto::Timestamp>| {
        let t = t.ok_or_else(|| Error::user("the record tells no time"))?;
        Timestamp::new(t.seconds, t.nanos).map_err(|e| Error::user(format!("invalid time of a record: {e}")))
    };
    let count = |n: i32| u32::try_from(n).unwrap_or_default();
    let optional = |d: Option<wire::Descriptor>| d.map(descriptor_from_wire).transpose();
    let whole = optional(r.external_error)?;
    let failure = r.error.map(|e| Failure { code: e.code, message: e.message, whole });
    let mut end = End {
        at: time(r.completed_at)?,
        failure,
        log: optional(r.logs)?,
        results: BTreeMap::new(),
        result_parts: Vec::new(),
        response: r.exporter_response,
        steps: Steps {
            total: count(r.num_total_steps),
            completed: count(r.num_completed_steps),
            cached: count(r.num_cached_steps),
            warnings: count(r.num_warnings),
        },
        attestations: BTreeMap::new(),
        trace: optional(r.trace)?,
    };
    for (platform, info) in r.result.into_iter().map(|info| (String::new(), info)).chain(r.results) {
        for (index, d) in info.results {
            end.results.insert(u32::try_from(index).unwrap_or_default(), descriptor_from_wire(d)?);
        }
        let attestations =
            info.attestations.into_iter().map(descriptor_from_wire).collect::<Result<Vec<_>>>()?;
        if !attestations.is_empty() {
            end.attestations.insert(platform, attestations);
        }
    }
    Ok(BuildRecord {
        id: r.r#ref,
        frontend: r.frontend,
        attrs: r.frontend_attrs,
        exporters: r.exporters.into_iter().map(|e| Attributed { kind: e.r#type, attrs: e.attrs }).collect(),
        created_at: time(r.created_at)?,
        end: Some(end),
        pinned: r.pinned,
        generation: r.generation,
    })
}

fn descriptor_from_wire(d: wire::Descriptor) -> Result<Descriptor> {
    let digest = d.digest.parse().map_err(|_| Error::user(format!("invalid digest `{}`", d.digest)))?;
    let size = u64::try_from(d.size).map_err(|_| Error::user("negative size of a blob"))?;
    let mut descriptor = Descriptor::new(d.media_type, digest, size);
    descriptor.annotations.extend(d.annotations);
    Ok(descriptor)
}

fn descriptor(d: &Descriptor) -> wire::Descriptor {
    wire::Descriptor {
        media_type: d.media_type.clone(),
        digest: d.digest.to_string(),
        size: i64::try_from(d.size).unwrap_or(i64::MAX),
        annotations: d.annotations.clone().into_iter().collect(),
    }
}
