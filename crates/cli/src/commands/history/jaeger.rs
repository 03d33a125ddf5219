//! Spans as the engine keeps them, in the form that Jaeger's UI reads (jaegertracing/jaeger, model/json/model.go).

use errdefs::{Error, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What OpenTelemetry's Go library writes of a span.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Span {
    name: String,
    span_context: Context,
    parent: Context,
    #[serde(default)]
    span_kind: u8,
    start_time: Timestamp,
    end_time: Timestamp,
    attributes: Option<Vec<Attribute>>,
    events: Option<Vec<Event>>,
    links: Option<Vec<Link>>,
    #[serde(default)]
    status: Status,
    resource: Option<Vec<Attribute>>,
    #[serde(default, alias = "InstrumentationScope")]
    instrumentation_library: Library,
}

#[derive(Deserialize)]
struct Context {
    #[serde(rename = "TraceID")]
    trace: String,
    #[serde(rename = "SpanID")]
    span: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    key: String,
    value: Typed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Typed {
    #[serde(rename = "Type")]
    kind: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    name: String,
    attributes: Option<Vec<Attribute>>,
    time: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Link {
    span_context: Context,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Status {
    code: String,
    description: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Library {
    name: String,
    version: String,
}

/// A trace, as Jaeger's UI takes it in.
#[derive(Debug)]
pub(super) struct Trace {
    pub id: String,
    /// `{"data": [...]}`.
    pub json: Value,
}

/// OpenTelemetry's numbers of kinds of spans, from 1 on.
const KINDS: [&str; 5] = ["internal", "server", "client", "producer", "consumer"];

impl Trace {
    /// Reads one span after the other.
    pub fn parse(spans: &[u8]) -> Result<Self> {
        let spans: Result<Vec<Span>, _> = serde_json::Deserializer::from_slice(spans).into_iter().collect();
        let spans = spans.map_err(|e| Error::environment(format!("failed to read the trace: {e}")))?;
        let Some(first) = spans.first() else { return Err(Error::not_found("no trace data")) };
        let id = first.span_context.trace.clone();
        let processes: Map<String, Value> =
            spans.iter().enumerate().map(|(i, span)| (process_id(i), span.process())).collect();
        let spans: Vec<Value> = spans.iter().enumerate().map(|(i, span)| span.to_jaeger(i)).collect();
        let data = json!({"traceID": id, "spans": spans, "processes": processes, "warnings": null});
        Ok(Trace { id, json: json!({"data": [data]}) })
    }
}

fn process_id(index: usize) -> String {
    format!("p{index}")
}

impl Span {
    fn process(&self) -> Value {
        let resource = self.resource.as_deref().unwrap_or_default();
        let (names, tags): (Vec<_>, Vec<_>) = resource.iter().partition(|a| a.key == "service.name");
        let name = names.first().and_then(|a| a.value.value.as_str()).unwrap_or("unknown_service");
        json!({"serviceName": name, "tags": tags.into_iter().map(Attribute::tag).collect::<Vec<_>>()})
    }

    fn to_jaeger(&self, index: usize) -> Value {
        let (start, end) = (self.start_time.as_microsecond(), self.end_time.as_microsecond());
        json!({
            "traceID": self.span_context.trace,
            "spanID": self.span_context.span,
            "flags": 1,
            "operationName": self.name,
            "references": self.references(),
            "startTime": start,
            "duration": (end - start).max(0),
            "tags": self.tags(),
            "logs": self.events.iter().flatten().map(Event::log).collect::<Vec<_>>(),
            "processID": process_id(index),
            "warnings": null,
        })
    }

    fn references(&self) -> Vec<Value> {
        let links = self.links.iter().flatten().map(|link| ("FOLLOWS_FROM", &link.span_context));
        // A name of zeros is none.
        let parent = Some(("CHILD_OF", &self.parent)).filter(|(_, c)| c.span.bytes().any(|b| b != b'0'));
        let all = links.chain(parent);
        all.map(|(kind, c)| json!({"refType": kind, "traceID": c.trace, "spanID": c.span})).collect()
    }

    fn tags(&self) -> Vec<Value> {
        let mut tags: Vec<Value> = self.attributes.iter().flatten().map(Attribute::tag).collect();
        let Library { name, version } = &self.instrumentation_library;
        let kind = usize::from(self.span_kind).checked_sub(1).and_then(|i| KINDS.get(i)).copied();
        let Status { code, description } = &self.status;
        let is_failed = code == "Error";
        if is_failed {
            tags.push(json!({"key": "error", "type": "bool", "value": true}));
        }
        let code = if matches!(code.as_str(), "" | "Unset") { String::new() } else { code.to_uppercase() };
        for (key, value) in [
            ("otel.library.name", name.as_str()),
            ("otel.library.version", version),
            ("span.kind", kind.filter(|kind| *kind != "internal").unwrap_or_default()),
            ("otel.status_code", &code),
            ("otel.status_description", description),
        ] {
            if !value.is_empty() {
                tags.push(text(key, value));
            }
        }
        tags
    }
}

impl Attribute {
    fn tag(&self) -> Value {
        let Attribute { key, value: Typed { kind, value } } = self;
        match kind.as_str() {
            "BOOL" | "INT64" | "FLOAT64" => json!({"key": key, "type": kind.to_lowercase(), "value": value}),
            "STRING" => json!({"key": key, "type": "string", "value": value}),
            _ => text(key, &value.to_string()),
        }
    }
}

impl Event {
    fn log(&self) -> Value {
        let name = Some(text("event", &self.name)).filter(|_| !self.name.is_empty());
        let fields: Vec<_> =
            name.into_iter().chain(self.attributes.iter().flatten().map(Attribute::tag)).collect();
        json!({"timestamp": self.time.as_microsecond(), "fields": fields})
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "type": "string", "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: &str = r#"
        {"Name":"build","SpanContext":{"TraceID":"a1","SpanID":"01","TraceFlags":"01","TraceState":"","Remote":false},
         "Parent":{"TraceID":"00","SpanID":"00","TraceFlags":"00","TraceState":"","Remote":false},"SpanKind":2,
         "StartTime":"2026-01-01T00:00:01Z","EndTime":"2026-01-01T00:00:03.5Z",
         "Attributes":[{"Key":"n","Value":{"Type":"INT64","Value":7}},{"Key":"l","Value":{"Type":"STRINGSLICE","Value":["x"]}}],
         "Events":[{"Name":"began","Attributes":null,"DroppedAttributeCount":0,"Time":"2026-01-01T00:00:02Z"}],"Links":null,
         "Status":{"Code":"Unset","Description":""},"DroppedAttributes":0,"ChildSpanCount":1,
         "Resource":[{"Key":"service.name","Value":{"Type":"STRING","Value":"kiln"}}],
         "InstrumentationLibrary":{"Name":"lib","Version":"","SchemaURL":"","Attributes":null}}
        {"Name":"RUN x","SpanContext":{"TraceID":"a1","SpanID":"02"},"Parent":{"TraceID":"a1","SpanID":"01"},"SpanKind":1,
         "StartTime":"2026-01-01T00:00:02Z","EndTime":"2026-01-01T00:00:01Z","Attributes":null,"Events":null,"Links":null,
         "Status":{"Code":"Error","Description":"boom"},"Resource":null}"#;

    #[test]
    fn spans_become_a_trace() {
        let trace = Trace::parse(SPANS.as_bytes()).expect("readable");
        assert_eq!(trace.id, "a1");
        let data = &trace.json["data"][0];
        assert_eq!(data["processes"]["p0"], json!({"serviceName": "kiln", "tags": []}));
        let [build, step] = [0, 1].map(|i| &data["spans"][i]);
        assert_eq!(
            (&build["startTime"], &build["duration"]),
            (&json!(1_767_225_601_000_000_u64), &json!(2_500_000))
        );
        assert_eq!(build["references"], json!([]));
        let tags = [
            json!({"key": "n", "type": "int64", "value": 7}),
            text("l", "[\"x\"]"),
            text("otel.library.name", "lib"),
            text("span.kind", "server"),
        ];
        assert_eq!(build["tags"], json!(tags));
        assert_eq!(build["logs"][0]["fields"], json!([text("event", "began")]));
        assert_eq!(step["references"], json!([{"refType": "CHILD_OF", "traceID": "a1", "spanID": "01"}]));
        assert_eq!(step["duration"], 0);
        let failed = json!({"key": "error", "type": "bool", "value": true});
        assert_eq!(
            step["tags"],
            json!([failed, text("otel.status_code", "ERROR"), text("otel.status_description", "boom")])
        );
    }

    #[test]
    fn what_is_no_trace_is_told() {
        let check = |text: &str, expected: &str| {
            let e = Trace::parse(text.as_bytes()).expect_err(text);
            assert!(e.to_string().starts_with(expected), "{e}");
        };
        check("", "no trace data");
        check("{\"Name\":1}", "failed to read the trace: ");
        check("x", "failed to read the trace: ");
    }
}
