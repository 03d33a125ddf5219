//! Details as JSON. Field names are those of BuildKit's Go types.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use errdefs::{
    Class, Detail, Error, Fault, MissingMaterial, Position, Range, SourceInfo, SourceLocation, Subject,
};
use prost::Message;
use proto::{Any, pb};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

const PREFIX: &str = "github.com/moby/buildkit/";
const SOURCE: &str = "errdefs.Source+json";
const VERTEX: &str = "errdefs.Vertex+json";
const FRONTEND: &str = "errdefs.Frontend+json";
const FRONTEND_CAP: &str = "errdefs.FrontendCap+json";
const SUBREQUEST: &str = "errdefs.Subrequest+json";
const SOLVE: &str = "errdefs.Solve+json";
const DECISION: &str = "policysession.DecisionResponse+json";
const MATERIALS: &str = "errdefs.ProvenanceMaterialsIncomplete+json";
const EXIT: &str = "gatewayapi.ExitMessage+json";
/// What only Kiln tells and understands.
const OWN: &str = "kiln/error+json";

/// What was found in the details of a status.
#[derive(Default)]
pub(super) struct Decoded {
    pub code: Option<i32>,
    pub class: Option<Class>,
    pub details: Vec<Detail>,
    pub hints: Vec<String>,
}

pub(super) fn encode(error: &Error) -> Vec<Any> {
    let mut own = Own {
        code: Some(error.code() as i32),
        class: Some(error.class().into()),
        hints: error.hints().to_vec(),
        ..Own::default()
    };
    let mut out = Vec::new();
    for detail in error.details() {
        match detail {
            Detail::Source(location) => out.push(any(SOURCE, &Source::from(location))),
            Detail::Vertex { digest } => out.push(any(VERTEX, &Vertex { digest: digest.clone() })),
            Detail::Frontend { name, source } => {
                out.push(any(FRONTEND, &Frontend { name: name.clone(), source: source.clone() }));
            }
            Detail::FrontendCap { name } => out.push(any(FRONTEND_CAP, &Name { name: name.clone() })),
            Detail::Subrequest { name } => out.push(any(SUBREQUEST, &Name { name: name.clone() })),
            Detail::Denied { messages } => out.push(any(DECISION, &Decision::deny(messages))),
            Detail::MaterialsIncomplete { missing } => {
                out.push(any(MATERIALS, &Materials { incomplete: missing.clone() }));
            }
            Detail::Solve { input_ids, mount_ids, op, subject } => {
                out.push(any(SOLVE, &Solve::new(input_ids, mount_ids, op, *subject)));
                own.op = STANDARD.encode(op);
            }
            Detail::Exit { code, signal, oom } => {
                out.push(any(EXIT, &Exit { code: *code }));
                (own.signal, own.oom) = (*signal, *oom);
            }
            Detail::Output { lines } => own.output = lines.clone(),
            // Frontends that are images are told by a source without an image.
            Detail::NoImage { .. } => {}
            Detail::OtherFaults { faults } => own.faults = faults.clone(),
        }
    }
    out.push(Any { type_url: OWN.into(), ..any(OWN, &own) });
    out
}

/// Takes what it knows and passes over the rest, as a stack trace.
pub(super) fn decode(details: &[Any]) -> Decoded {
    let own: Own = details.iter().find(|any| any.type_url == OWN).and_then(parse).unwrap_or_default();
    let mut out = Decoded {
        code: own.code,
        class: own.class.map(Class::from),
        hints: own.hints.clone(),
        ..Decoded::default()
    };
    out.details = details.iter().filter_map(|any| decode_one(any, &own)).collect();
    if !own.output.is_empty() {
        out.details.push(Detail::Output { lines: own.output });
    }
    if !own.faults.is_empty() {
        out.details.push(Detail::OtherFaults { faults: own.faults });
    }
    out
}

