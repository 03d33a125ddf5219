//! The border to `pb`: ops and definitions to wire types and back, whole and checked.
//!
//! Encoding is byte-stable: fields by number and oneofs last, maps by key, as BuildKit's own client writes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use errdefs::{Error, Position, Range, Result};
use oci::{Digest, Platform};
use prost::Message as _;
use proto::pb;

use crate::definition::{Definition, Location, SourceInfo, SourceMap};
use crate::metadata::{LinuxResources, OpMetadata, ProgressGroup};
use crate::op::{BuildOp, DiffOp, MergeOp, Op, OpKind, PassthroughOp, SourceOp, WireInput};

mod exec;
mod file;

pub(crate) fn encode_op(op: &Op, inputs: &[WireInput]) -> Bytes {
    let kind = match &op.kind {
        OpKind::Exec(exec) => pb::op::Op::Exec(exec::to_wire(exec)),
        OpKind::Source(s) => {
            pb::op::Op::Source(pb::SourceOp { identifier: s.identifier.clone(), attrs: s.attrs.clone() })
        }
        OpKind::File(file) => pb::op::Op::File(file::to_wire(file)),
        OpKind::Build(b) => pb::op::Op::Build(build_to_wire(b)),
        OpKind::Merge(m) => pb::op::Op::Merge(pb::MergeOp {
            inputs: m.inputs.iter().map(|&input| pb::MergeInput { input }).collect(),
        }),
        OpKind::Diff(d) => pb::op::Op::Diff(pb::DiffOp {
            lower: Some(pb::LowerDiffInput { input: d.lower }),
            upper: Some(pb::UpperDiffInput { input: d.upper }),
        }),
        OpKind::Passthrough(p) => {
            pb::op::Op::Passthrough(pb::PassthroughOp { id: p.id.clone(), outputs: p.outputs.clone() })
        }
    };
    let constraints =
        (!op.constraints.is_empty()).then(|| pb::WorkerConstraints { filter: op.constraints.clone() });
    let frame = pb::Op {
        inputs: inputs.iter().map(input_to_wire).collect(),
        op: None,
        platform: op.platform.as_ref().map(platform_to_wire),
        constraints: Some(constraints.unwrap_or_default()),
    };
    // Go writes the members of a oneof behind all other fields, whatever their numbers.
    let mut bytes = frame.encode_to_vec();
    bytes.extend(pb::Op { op: Some(kind), ..pb::Op::default() }.encode_to_vec());
    bytes.into()
}

pub(crate) fn encode_pointer(input: &WireInput) -> Bytes {
    pb::Op { inputs: vec![input_to_wire(input)], op: None, platform: None, constraints: None }
        .encode_to_vec()
        .into()
}

pub(crate) fn decode_op(bytes: &Bytes) -> Result<(Option<Op>, Vec<WireInput>)> {
    let wire = pb::Op::decode(bytes.clone())
        .map_err(|e| Error::user(format!("failed to parse llb proto op: {e}")))?;
    let inputs = wire
        .inputs
        .into_iter()
        .map(|i| Ok(WireInput { digest: digest(&i.digest)?, index: i.index }))
        .collect::<Result<Vec<_>>>()?;
    let Some(kind) = wire.op else { return Ok((None, inputs)) };
    let kind = match kind {
        pb::op::Op::Exec(e) => OpKind::Exec(Box::new(exec::from_wire(e)?)),
        pb::op::Op::Source(s) => OpKind::Source(SourceOp { identifier: s.identifier, attrs: s.attrs }),
        pb::op::Op::File(f) => OpKind::File(file::from_wire(f)?),
        pb::op::Op::Build(b) => OpKind::Build(build_from_wire(b)?),
        pb::op::Op::Merge(m) => {
            OpKind::Merge(MergeOp { inputs: m.inputs.into_iter().map(|i| i.input).collect() })
        }
        pb::op::Op::Diff(d) => OpKind::Diff(DiffOp {
            lower: d.lower.ok_or_else(|| Error::user("invalid diff op: no lower"))?.input,
            upper: d.upper.ok_or_else(|| Error::user("invalid diff op: no upper"))?.input,
        }),
        pb::op::Op::Passthrough(p) => OpKind::Passthrough(PassthroughOp { id: p.id, outputs: p.outputs }),
    };
    check_inputs(&kind, inputs.len())?;
    let platform = wire.platform.map(platform_from_wire);
    let constraints = wire.constraints.map(|c| c.filter).unwrap_or_default();
    Ok((Some(Op { kind, platform, constraints }), inputs))
}

