//! A build as spans, for tools that draw traces: one for the whole, and one below it for each time that a vertex ran.
//! The form is that of OpenTelemetry's Go library, as BuildKit stores it: one JSON object after the other.

use jiff::Timestamp;
use oci::Digest;
use progress::Vertex;
use serde_json::{Value, json};

use crate::history::{BuildRecord, End};

/// Media type of a trace.
pub const TRACE: &str = "application/vnd.buildkit.otlp.json.v0";

/// OpenTelemetry's number of a span that is neither a request nor an answer.
const INTERNAL: u8 = 1;

/// The trace of a build that is over, from all that was told of its vertices.
pub fn trace(record: &BuildRecord, end: &End, vertices: &[Vertex]) -> Vec<u8> {
    let build = Spans { trace: id(&record.id, 16), root: id(&format!("{}:build", record.id), 8) };
    let failed = end.failure.as_ref().map_or("", |f| &f.message);
    let ran: Vec<_> = vertices.iter().filter_map(|v| Some((v, v.started?, v.completed?))).collect();
    let attributes = [("build.ref", record.id.as_str()), ("frontend", record.frontend.as_str())];
    let mut text = format!(
        "{}\n",
        build.span("build", &build.root, None, (record.created_at, end.at), failed, &attributes, ran.len())
    );
    for (vertex, from, to) in ran {
        let own = id(&format!("{}:{}:{from}", record.id, vertex.digest), 8);
        let cached = if vertex.cached { "true" } else { "false" };
        let digest = vertex.digest.to_string();
        let attributes = [("vertex", digest.as_str()), ("cached", cached)];
        let span =
            build.span(&vertex.name, &own, Some(&build.root), (from, to), &vertex.error, &attributes, 0);
        text.push_str(&format!("{span}\n"));
    }
    text.into_bytes()
}

/// Made from what it is for, so that a trace comes out the same each time.
fn id(of: &str, bytes: usize) -> String {
    Digest::of(of).hex()[..bytes * 2].to_owned()
}

struct Spans {
    trace: String,
    root: String,
}

impl Spans {
    #[allow(clippy::too_many_arguments, reason = "a span has as many parts")]
    fn span(
        &self,
        name: &str,
        own: &str,
        parent: Option<&str>,
        (from, to): (Timestamp, Timestamp),
        error: &str,
        attributes: &[(&str, &str)],
        children: usize,
    ) -> Value {
        let attributes: Vec<_> = attributes
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": {"Type": "STRING", "Value": value}}))
            .collect();
        let code = if error.is_empty() { "Unset" } else { "Error" };
        json!({
            "Name": name,
            "SpanContext": self.context(Some(own)),
            "Parent": self.context(parent),
            "SpanKind": INTERNAL,
            "StartTime": from.to_string(),
            "EndTime": to.to_string(),
            "Attributes": attributes,
            "Events": null,
            "Links": null,
            "Status": {"Code": code, "Description": error},
            "DroppedAttributes": 0,
            "DroppedEvents": 0,
            "DroppedLinks": 0,
            "ChildSpanCount": children,
            "Resource": [{"Key": "service.name", "Value": {"Type": "STRING", "Value": "kiln"}}],
            "InstrumentationLibrary": {"Name": "", "Version": "", "SchemaURL": "", "Attributes": null},
        })
    }

    /// The names of a span; none are all zeros.
    fn context(&self, span: Option<&str>) -> Value {
        let (trace, own, flags) = match span {
            Some(span) => (self.trace.as_str(), span, "01"),
            None => ("00000000000000000000000000000000", "0000000000000000", "00"),
        };
        json!({"TraceID": trace, "SpanID": own, "TraceFlags": flags, "TraceState": "", "Remote": false})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{ended, record};

    #[test]
    fn spans_hang_together() {
        let vertex = |name: &str, completed: Option<&str>| Vertex {
            digest: Digest::of(name),
            inputs: Vec::new(),
            name: name.into(),
            cached: false,
            started: "2026-01-01T22:00:01Z".parse().ok(),
            completed: completed.and_then(|t| t.parse().ok()),
            error: "boom".into(),
            progress_group: None,
        };
        let vertices = [vertex("RUN x", None), vertex("RUN x", Some("2026-01-01T22:00:02Z"))];
        let end = ended("2026-01-01T22:00:03Z");
        let text = String::from_utf8(trace(&record("a"), &end, &vertices)).expect("UTF-8");
        let spans: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[1]["Parent"], spans[0]["SpanContext"]);
        assert_eq!((&spans[1]["Name"], &spans[1]["Status"]["Code"]), (&"RUN x".into(), &"Error".into()));
        assert_eq!(spans[0]["ChildSpanCount"], 1);
        assert_eq!(spans[0]["SpanContext"]["TraceID"].as_str().map(str::len), Some(32));
    }
}
