//! Encoding, loading and what is refused.

use std::sync::Arc;

use proptest::prelude::*;

use crate::*;

fn source(identifier: &str) -> Output {
    let kind = OpKind::Source(SourceOp { identifier: identifier.into(), attrs: Default::default() });
    let op = Op { kind, platform: Some(oci::Platform::new("linux", "amd64", "")), constraints: Vec::new() };
    Arc::new(Node::new(op, Vec::new(), OpMetadata::named(identifier))).output(0)
}

fn run(command: &str, root: Output) -> Output {
    let exec = ExecOp {
        meta: Meta {
            args: vec!["/bin/sh".into(), "-c".into(), command.into()],
            cwd: "/".into(),
            ..Meta::default()
        },
        mounts: vec![Mount { dest: "/".into(), ..Mount::default() }],
        ..ExecOp::default()
    };
    let op = Op { kind: OpKind::Exec(Box::new(exec)), platform: None, constraints: Vec::new() };
    Arc::new(Node::new(op, vec![root], OpMetadata::default())).output(0)
}

#[test]
fn what_was_built_is_loaded() {
    let definition = run("make", source("docker-image://docker.io/library/alpine:latest")).marshal();
    let graph = Graph::load(&definition).expect("valid");
    assert_eq!((graph.order.len(), definition.ops.len()), (2, 3));
    let root = &graph.ops[&graph.root.digest];
    assert!(matches!(&root.op.kind, OpKind::Exec(e) if e.meta.args[2] == "make"));
    assert_eq!(root.inputs[0].digest, graph.order[0]);
}

#[test]
fn the_wire_form_gives_the_same_definition_back() {
    let mut definition = run("make", source("local://context")).marshal();
    let digest = Graph::load(&definition).expect("valid").root.digest;
    let delivered = Some(Box::new(source("local://dockerfile").marshal()));
    let info = SourceInfo {
        filename: "Dockerfile".into(),
        data: "RUN make".into(),
        definition: delivered,
        ..SourceInfo::default()
    };
    definition.source.infos.push(info);
    let place = Location { source: 0, ranges: vec![errdefs::Range::lines(1, 1)] };
    definition.source.locations.insert(digest.clone(), vec![place]);
    let wire = proto::pb::Definition::from(definition.clone());
    // Those without a place are left out on the wire.
    let placed = |source: &mut crate::SourceMap| source.locations.retain(|_, places| !places.is_empty());
    placed(&mut definition.source);
    definition
        .source
        .infos
        .iter_mut()
        .filter_map(|i| i.definition.as_mut())
        .for_each(|d| placed(&mut d.source));
    assert_eq!(Definition::try_from(wire).expect("valid"), definition);
    let info = definition.source.locations(&digest).remove(0).info;
    assert_eq!((info.filename.as_str(), info.definition.is_empty()), ("Dockerfile", false));
}

/// BuildKit ended on it: an entry of a map is written without a value where that is empty.
#[test]
fn a_vertex_without_a_place_has_no_entry_on_the_wire() {
    let mut definition = run("make", source("local://context")).marshal();
    let digest = Graph::load(&definition).expect("valid").root.digest;
    definition.source.infos.push(SourceInfo::default());
    definition.source.locations.insert(digest, Vec::new());
    let wire = proto::pb::Definition::from(definition);
    assert!(wire.source.expect("has a file").locations.is_empty());
}

#[test]
fn equal_vertices_are_marshalled_once_and_long_chains_do_not_overflow() {
    let mut output = source("docker-image://a");
    for i in 0..20_000 {
        output = run(&i.to_string(), output);
    }
    let definition = output.marshal();
    assert_eq!(definition.ops.len(), 20_002);
    assert_eq!(Graph::load(&definition).expect("valid").order.len(), 20_001);
}

#[test]
fn damage_is_refused() {
    let check = |change: &dyn Fn(&mut Definition), expected: &str| {
        let mut definition = run("make", source("docker-image://a")).marshal();
        change(&mut definition);
        let message = Graph::load(&definition).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(&|d| d.ops.clear(), "invalid empty definition");
    check(&|d| _ = d.ops.drain(..2), "invalid LLB with 1 vertexes");
    check(&|d| _ = d.ops.remove(0), "invalid missing input digest");
    check(&|d| _ = d.ops.pop(), "pointer");
    check(&|d| d.ops[0] = bytes::Bytes::from_static(b"\xff\xff"), "failed to parse llb proto op");
    let unknown = |d: &mut Definition| {
        d.metadata.values_mut().for_each(|m| m.need("exec.mind.reading"));
    };
    check(&unknown, "unknown API capability exec.mind.reading");
}

#[test]
fn an_index_past_the_inputs_is_refused() {
    let exec = ExecOp {
        meta: Meta { args: vec!["x".into()], ..Meta::default() },
        mounts: vec![Mount { dest: "/".into(), input: 7, ..Mount::default() }],
        ..ExecOp::default()
    };
    let op = Op { kind: OpKind::Exec(Box::new(exec)), platform: None, constraints: Vec::new() };
    let output = Arc::new(Node::new(op, Vec::new(), OpMetadata::default())).output(0);
    let e = Graph::load(&output.marshal()).expect_err("no such input");
    assert!(e.to_string().contains("invalid mount input index 7"), "{e}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(ops in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4)) {
        let definition = Definition { ops: ops.into_iter().map(Into::into).collect(), ..Definition::default() };
        let _ = Graph::load(&definition);
    }
}
