//! Records of builds as JSON, in BuildKit's names.

use client::{BuildRecord, Descriptor, HistoryEvent};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What an event is made of, in JSON; the fields of a record are called alike in JSON and in templates.
pub(super) const FIELDS: &[&str] = &["type", "record"];

/// The event's name, and what it is about.
pub(super) fn parts(event: &HistoryEvent) -> (&'static str, &BuildRecord) {
    match event {
        HistoryEvent::Started(record) => ("STARTED", record),
        HistoryEvent::Complete(record) => ("COMPLETE", record),
        HistoryEvent::Deleted(record) => ("DELETED", record),
    }
}

/// What has no value is left out, as Go's encoder does.
pub(super) fn event_json(event: &HistoryEvent) -> Value {
    let (kind, record) = match event {
        HistoryEvent::Started(record) => (0, record),
        HistoryEvent::Complete(record) => (1, record),
        HistoryEvent::Deleted(record) => (2, record),
    };
    filled([("type", json!(kind)), ("record", record_json(record))])
}

/// A record alone.
pub(crate) fn record_json(r: &BuildRecord) -> Value {
    let exporters =
        r.exporters.iter().map(|(kind, attrs)| filled([("Type", json!(kind)), ("Attrs", json!(attrs))]));
    let error = r.error.as_ref().map(|e| filled([("code", json!(e.code)), ("message", json!(e.message))]));
    let descriptor = |d: &Option<Descriptor>| d.as_ref().map_or(Value::Null, descriptor_json);
    filled([
        ("Ref", json!(r.id)),
        ("Frontend", json!(r.frontend)),
        ("FrontendAttrs", json!(r.frontend_attrs)),
        ("Exporters", Value::Array(exporters.collect())),
        ("error", error.unwrap_or(Value::Null)),
        ("CreatedAt", time(r.created_at)),
        ("CompletedAt", time(r.completed_at)),
        ("logs", descriptor(&r.logs)),
        ("ExporterResponse", json!(r.exporter_response)),
        ("Result", result(r, "")),
        ("Results", results(r)),
        ("Generation", json!(r.generation)),
        ("trace", descriptor(&r.trace)),
        ("pinned", json!(r.pinned)),
        ("numCachedSteps", json!(r.steps.cached)),
        ("numTotalSteps", json!(r.steps.total)),
        ("numCompletedSteps", json!(r.steps.completed)),
        ("externalError", descriptor(&r.external_error)),
        ("numWarnings", json!(r.steps.warnings)),
    ])
}

fn result(r: &BuildRecord, platform: &str) -> Value {
    let attestations = r.attestations.get(platform).into_iter().flatten().map(descriptor_json);
    let is_only = platform.is_empty();
    let images = r.results.iter().filter(|_| is_only);
    filled([
        ("ResultDeprecated", images.clone().next().map_or(Value::Null, |(_, d)| descriptor_json(d))),
        ("Attestations", Value::Array(attestations.collect())),
        (
            "Results",
            Value::Object(images.map(|(index, d)| (index.to_string(), descriptor_json(d))).collect()),
        ),
    ])
}

fn results(r: &BuildRecord) -> Value {
    let platforms = r.attestations.keys().filter(|platform| !platform.is_empty());
    Value::Object(platforms.map(|platform| (platform.clone(), result(r, platform))).collect())
}

pub(super) fn descriptor_json(d: &Descriptor) -> Value {
    filled([
        ("media_type", json!(d.media_type)),
        ("digest", json!(d.digest)),
        ("size", json!(d.size)),
        ("annotations", json!(d.annotations)),
    ])
}

fn time(at: Option<Timestamp>) -> Value {
    let Some(at) = at else { return Value::Null };
    filled([("seconds", json!(at.as_second())), ("nanos", json!(at.subsec_nanosecond()))])
}

fn filled<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let is_filled = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    };
    let fields = fields.into_iter().filter(|(_, value)| is_filled(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