fn decode_one(any: &Any, own: &Own) -> Option<Detail> {
    match any.type_url.strip_prefix(PREFIX)? {
        SOURCE => parse::<Source>(any).map(|source| Detail::Source(source.into())),
        VERTEX => parse(any).map(|Vertex { digest }| Detail::Vertex { digest }),
        FRONTEND => parse(any).map(|Frontend { name, source }| Detail::Frontend { name, source }),
        FRONTEND_CAP => parse(any).map(|Name { name }| Detail::FrontendCap { name }),
        SUBREQUEST => parse(any).map(|Name { name }| Detail::Subrequest { name }),
        DECISION => parse(any).map(|decision: Decision| Detail::Denied {
            messages: decision.deny_messages.into_iter().map(|told| told.message).collect(),
        }),
        MATERIALS => {
            parse(any).map(|Materials { incomplete }| Detail::MaterialsIncomplete { missing: incomplete })
        }
        EXIT => parse(any).map(|Exit { code }| Detail::Exit { code, signal: own.signal, oom: own.oom }),
        SOLVE => parse(any).map(|solve: Solve| Detail::Solve {
            subject: solve.subject(),
            input_ids: solve.input_ids,
            mount_ids: solve.mount_ids,
            op: STANDARD.decode(&own.op).unwrap_or_default(),
        }),
        _ => None,
    }
}

fn any(name: &str, value: &impl Serialize) -> Any {
    let value = serde_json::to_vec(value).expect("these types hold strings and numbers only");
    Any { type_url: format!("{PREFIX}{name}"), value }
}

fn parse<T: DeserializeOwned>(any: &Any) -> Option<T> {
    serde_json::from_slice(&any.value).ok()
}

#[derive(Serialize, Deserialize)]
struct Vertex {
    #[serde(default)]
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Frontend {
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
}

#[derive(Serialize, Deserialize)]
struct Name {
    #[serde(default)]
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Decision {
    #[serde(default)]
    action: i32,
    #[serde(default, rename = "denyMessages")]
    deny_messages: Vec<DenyMessage>,
}

#[derive(Serialize, Deserialize)]
struct DenyMessage {
    #[serde(default)]
    message: String,
}

impl Decision {
    fn deny(messages: &[String]) -> Self {
        let deny_messages = messages.iter().map(|message| DenyMessage { message: message.clone() }).collect();
        Decision { action: proto::sourcepolicy::PolicyAction::Deny.into(), deny_messages }
    }
}

#[derive(Serialize, Deserialize)]
struct Materials {
    #[serde(default)]
    incomplete: Vec<MissingMaterial>,
}

#[derive(Serialize, Deserialize)]
struct Exit {
    #[serde(rename = "Code", default)]
    code: u32,
}

/// The op stands here in protobuf's own JSON form, which only others read: it is in [`Own`] too.
#[derive(Serialize, Deserialize)]
struct Solve {
    #[serde(rename = "inputIDs", default)]
    input_ids: Vec<String>,
    #[serde(rename = "mountIDs", default)]
    mount_ids: Vec<String>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    op: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Index>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache: Option<Index>,
}

/// protobuf's JSON writes a 64-bit number as a text, and reads both.
#[derive(Serialize, Deserialize)]
struct Index {
    #[serde(default)]
    index: serde_json::Value,
}

impl Index {
    fn number(&self) -> i64 {
        let number = self.index.as_i64().or_else(|| self.index.as_str()?.parse().ok());
        number.unwrap_or(0)
    }
}

impl Solve {
    fn new(input_ids: &[String], mount_ids: &[String], op: &[u8], subject: Option<Subject>) -> Self {
        let index = |n: i64| Some(Index { index: n.into() });
        Solve {
            input_ids: input_ids.to_vec(),
            mount_ids: mount_ids.to_vec(),
            op: llb::op_json(op).ok().filter(|_| !op.is_empty()),
            file: if let Some(Subject::Action(n)) = subject { index(n) } else { None },
            cache: if let Some(Subject::Content(n)) = subject { index(n) } else { None },
        }
    }

