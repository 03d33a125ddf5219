//! Status messages from the wire. What makes no sense is left out: a status is no reason for a build to fail.

use errdefs::{Position, Range, SourceInfo, SourceLocation};
use jiff::Timestamp;
use progress::{ProgressGroup, SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
use proto::control as pb;

pub(crate) fn timestamp(t: proto::Timestamp) -> Option<Timestamp> {
    Timestamp::new(t.seconds, t.nanos).ok()
}

pub(crate) fn solve_status(m: pb::StatusResponse) -> SolveStatus {
    SolveStatus {
        vertexes: m.vertexes.into_iter().filter_map(vertex).collect(),
        statuses: m.statuses.into_iter().filter_map(status).collect(),
        logs: m.logs.into_iter().filter_map(log).collect(),
        warnings: m.warnings.into_iter().filter_map(warning).collect(),
    }
}

fn vertex(v: pb::Vertex) -> Option<Vertex> {
    Some(Vertex {
        digest: v.digest.parse().ok()?,
        inputs: v.inputs.iter().filter_map(|d| d.parse().ok()).collect(),
        name: v.name,
        cached: v.cached,
        started: v.started.and_then(timestamp),
        completed: v.completed.and_then(timestamp),
        error: v.error,
        progress_group: v.progress_group.map(|g| ProgressGroup { id: g.id, name: g.name, weak: g.weak }),
    })
}

fn status(s: pb::VertexStatus) -> Option<VertexStatus> {
    Some(VertexStatus {
        id: s.id,
        vertex: s.vertex.parse().ok()?,
        name: s.name,
        current: s.current,
        total: s.total,
        timestamp: s.timestamp.and_then(timestamp)?,
        started: s.started.and_then(timestamp),
        completed: s.completed.and_then(timestamp),
    })
}

fn log(l: pb::VertexLog) -> Option<VertexLog> {
    Some(VertexLog {
        vertex: l.vertex.parse().ok()?,
        timestamp: l.timestamp.and_then(timestamp)?,
        stream: u32::try_from(l.stream).ok()?,
        data: l.msg,
    })
}

fn warning(w: pb::VertexWarning) -> Option<VertexWarning> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(VertexWarning {
        vertex: w.vertex.parse().ok()?,
        level: w.level,
        short: text(&w.short),
        detail: w.detail.iter().map(|d| text(d)).collect(),
        url: w.url,
        source: w.info.map(|info| SourceLocation {
            info: SourceInfo {
                filename: info.filename,
                data: info.data,
                language: info.language,
                definition: Vec::new(),
            },
            ranges: w.ranges.iter().filter_map(range).collect(),
        }),
    })
}

fn range(r: &proto::pb::Range) -> Option<Range> {
    let position = |p: &proto::pb::Position| {
        Some(Position { line: u32::try_from(p.line).ok()?, character: u32::try_from(p.character).ok()? })
    };
    let start = position(r.start.as_ref()?)?;
    let end = r.end.as_ref().map_or(Some(start), position)?;
    Some(Range { start, end })
}
