//! A graph as a list of steps.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Range, Result};
use llb::{Definition, Graph, Location, Op, OpKind, SourceInfo, SourceMap};
use meter::Usage;
use oci::Digest;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::address::without_login;

/// Attributes of a source that say whose it was, not what.
const OF_THE_SESSION: [&str; 2] = ["local.session", "local.unique"];

/// The steps of a graph, inputs before users. The last one only points at the result.
#[derive(Serialize)]
pub(crate) struct Steps<'a> {
    #[serde(rename = "llbDefinition", skip_serializing_if = "Vec::is_empty")]
    list: Vec<Step<'a>>,
    #[serde(rename = "digestMapping", skip_serializing_if = "HashMap::is_empty", serialize_with = "sorted")]
    names: HashMap<Digest, String>,
}

#[derive(Serialize)]
struct Step<'a> {
    id: String,
    op: StepOp<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    #[serde(rename = "resourceUsage", skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum StepOp<'a> {
    Op(&'a Op),
    Changed(Box<Op>),
    Pointer {
        #[serde(rename = "Op")]
        nothing: Nothing,
    },
}

#[derive(Serialize)]
struct Nothing {}

impl<'a> Steps<'a> {
    pub fn of(graph: &'a Graph, definition: &Definition) -> Self {
        let Graph { ops, order, root } = graph;
        let mut names = HashMap::with_capacity(order.len() + 1);
        let mut list = Vec::with_capacity(order.len() + 1);
        for digest in order {
            let Some(loaded) = ops.get(digest) else { continue };
            let id = format!("step{}", list.len());
            let inputs = loaded.inputs.iter().map(|i| of_output(&names, &i.digest, i.index)).collect();
            list.push(Step { id: id.clone(), op: shown(&loaded.op), inputs, usage: None });
            names.insert(digest.clone(), id);
        }
        let id = format!("step{}", list.len());
        let inputs = vec![of_output(&names, &root.digest, root.index)];
        list.push(Step { id: id.clone(), op: StepOp::Pointer { nothing: Nothing {} }, inputs, usage: None });
        names.extend(definition.ops.last().map(|pointer| (Digest::of(pointer), id)));
        Steps { list, names }
    }

    /// Tells what steps used, by vertex.
    pub fn with_usage(mut self, usage: &BTreeMap<Digest, Usage>) -> Self {
        for (vertex, used) in usage {
            let step = self.names.get(vertex).and_then(|id| self.list.iter_mut().find(|step| step.id == *id));
            if let Some(step) = step {
                step.usage = Some(used.clone());
            }
        }
        self
    }

    /// `step3:0`; nothing for what is no vertex of the graph.
    pub fn output(&self, vertex: &Digest, output: usize) -> Option<String> {
        Some(format!("{}:{output}", self.names.get(vertex)?))
    }
}

fn of_output(names: &HashMap<Digest, String>, vertex: &Digest, output: usize) -> String {
    format!("{}:{output}", names.get(vertex).map_or("", String::as_str))
}

/// An op without what is the session's own, and without logins.
fn shown(op: &Op) -> StepOp<'_> {
    let OpKind::Source(source) = &op.kind else { return StepOp::Op(op) };
    let mut source = source.clone();
    source.attrs.retain(|key, _| !OF_THE_SESSION.contains(&key.as_str()));
    let url = source.attrs.get_mut("git.fullurl");
    for address in url.into_iter().chain([&mut source.identifier]).filter(|a| a.contains('@')) {
        *address = without_login(address);
    }
    StepOp::Changed(Box::new(Op { kind: OpKind::Source(source), ..op.clone() }))
}

fn sorted<S: Serializer>(names: &HashMap<Digest, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(names.iter().collect::<BTreeMap<_, _>>())
}

/// The build file, and which line of it each step comes from.
#[derive(Serialize)]
pub(crate) struct Source {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    locations: BTreeMap<String, Locations>,
    infos: Vec<Info>,
}

#[derive(Serialize)]
struct Info {
    #[serde(skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    language: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    /// The graph that delivered it.
    #[serde(flatten)]
    graph: Option<Value>,
}

#[derive(Serialize)]
struct Locations {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    #[serde(rename = "sourceIndex", skip_serializing_if = "is_zero")]
    source: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Stretch>,
}

#[derive(Serialize)]
struct Stretch {
    start: Position,
    end: Position,
}

#[derive(Serialize)]
struct Position {
    #[serde(skip_serializing_if = "is_zero")]
    line: usize,
    #[serde(skip_serializing_if = "is_zero")]
    character: usize,
}

impl Source {
    /// Nothing where no file is known.
    pub fn of(map: &SourceMap, steps: &Steps<'_>) -> Result<Option<Self>> {
        if map.infos.is_empty() {
            return Ok(None);
        }
        let infos = map.infos.iter().map(Info::of).collect::<Result<_>>()?;
        let known = map.locations.iter().filter_map(|(digest, places)| {
            let locations = places.iter().map(Place::of).collect();
            Some((steps.names.get(digest)?.clone(), Locations { locations }))
        });
        Ok(Some(Source { locations: known.collect(), infos }))
    }
}

impl Info {
    fn of(info: &SourceInfo) -> Result<Self> {
        let SourceInfo { filename, data, language, definition } = info;
        let definition = definition.as_deref().filter(|definition| !definition.is_empty());
        let graph = definition.map(|definition| {
            let graph = Graph::load(definition)?;
            serde_json::to_value(Steps::of(&graph, definition)).map_err(|e| Error::internal(e.to_string()))
        });
        Ok(Info {
            filename: filename.clone(),
            language: language.clone(),
            data: STANDARD.encode(data),
            graph: graph.transpose()?,
        })
    }
}

impl Place {
    fn of(location: &Location) -> Self {
        Place { source: location.source, ranges: location.ranges.iter().map(Stretch::of).collect() }
    }
}

impl Stretch {
    fn of(range: &Range) -> Self {
        let position =
            |p: errdefs::Position| Position { line: p.line as usize, character: p.character as usize };
        Stretch { start: position(range.start), end: position(range.end) }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