    fn subject(&self) -> Option<Subject> {
        let action = self.file.as_ref().map(|i| Subject::Action(i.number()));
        action.or_else(|| self.cache.as_ref().map(|i| Subject::Content(i.number())))
    }
}

#[derive(Serialize, Deserialize)]
struct Source {
    #[serde(default)]
    info: Option<Info>,
    #[serde(default)]
    ranges: Vec<WireRange>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Info {
    filename: String,
    data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Graph>,
    language: String,
}

/// A `pb.Definition`: how the file came to the engine. What its own ops were made from stays behind.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Graph {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    def: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, GraphMetadata>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct GraphMetadata {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignore_cache: bool,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    description: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    caps: BTreeMap<String, bool>,
}

/// Go writes empty lists and maps as null.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Graph {
    fn from_encoded(encoded: &[u8]) -> Option<Self> {
        let definition = pb::Definition::decode(encoded).ok().filter(|d| !d.def.is_empty())?;
        let metadata = definition.metadata.into_iter().map(|(digest, m)| {
            let pb::OpMetadata { ignore_cache, description, caps, .. } = m;
            (digest, GraphMetadata { ignore_cache, description, caps })
        });
        let def = definition.def.iter().map(|op| STANDARD.encode(op)).collect();
        Some(Graph { def, metadata: metadata.collect() })
    }

