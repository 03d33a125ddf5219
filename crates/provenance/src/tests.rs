//! Whole statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use errdefs::{Detail, MissingMaterial, Range};
use jiff::Timestamp;
use llb::{
    Definition, ExecOp, Graph, Location, Meta, Mount, MountType, NetMode, Node, Op, OpKind, OpMetadata,
    Output, SecretOpt, SourceInfo, SourceOp, SshOpt,
};
use oci::{Descriptor, Digest, Platform};
use serde_json::{Value, json};

use crate::*;

fn node(kind: OpKind, inputs: Vec<Output>) -> Output {
    let op = Op { kind, platform: None, constraints: Vec::new() };
    Arc::new(Node::new(op, inputs, OpMetadata::default())).output(0)
}

fn source(identifier: &str, attrs: &[(&str, &str)]) -> Output {
    let attrs = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    node(OpKind::Source(SourceOp { identifier: identifier.into(), attrs }), Vec::new())
}

/// A step on an image, with a folder of the client, a repository, a page, a secret and an agent.
fn definition(network: NetMode, local: bool) -> Definition {
    let image = source("docker-image://docker.io/library/busybox:latest", &[]);
    let git = source("git://h/x.git#main:sub", &[("git.fullurl", "https://me:word@h/x.git")]);
    let page = source("https://h/page", &[]);
    let mut inputs = vec![image, git, page];
    if local {
        inputs.push(source("local://context", &[("local.session", "s"), ("local.differ", "none")]));
    }
    let mut mounts: Vec<Mount> = (0..inputs.len())
        .map(|i| (i, if i == 0 { "/".to_owned() } else { format!("/{i}") }))
        .map(|(i, dest)| Mount { input: i as i64, dest, ..Mount::default() })
        .collect();
    let secret = Some(SecretOpt { id: "token".into(), ..SecretOpt::default() });
    mounts.push(Mount { mount_type: MountType::Secret, secret, input: llb::NONE, ..Mount::default() });
    let ssh = Some(SshOpt { optional: true, ..SshOpt::default() });
    mounts.push(Mount { mount_type: MountType::Ssh, ssh, input: llb::NONE, ..Mount::default() });
    let meta = Meta { args: vec!["make".into()], cwd: "/".into(), ..Meta::default() };
    let exec = node(OpKind::Exec(Box::new(ExecOp { meta, mounts, network, ..ExecOp::default() })), inputs);
    let made = exec.marshal();
    let graph = Graph::load(&made).expect("a graph");
    let mut definition = made;
    definition.source.infos.push(SourceInfo {
        filename: "Dockerfile".into(),
        data: "RUN make".into(),
        language: "Dockerfile".into(),
        definition: Some(Box::new(source("local://dockerfile", &[]).marshal())),
    });
    let place = Location { source: 0, ranges: vec![Range::lines(1, 1)] };
    definition.source.locations.insert(graph.root.digest, vec![place]);
    definition
}

fn pins(definition: &Definition) -> Capture {
    let graph = Graph::load(definition).expect("a graph");
    Capture::of_graph(&graph, |digest| {
        let OpKind::Source(source) = &graph.ops[digest].op.kind else { return None };
        match source.identifier.split(':').next() {
            Some("git") => Some("a".repeat(40)),
            Some("local") => None,
            _ => Some(Digest::of(&source.identifier).to_string()),
        }
    })
}

fn opts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn run() -> Run {
    let at = |second| Timestamp::from_second(second).expect("a time");
    Run {
        id: "unique".into(),
        started: at(1),
        finished: at(2),
        compatibility: 30,
        dockerfile_version: "1.2.3".into(),
        env: BTreeMap::from([("builders".to_owned(), json!([1, 2]))]),
        usage: vec![meter::machine::sample()],
    }
}

fn asked(used: &Capture) -> NamedRequest {
    let opts = opts(&[
        ("context", "https://me:word@h/x.git#main:sub"),
        ("filename", "Dockerfile"),
        ("build-arg:A", "b"),
        ("target", "final"),
        ("platform", "linux/amd64"),
        ("attest:provenance", ""),
        ("vcs:source", "https://me:word@h/x.git"),
        ("vcs:revision", "abc"),
    ]);
    NamedRequest::new("dockerfile.v0", &opts, BTreeMap::new(), used)
}

fn predicate(options: &Options) -> String {
    let definition = definition(NetMode::Unset, true);
    let mut used = pins(&definition);
    let graph = Graph::load(&definition).expect("a graph");
    used.add_usage(graph.root.digest.clone(), meter::Usage::default());
    let layer = Descriptor::new("layer", Digest::of("layer"), 5);
    let layers = vec![
        (graph.root.digest.clone(), 0, vec![layer.clone()]),
        (graph.root.digest.clone(), 0, vec![layer.clone()]),
        (Digest::of("another graph's"), 0, vec![layer]),
    ];
    let predicate = Predicate::new(&used, asked(&used), (&graph, &definition), run(), options);
    let json = predicate.expect("valid").with_layers(layers).to_json(options.version);
    String::from_utf8(json).expect("text").replace(&Platform::host().to_string(), "HOST")
}

