//! Progress, outward.

use errdefs::{Position, Range, SourceLocation};
use jiff::Timestamp;
use progress::{SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
use proto::control as wire;
use proto::pb;

use crate::convert::timestamp;

pub(crate) fn status_response(status: SolveStatus) -> wire::StatusResponse {
    wire::StatusResponse {
        vertexes: status.vertexes.into_iter().map(vertex).collect(),
        statuses: status.statuses.into_iter().map(vertex_status).collect(),
        logs: status.logs.into_iter().map(log).collect(),
        warnings: status.warnings.into_iter().map(warning).collect(),
    }
}

fn vertex(v: Vertex) -> wire::Vertex {
    wire::Vertex {
        digest: v.digest.to_string(),
        inputs: v.inputs.iter().map(ToString::to_string).collect(),
        name: v.name,
        cached: v.cached,
        started: v.started.map(timestamp),
        completed: v.completed.map(timestamp),
        error: v.error,
        progress_group: v.progress_group.map(|g| pb::ProgressGroup { id: g.id, name: g.name, weak: g.weak }),
    }
}

/// A vertex of a log.
pub(crate) fn vertex_from_wire(v: wire::Vertex) -> Option<Vertex> {
    let time = |t: Option<proto::Timestamp>| t.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok());
    Some(Vertex {
        digest: v.digest.parse().ok()?,
        inputs: v.inputs.iter().filter_map(|digest| digest.parse().ok()).collect(),
        name: v.name,
        cached: v.cached,
        started: time(v.started),
        completed: time(v.completed),
        error: v.error,
        progress_group: None,
    })
}

fn vertex_status(s: VertexStatus) -> wire::VertexStatus {
    wire::VertexStatus {
        id: s.id,
        vertex: s.vertex.to_string(),
        name: s.name,
        current: s.current,
        total: s.total,
        timestamp: Some(timestamp(s.timestamp)),
        started: s.started.map(timestamp),
        completed: s.completed.map(timestamp),
    }
}

fn log(l: VertexLog) -> wire::VertexLog {
    wire::VertexLog {
        vertex: l.vertex.to_string(),
        timestamp: Some(timestamp(l.timestamp)),
        stream: l.stream.into(),
        msg: l.data,
    }
}

fn warning(w: VertexWarning) -> wire::VertexWarning {
    let (info, ranges) = w.source.map(source).unwrap_or_default();
    wire::VertexWarning {
        vertex: w.vertex.to_string(),
        level: w.level,
        short: w.short.into_bytes(),
        detail: w.detail.into_iter().map(String::into_bytes).collect(),
        url: w.url,
        info,
        ranges,
    }
}

fn source(source: SourceLocation) -> (Option<pb::SourceInfo>, Vec<pb::Range>) {
    let info = pb::SourceInfo {
        filename: source.info.filename,
        data: source.info.data,
        definition: None,
        language: source.info.language,
    };
    (Some(info), source.ranges.into_iter().map(range).collect())
}

fn range(r: Range) -> pb::Range {
    let position = |p: Position| pb::Position {
        line: p.line.try_into().unwrap_or(i32::MAX),
        character: p.character.try_into().unwrap_or(i32::MAX),
    };
    pb::Range { start: Some(position(r.start)), end: Some(position(r.end)) }
}