/// Refuses an index that points past the inputs of an op.
fn check_inputs(kind: &OpKind, inputs: usize) -> Result<()> {
    let inputs = inputs as i64;
    let valid = |index: i64, limit: i64| (-1..limit).contains(&index);
    let bad = |what: &str, index: i64| {
        Err(Error::user(format!("invalid {what} input index {index}, {inputs} provided")))
    };
    match kind {
        OpKind::Exec(e) => match e.mounts.iter().find(|m| !valid(m.input, inputs)) {
            Some(m) => bad("mount", m.input),
            None => Ok(()),
        },
        OpKind::File(f) => {
            let limit = inputs + f.actions.len() as i64;
            let indexes = f.actions.iter().flat_map(|a| [a.input, a.secondary_input]);
            match indexes.into_iter().find(|&i| !valid(i, limit)) {
                Some(i) => bad("file action", i),
                None => Ok(()),
            }
        }
        OpKind::Merge(m) => match m.inputs.iter().find(|&&i| i < 0 || i >= inputs) {
            Some(&i) => bad("merge", i),
            None => Ok(()),
        },
        OpKind::Diff(d) if !valid(d.lower, inputs) => bad("diff", d.lower),
        OpKind::Diff(d) if !valid(d.upper, inputs) => bad("diff", d.upper),
        _ => Ok(()),
    }
}

fn digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|e| Error::user(format!("invalid LLB: {e}")))
}

fn input_to_wire(input: &WireInput) -> pb::Input {
    pb::Input { digest: input.digest.to_string(), index: input.index }
}

fn platform_to_wire(p: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: p.architecture.clone(),
        os: p.os.clone(),
        variant: p.variant.clone(),
        os_version: p.os_version.clone(),
        os_features: p.os_features.clone(),
    }
}

fn platform_from_wire(p: pb::Platform) -> Platform {
    Platform {
        architecture: p.architecture,
        os: p.os,
        variant: p.variant,
        os_version: p.os_version,
        os_features: p.os_features,
    }
}

fn build_to_wire(b: &BuildOp) -> pb::BuildOp {
    pb::BuildOp {
        builder: b.builder,
        inputs: b.inputs.iter().map(|(k, &input)| (k.clone(), pb::BuildInput { input })).collect(),
        def: b.definition.clone().map(Into::into),
        attrs: b.attrs.clone(),
    }
}

pub(crate) fn encode_definition(definition: Definition) -> Vec<u8> {
    pb::Definition::from(definition).encode_to_vec()
}

pub(crate) fn decode_definition(bytes: &[u8]) -> Result<Definition> {
    let wire = pb::Definition::decode(bytes);
    wire.map_err(|e| Error::user(format!("failed to parse LLB definition: {e}")))?.try_into()
}

fn build_from_wire(b: pb::BuildOp) -> Result<BuildOp> {
    Ok(BuildOp {
        builder: b.builder,
        inputs: b.inputs.into_iter().map(|(k, v)| (k, v.input)).collect(),
        definition: b.def.map(TryInto::try_into).transpose()?,
        attrs: b.attrs,
    })
}

impl From<Definition> for pb::Definition {
    fn from(d: Definition) -> Self {
        let source = (d.source != SourceMap::default()).then(|| source_to_wire(d.source));
        pb::Definition {
            def: d.ops,
            metadata: d.metadata.into_iter().map(|(k, m)| (k.to_string(), metadata_to_wire(m))).collect(),
            source,
        }
    }
}

impl TryFrom<pb::Definition> for Definition {
    type Error = Error;

    fn try_from(d: pb::Definition) -> Result<Self> {
        let metadata = d
            .metadata
            .into_iter()
            .map(|(k, m)| Ok((digest(&k)?, metadata_from_wire(m))))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let source = d.source.map(source_from_wire).transpose()?.unwrap_or_default();
        Ok(Definition { ops: d.def, metadata, source })
    }
}