    fn encoded(self) -> Vec<u8> {
        let metadata = self.metadata.into_iter().map(|(digest, m)| {
            let GraphMetadata { ignore_cache, description, caps } = m;
            (digest, pb::OpMetadata { ignore_cache, description, caps, ..Default::default() })
        });
        let def = self.def.iter().map(|op| STANDARD.decode(op).unwrap_or_default().into()).collect();
        pb::Definition { def, metadata: metadata.collect(), source: None }.encode_to_vec()
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct WireRange {
    start: WirePosition,
    end: WirePosition,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct WirePosition {
    line: i32,
    character: i32,
}

impl From<&SourceLocation> for Source {
    fn from(location: &SourceLocation) -> Self {
        let SourceInfo { filename, data, language, definition } = &location.info;
        let info = Info {
            filename: filename.clone(),
            data: STANDARD.encode(data),
            definition: Graph::from_encoded(definition),
            language: language.clone(),
        };
        let position = |p: Position| WirePosition {
            line: p.line.try_into().unwrap_or(i32::MAX),
            character: p.character.try_into().unwrap_or(i32::MAX),
        };
        let ranges = location.ranges.iter();
        let ranges = ranges.map(|r| WireRange { start: position(r.start), end: position(r.end) }).collect();
        Source { info: Some(info), ranges }
    }
}

impl From<Source> for SourceLocation {
    fn from(source: Source) -> Self {
        let Info { filename, data, definition, language } = source.info.unwrap_or_default();
        let definition = definition.map(Graph::encoded).unwrap_or_default();
        let data = STANDARD.decode(data).unwrap_or_default();
        let position = |p: WirePosition| Position {
            line: p.line.try_into().unwrap_or_default(),
            character: p.character.try_into().unwrap_or_default(),
        };
        let ranges = source.ranges.into_iter();
        SourceLocation {
            info: SourceInfo { filename, data, language, definition },
            ranges: ranges.map(|r| Range { start: position(r.start), end: position(r.end) }).collect(),
        }
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Own {
    /// Where the status goes out without the code of the error.
    code: Option<i32>,
    class: Option<OwnClass>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    output: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    oom: bool,
    /// The encoded op of [`Detail::Solve`], in base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    op: String,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum OwnClass {
    User,
    Environment,
    Internal,
    Canceled,
}

impl From<Class> for OwnClass {
    fn from(class: Class) -> Self {
        match class {
            Class::User => OwnClass::User,
            Class::Environment => OwnClass::Environment,
            Class::Internal => OwnClass::Internal,
            Class::Canceled => OwnClass::Canceled,
        }
    }
}

impl From<OwnClass> for Class {
    fn from(class: OwnClass) -> Self {
        match class {
            OwnClass::User => Class::User,
            OwnClass::Environment => Class::Environment,
            OwnClass::Internal => Class::Internal,
            OwnClass::Canceled => Class::Canceled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(detail: Detail) -> String {
        let any = &encode(&Error::user("x").with_detail(detail))[0];
        format!("{} {}", any.type_url, String::from_utf8_lossy(&any.value))
    }

    #[test]
    fn shapes_are_buildkits() {
        let info =
            SourceInfo { filename: "Dockerfile".into(), data: b"FROM x".to_vec(), ..Default::default() };
        let source = SourceLocation { info, ranges: vec![Range::lines(1, 2)] };
        insta::assert_snapshot!(json(Detail::Source(source)), @r#"github.com/moby/buildkit/errdefs.Source+json {"info":{"filename":"Dockerfile","data":"RlJPTSB4","language":""},"ranges":[{"start":{"line":1,"character":0},"end":{"line":2,"character":0}}]}"#);
        insta::assert_snapshot!(json(Detail::Vertex { digest: "sha256:0".into() }), @r#"github.com/moby/buildkit/errdefs.Vertex+json {"digest":"sha256:0"}"#);
        insta::assert_snapshot!(json(Detail::Exit { code: 7, signal: None, oom: false }), @r#"github.com/moby/buildkit/gatewayapi.ExitMessage+json {"Code":7}"#);
        let solve = Detail::Solve {
            input_ids: vec!["i".into()],
            mount_ids: vec![],
            op: vec![1],
            subject: Some(errdefs::Subject::Action(2)),
        };
        insta::assert_snapshot!(json(solve), @r#"github.com/moby/buildkit/errdefs.Solve+json {"inputIDs":["i"],"mountIDs":[],"file":{"index":2}}"#);
    }

    #[test]
    fn the_graph_behind_a_source_travels_along() {
        let digest = "sha256:1".to_owned();
        let about = pb::OpMetadata { description: [("k".into(), "v".into())].into(), ..Default::default() };
        let graph = pb::Definition {
            def: vec![vec![1, 2].into()],
            metadata: [(digest, about)].into(),
            ..Default::default()
        };
        let info = SourceInfo {
            filename: "Dockerfile".into(),
            definition: graph.encode_to_vec(),
            ..Default::default()
        };
        let detail = Detail::Source(SourceLocation { info, ranges: vec![] });
        insta::assert_snapshot!(json(detail.clone()), @r#"github.com/moby/buildkit/errdefs.Source+json {"info":{"filename":"Dockerfile","data":"","definition":{"def":["AQI="],"metadata":{"sha256:1":{"description":{"k":"v"}}}},"language":""},"ranges":[]}"#);
        let error = Error::user("x").with_detail(detail);
        let back = super::super::from_rpc(&super::super::to_rpc(&error));
        assert_eq!(back.details(), error.details());
    }

    #[test]
    fn nothing_gets_lost_between_kilns() {
        let error = Error::environment("boom")
            .with_detail(Detail::Output { lines: vec!["a".into(), "b".into()] })
            .with_detail(Detail::Exit { code: 137, signal: Some(9), oom: true })
            .with_detail(Detail::Vertex { digest: "sha256:0".into() })
            .with_detail(Detail::Solve {
                input_ids: vec![],
                mount_ids: vec!["m".into()],
                op: vec![1, 2],
                subject: Some(errdefs::Subject::Content(1)),
            })
            .hint("try less");
        let back = super::super::from_status(super::super::to_status(&error));
        assert_eq!(back.details(), error.details());
        assert_eq!((back.class(), back.code()), (error.class(), error.code()));
        assert_eq!((back.message(), back.hints()), (error.message(), error.hints()));
    }

    #[test]
    fn errors_of_a_build_go_out_without_a_code() {
        let check = |code, sent| {
            let error = Error::user("x").with_code(code);
            let status = super::super::to_build_status(&error);
            assert_eq!(status.code(), sent);
            assert_eq!(super::super::from_status(status).code(), code);
        };
        check(errdefs::Code::InvalidArgument, tonic::Code::Unknown);
        check(errdefs::Code::NotFound, tonic::Code::Unknown);
        check(errdefs::Code::Canceled, tonic::Code::Cancelled);
    }

    #[test]
    fn empty_go_fields_are_defaults() {
        let any = Any {
            type_url: format!("{PREFIX}{SOURCE}"),
            value: br#"{"ranges":[{"start":{"line":3},"end":{}}]}"#.to_vec(),
        };
        let Decoded { details, .. } = decode(&[any]);
        assert!(matches!(&details[..], [Detail::Source(s)] if s.ranges[0].start.line == 3));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let any = |name: &str, value: &str| Any { type_url: format!("{PREFIX}{name}"), value: value.into() };
        let decoded = decode(&[any("stack.Stack+json", "{}"), any(VERTEX, "not json"), any(EXIT, "5")]);
        assert!(decoded.details.is_empty());
    }
}