#[test]
fn what_was_used_is_told_where_that_is_asked_for() {
    for usage in [false, true] {
        let told = predicate(&Options { usage, ..Options::default() });
        assert_eq!(told.matches("\"resourceUsage\": {}").count(), usize::from(usage), "{told}");
        assert_eq!(told.contains("\"sysUsage\": ["), usage, "{told}");
    }
}

#[test]
fn all_is_told() {
    insta::assert_snapshot!(predicate(&Options { builder: "https://b".into(), ..Options::default() }));
}

#[test]
fn little_is_told() {
    insta::assert_snapshot!(predicate(&Options {
        mode: Mode::Min,
        reproducible: true,
        ..Options::default()
    }));
}

#[test]
fn the_older_form() {
    insta::assert_snapshot!(predicate(&Options { version: Version::V02, ..Options::default() }));
}

#[test]
fn a_build_without_network_and_folders_is_hermetic() {
    let check = |network, local, expected: [Value; 2]| {
        let definition = definition(network, local);
        let used = pins(&definition);
        let graph = Graph::load(&definition).expect("a graph");
        let predicate =
            Predicate::new(&used, asked(&used), (&graph, &definition), run(), &Options::default());
        let json: Value =
            serde_json::from_slice(&predicate.expect("valid").to_json(Version::V1)).expect("JSON");
        let metadata = &json["runDetails"]["metadata"];
        let found =
            [&metadata["buildkit_hermetic"], &metadata["buildkit_completeness"]["resolvedDependencies"]];
        assert_eq!(found.map(Clone::clone), expected);
    };
    check(NetMode::None, false, [true.into(), true.into()]);
    check(NetMode::Unset, false, [Value::Null, true.into()]);
    check(NetMode::None, true, [Value::Null, false.into()]);
}

#[test]
fn a_source_that_was_not_asked_is_not_told() {
    let definition = definition(NetMode::None, false);
    let graph = Graph::load(&definition).expect("a graph");
    let used = Capture::of_graph(&graph, |_| None);
    assert!(used.images.is_empty() && used.git.is_empty() && used.http.is_empty());
    assert_eq!(used.secrets.keys().collect::<Vec<_>>(), ["token"]);
}

#[test]
fn folders_are_no_complete_materials() {
    assert!(pins(&definition(NetMode::Unset, false)).check_complete().is_ok());
    let error = pins(&definition(NetMode::Unset, true)).check_complete().expect_err("has a folder");
    insta::assert_snapshot!(error.to_string());
    let missing =
        MissingMaterial { name: "context".into(), reason: "local_source".into(), ..Default::default() };
    let missing = vec![missing];
    assert_eq!(error.details(), [Detail::MaterialsIncomplete { missing }]);
}

#[test]
fn contexts() {
    let definition = definition(NetMode::None, false);
    let used = pins(&definition);
    let check = |pairs: &[(&str, &str)], uri: &str, pinned: bool| {
        let source = NamedRequest::new("f", &opts(pairs), BTreeMap::new(), &used).config_source;
        assert_eq!((source.uri.as_str(), !source.digest.is_empty()), (uri, pinned), "{pairs:?}");
    };
    check(&[], "", false);
    // The login is part of the name in the table, masked; an address without one is another.
    check(&[("context", "https://h/page")], "https://h/page", true);
    check(&[("context", "https://h/other")], "https://h/other", false);
    check(&[("context", "https://me:word@h/x.git#main:sub")], "https://xxxxx:xxxxx@h/x.git#main:sub", true);
    check(
        &[("context", "https://me:word@h/x.git?ref=main&subdir=sub/")],
        "https://xxxxx:xxxxx@h/x.git#main:sub",
        true,
    );
    check(&[("contextkey", "other"), ("other", "https://h/page")], "https://h/page", true);
    check(&[("input:context", "x"), ("context", "https://h/page")], "x", false);
}

#[test]
fn doubles_by_digest_are_left_out() {
    let mut used = Capture::default();
    let digest = Digest::of("x");
    for name in ["busybox", &format!("busybox:latest@{digest}"), &format!("alpine@{digest}")] {
        let image = ImageSource { reference: name.to_owned(), local: false, platform: None };
        used.add_image(image, Some(digest.clone()));
    }
    used.without_doubles();
    let left: Vec<_> = used.images.keys().map(|image| image.reference.as_str()).collect();
    assert_eq!(left, [&format!("alpine@{digest}"), "busybox"]);
}

#[test]
fn what_people_hand_in_is_left_out_everywhere() {
    let inner = NamedRequest::new(
        "f",
        &opts(&[("label:a", "b"), ("target", "t")]),
        BTreeMap::new(),
        &Capture::default(),
    );
    let inputs = BTreeMap::from([("base".to_owned(), inner)]);
    let named = NamedRequest::new("f", &opts(&[("target", "u")]), inputs, &Capture::default());
    let mut request = named.request;
    assert!(request.reduce());
    assert_eq!(request.inputs["base"].request.args, opts(&[("target", "t")]));
    assert!(!request.reduce());
}