fn metadata_to_wire(m: OpMetadata) -> pb::OpMetadata {
    pb::OpMetadata {
        ignore_cache: m.ignore_cache,
        description: m.description,
        export_cache: m.export_cache.map(|value| pb::ExportCache { value }),
        caps: m.caps.into_iter().map(|(cap, needed)| (cap.into_owned(), needed)).collect(),
        progress_group: m.progress_group.map(|g| pb::ProgressGroup { id: g.id, name: g.name, weak: g.weak }),
        linux_resources: m.linux_resources.map(|r| pb::LinuxResources {
            memory: r.memory,
            memory_swap: r.memory_swap,
            cpu_shares: r.cpu_shares,
            cpu_period: r.cpu_period,
            cpu_quota: r.cpu_quota,
            cpuset_cpus: r.cpuset_cpus,
            cpuset_mems: r.cpuset_mems,
        }),
    }
}

fn metadata_from_wire(m: pb::OpMetadata) -> OpMetadata {
    OpMetadata {
        ignore_cache: m.ignore_cache,
        description: m.description,
        export_cache: m.export_cache.map(|e| e.value),
        caps: m.caps.into_iter().map(|(cap, needed)| (cap.into(), needed)).collect(),
        progress_group: m.progress_group.map(|g| ProgressGroup { id: g.id, name: g.name, weak: g.weak }),
        linux_resources: m.linux_resources.map(|r| LinuxResources {
            memory: r.memory,
            memory_swap: r.memory_swap,
            cpu_shares: r.cpu_shares,
            cpu_period: r.cpu_period,
            cpu_quota: r.cpu_quota,
            cpuset_cpus: r.cpuset_cpus,
            cpuset_mems: r.cpuset_mems,
        }),
    }
}

fn source_to_wire(s: SourceMap) -> pb::Source {
    let location = |l: Location| pb::Location {
        source_index: l.source as i32,
        ranges: l.ranges.into_iter().map(range_to_wire).collect(),
    };
    pb::Source {
        // A vertex without a place says nothing, and its entry would be written without a value, on which BuildKit ends.
        locations: s
            .locations
            .into_iter()
            .filter(|(_, places)| !places.is_empty())
            .map(|(k, v)| (k.to_string(), pb::Locations { locations: v.into_iter().map(location).collect() }))
            .collect(),
        infos: s
            .infos
            .into_iter()
            .map(|i| pb::SourceInfo {
                filename: i.filename,
                data: i.data.to_vec(),
                definition: i.definition.map(|d| (*d).into()),
                language: i.language,
            })
            .collect(),
    }
}

fn source_from_wire(s: pb::Source) -> Result<SourceMap> {
    let location = |l: pb::Location| -> Result<Location> {
        let source = usize::try_from(l.source_index).map_err(|_| Error::user("invalid LLB: source index"))?;
        Ok(Location { source, ranges: l.ranges.into_iter().map(range_from_wire).collect() })
    };
    let locations = s
        .locations
        .into_iter()
        .map(|(k, v)| Ok((digest(&k)?, v.locations.into_iter().map(location).collect::<Result<_>>()?)))
        .collect::<Result<_>>()?;
    let infos = s
        .infos
        .into_iter()
        .map(|i| {
            let definition = i.definition.map(Definition::try_from).transpose()?.map(Box::new);
            Ok(SourceInfo { filename: i.filename, data: i.data.into(), language: i.language, definition })
        })
        .collect::<Result<_>>()?;
    Ok(SourceMap { infos, locations })
}

fn range_to_wire(r: Range) -> pb::Range {
    let position = |p: Position| pb::Position { line: p.line as i32, character: p.character as i32 };
    pb::Range { start: Some(position(r.start)), end: Some(position(r.end)) }
}

fn range_from_wire(r: pb::Range) -> Range {
    let position = |p: Option<pb::Position>| {
        let p = p.unwrap_or_default();
        Position { line: p.line.max(0) as u32, character: p.character.max(0) as u32 }
    };
    Range { start: position(r.start), end: position(r.end) }
}
