//! Reads recorded streams.

use base64::Engine as _;
use bytes::Bytes;
use errdefs::{Position, Range, SourceInfo, SourceLocation};
use jiff::Timestamp;
use progress::{ProgressGroup, Renderer, Size, SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
use serde_json::Value;

pub const FIRST: &str = include_str!("../streams/first_build.jsonl");
pub const CACHED: &str = include_str!("../streams/cached_build.jsonl");
pub const FAILING: &str = include_str!("../streams/failing_build.jsonl");

/// The messages of a recording.
pub fn read(text: &str) -> Vec<SolveStatus> {
    text.lines().map(|l| status(&serde_json::from_str(l).expect("a line of JSON"))).collect()
}

/// Plays a recording through a renderer at its own pace, drawing after every message.
pub fn play(renderer: &mut dyn Renderer, messages: &[SolveStatus], size: Size) -> Vec<u8> {
    let mut out = Vec::new();
    let mut now = Timestamp::UNIX_EPOCH;
    for message in messages {
        now = now.max(latest(message).unwrap_or(now));
        renderer.update(message, now, &mut out);
        renderer.draw(now, size, &mut out);
    }
    renderer.finish(now, size, &mut out);
    out
}

fn latest(s: &SolveStatus) -> Option<Timestamp> {
    let vertexes = s.vertexes.iter().flat_map(|v| [v.started, v.completed]).flatten();
    let rest = s.statuses.iter().map(|s| s.timestamp).chain(s.logs.iter().map(|l| l.timestamp));
    vertexes.chain(rest).max()
}

fn status(v: &Value) -> SolveStatus {
    SolveStatus {
        vertexes: list(v, "vertexes").map(vertex).collect(),
        statuses: list(v, "statuses").map(vertex_status).collect(),
        logs: list(v, "logs").map(log).collect(),
        warnings: list(v, "warnings").map(warning).collect(),
    }
}

fn vertex(v: &Value) -> Vertex {
    Vertex {
        digest: digest(&v["digest"]),
        inputs: list(v, "inputs").map(digest).collect(),
        name: text(v, "name"),
        cached: v["cached"].as_bool().unwrap_or(false),
        started: time(v, "started"),
        completed: time(v, "completed"),
        error: text(v, "error"),
        progress_group: v.get("progressGroup").map(|g| ProgressGroup {
            id: text(g, "id"),
            name: text(g, "name"),
            weak: g["weak"].as_bool().unwrap_or(false),
        }),
    }
}

fn vertex_status(v: &Value) -> VertexStatus {
    VertexStatus {
        id: text(v, "id"),
        vertex: digest(&v["vertex"]),
        name: text(v, "name"),
        current: number(v, "current"),
        total: number(v, "total"),
        timestamp: time(v, "timestamp").expect("a timestamp"),
        started: time(v, "started"),
        completed: time(v, "completed"),
    }
}

fn log(v: &Value) -> VertexLog {
    VertexLog {
        vertex: digest(&v["vertex"]),
        timestamp: time(v, "timestamp").expect("a timestamp"),
        stream: u32::try_from(number(v, "stream")).expect("1 or 2"),
        data: Bytes::from(base64(&v["data"])),
    }
}

fn warning(v: &Value) -> VertexWarning {
    let position = |p: &Value| Position { line: small(p, "line"), character: small(p, "character") };
    VertexWarning {
        vertex: digest(&v["vertex"]),
        level: number(v, "level"),
        short: String::from_utf8(base64(&v["short"])).expect("UTF-8"),
        detail: list(v, "detail").map(|d| String::from_utf8(base64(d)).expect("UTF-8")).collect(),
        url: text(v, "url"),
        source: v.get("sourceInfo").map(|s| SourceLocation {
            info: SourceInfo {
                filename: text(s, "filename"),
                data: base64(&s["data"]),
                language: text(s, "language"),
                definition: Vec::new(),
            },
            ranges: list(v, "range")
                .map(|r| Range { start: position(&r["start"]), end: position(&r["end"]) })
                .collect(),
        }),
    }
}

fn list<'a>(v: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    v.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(v: &Value, key: &str) -> String {
    v[key].as_str().unwrap_or_default().to_owned()
}

fn number(v: &Value, key: &str) -> i64 {
    v[key].as_i64().unwrap_or_default()
}

fn small(v: &Value, key: &str) -> u32 {
    u32::try_from(number(v, key)).expect("a small number")
}

fn digest(v: &Value) -> oci::Digest {
    v.as_str().expect("a string").parse().expect("a digest")
}

fn time(v: &Value, key: &str) -> Option<Timestamp> {
    v.get(key).map(|t| t.as_str().expect("a string").parse().expect("a time"))
}

fn base64(v: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(v.as_str().unwrap_or_default()).expect("base64")
}
