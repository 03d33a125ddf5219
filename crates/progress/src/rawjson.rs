//! One JSON object per message, in the names of BuildKit's `client.SolveStatus`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::event::{ProgressGroup, SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning};
use crate::render::{Renderer, Size};

/// JSON lines for programs.
#[derive(Debug, Default)]
pub struct RawJson;

impl Renderer for RawJson {
    fn update(&mut self, status: &SolveStatus, _: Timestamp, out: &mut Vec<u8>) {
        let text = serde_json::to_string(&Line::from(status)).expect("only strings, numbers and lists");
        out.extend_from_slice(escape_html(&text).as_bytes());
        out.push(b'\n');
    }

    fn draw(&mut self, _: Timestamp, _: Size, _: &mut Vec<u8>) {}

    fn finish(&mut self, _: Timestamp, _: Size, _: &mut Vec<u8>) {}
}

/// Go's encoder writes these characters so that the text can stand inside HTML. They occur in strings only.
fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<JsonVertex<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<JsonStatus<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<JsonLog<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<JsonWarning<'a>>,
}

#[derive(Serialize)]
struct JsonVertex<'a> {
    digest: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    inputs: &'a [oci::Digest],
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Time>,
    #[serde(skip_serializing_if = "is_false")]
    cached: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(rename = "progressGroup", skip_serializing_if = "Option::is_none")]
    progress_group: Option<JsonGroup<'a>>,
}

#[derive(Serialize)]
struct JsonGroup<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    weak: bool,
}

#[derive(Serialize)]
struct JsonStatus<'a> {
    id: &'a str,
    vertex: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    total: i64,
    current: i64,
    timestamp: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Time>,
}

#[derive(Serialize)]
struct JsonLog<'a> {
    vertex: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    stream: i64,
    data: Base64<'a>,
    timestamp: Time,
}

/// A warning, as a line of [`RawJson`] has it.
pub fn warning_json(warning: &VertexWarning) -> serde_json::Value {
    serde_json::to_value(JsonWarning::from(warning)).expect("only texts as keys")
}

#[derive(Serialize)]
struct JsonWarning<'a> {
    vertex: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    level: i64,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    short: Base64<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detail: Vec<Base64<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(rename = "sourceInfo", skip_serializing_if = "Option::is_none")]
    source: Option<JsonSource<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    range: Vec<JsonRange>,
}

#[derive(Serialize)]
struct JsonSource<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    filename: &'a str,
    #[serde(skip_serializing_if = "Base64::is_empty")]
    data: Base64<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
}

#[derive(Serialize)]
struct JsonRange {
    start: JsonPosition,
    end: JsonPosition,
}

#[derive(Serialize)]
struct JsonPosition {
    #[serde(skip_serializing_if = "is_zero")]
    line: i64,
    #[serde(skip_serializing_if = "is_zero")]
    character: i64,
}

/// RFC 3339 with as many digits as needed.
struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

struct Base64<'a>(&'a [u8]);

impl Base64<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(self.0))
    }
}

fn is_false(b: &bool) -> bool {
    !b
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

impl<'a> From<&'a SolveStatus> for Line<'a> {
    fn from(s: &'a SolveStatus) -> Self {
        Line {
            vertexes: s.vertexes.iter().map(JsonVertex::from).collect(),
            statuses: s.statuses.iter().map(JsonStatus::from).collect(),
            logs: s.logs.iter().map(JsonLog::from).collect(),
            warnings: s.warnings.iter().map(JsonWarning::from).collect(),
        }
    }
}

impl<'a> From<&'a Vertex> for JsonVertex<'a> {
    fn from(v: &'a Vertex) -> Self {
        let group = |g: &'a ProgressGroup| JsonGroup { id: &g.id, name: &g.name, weak: g.weak };
        JsonVertex {
            digest: v.digest.as_str(),
            inputs: &v.inputs,
            name: &v.name,
            started: v.started.map(Time),
            completed: v.completed.map(Time),
            cached: v.cached,
            error: &v.error,
            progress_group: v.progress_group.as_ref().map(group),
        }
    }
}

impl<'a> From<&'a VertexStatus> for JsonStatus<'a> {
    fn from(s: &'a VertexStatus) -> Self {
        JsonStatus {
            id: &s.id,
            vertex: s.vertex.as_str(),
            name: &s.name,
            total: s.total,
            current: s.current,
            timestamp: Time(s.timestamp),
            started: s.started.map(Time),
            completed: s.completed.map(Time),
        }
    }
}

impl<'a> From<&'a VertexLog> for JsonLog<'a> {
    fn from(l: &'a VertexLog) -> Self {
        JsonLog {
            vertex: l.vertex.as_str(),
            stream: i64::from(l.stream),
            data: Base64(&l.data),
            timestamp: Time(l.timestamp),
        }
    }
}

impl<'a> From<&'a VertexWarning> for JsonWarning<'a> {
    fn from(w: &'a VertexWarning) -> Self {
        let position = |p: errdefs::Position| JsonPosition {
            line: i64::from(p.line),
            character: i64::from(p.character),
        };
        let source = |l: &'a errdefs::SourceLocation| JsonSource {
            filename: &l.info.filename,
            data: Base64(&l.info.data),
            language: &l.info.language,
        };
        let ranges = w.source.iter().flat_map(|l| &l.ranges);
        JsonWarning {
            vertex: w.vertex.as_str(),
            level: w.level,
            short: Base64(w.short.as_bytes()),
            detail: w.detail.iter().map(|d| Base64(d.as_bytes())).collect(),
            url: &w.url,
            source: w.source.as_ref().map(source),
            range: ranges.map(|r| JsonRange { start: position(r.start), end: position(r.end) }).collect(),
        }
    }
}
