//! What is refused, and where the error points.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile_llb::DockerfileFrontend;
use errdefs::{Code, Detail, Error};
use frontend::{BuildResult, Frontend, FrontendRequest};
use proptest::prelude::*;

use crate::bridge::FakeBridge;

fn bridge(dockerfile: &str) -> Arc<FakeBridge> {
    let config =
        r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:aa"]}}"#
            .replace("aa", &"a".repeat(64));
    Arc::new(FakeBridge {
        files: [("Dockerfile".to_owned(), dockerfile.to_owned())].into(),
        images: [("docker.io/library/alpine:latest".to_owned(), config)].into(),
        ..FakeBridge::default()
    })
}

async fn build(bridge: Arc<FakeBridge>, opts: &[(&str, &str)]) -> Result<BuildResult, Error> {
    let opts = opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    DockerfileFrontend.solve(bridge, FrontendRequest { opts, inputs: BTreeMap::new() }).await
}

/// The error, and the columns that it points to as `line:from-to`.
async fn check(dockerfile: &str, opts: &[(&str, &str)], message: &str, place: &str) -> Error {
    let error = build(bridge(dockerfile), opts).await.expect_err(dockerfile);
    let ranges = error.source_location().map(|l| l.ranges.clone()).unwrap_or_default();
    let narrow = ranges.iter().find(|r| r.start.character != r.end.character).or(ranges.first());
    let at =
        narrow.map_or("-".into(), |r| format!("{}:{}-{}", r.start.line, r.start.character, r.end.character));
    assert_eq!((error.message(), at.as_str()), (message, place), "{dockerfile}");
    error
}

#[tokio::test]
async fn errors_say_how_the_file_came_to_the_engine() {
    let error = build(bridge("FROM nope"), &[]).await.expect_err("refused");
    let info = &error.source_location().expect("a place").info;
    let definition = llb::Definition::decode(&info.definition).expect("a graph");
    let graph = llb::Graph::load(&definition).expect("a graph");
    let sources = graph.ops.values().filter_map(|loaded| match &loaded.op.kind {
        llb::OpKind::Source(op) => Some(op.identifier.as_str()),
        _ => None,
    });
    assert_eq!(sources.collect::<Vec<_>>(), ["local://dockerfile"]);
}

#[tokio::test]
async fn errors_point_to_the_word_at_fault() {
    check("FROM nope", &[], "nope: docker.io/library/nope:latest: not found", "1:5-9").await;
    let near = check("FROM alpin", &[], "alpin: docker.io/library/alpin:latest: not found", "1:5-10").await;
    assert_eq!(near.hints(), ["did you mean `alpine`?"]);
    check("FROM alpine\nSTOPSIGNAL x", &[], "invalid signal: x", "2:11-12").await;
    check(
        "FROM alpine AS a\nCOPY \\\n  --from=b \\\n  x y\nFROM alpine AS b\nFROM a",
        &[],
        "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
        "3:9-10",
    )
    .await;
    check("FROM alpine\nCOPY git@h:x /", &[], "source can't be a git ref for COPY", "2:5-12").await;
    let git = "FROM alpine\nADD https://h/x.git?tag=a&branch=b /";
    check(git, &[], "branch conflicts with tag", "2:4-34").await;
    check("FROM alpine\nENV A=${", &[], "failed to process \"${\": syntax error: missing '}'", "2:6-8").await;
    check("FROM alpine\nRUN --mount=type=ssh,source=a x", &[], "ssh does not support source", "2:28-29")
        .await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_said_so() {
    let unimplemented = |error: Error| assert_eq!(error.code(), Code::Unimplemented, "{error}");
    unimplemented(
        check("FROM alpine", &[("requestid", "frontend.x")], "unsupported request frontend.x", "-").await,
    );
}

#[tokio::test]
async fn the_own_syntax_is_served() {
    for syntax in [
        "docker/dockerfile:1",
        "docker/dockerfile:1.7-labs",
        "docker/dockerfile",
        "docker.io/docker/dockerfile:1",
    ] {
        build(bridge(&format!("# syntax={syntax}\nFROM alpine")), &[]).await.expect(syntax);
    }
    for syntax in ["docker/dockerfile:2", "docker/dockerfile:10", "me/dockerfile:1"] {
        let error = build(bridge(&format!("# syntax={syntax}\nFROM alpine")), &[]).await.expect_err(syntax);
        assert!(error.to_string().contains("no frontend `gateway.v0`"), "{error}");
    }
    build(bridge("# syntax=x\nFROM alpine"), &[("cmdline", "x")]).await.expect("asked for already");
}

#[tokio::test]
async fn all_faults_are_told_at_once() {
    let message = "dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)";
    let error = check("FROM alpine\nRNU x\nCOPY a", &[], message, "2:0-3").await;
    let other = error.details().iter().find_map(|detail| match detail {
        Detail::OtherFaults { faults } => Some((faults.len(), faults[0].ranges[0].start.line)),
        _ => None,
    });
    assert_eq!(other, Some((1, 3)));
}

#[tokio::test]
async fn findings_are_sent_and_may_fail_the_build() {
    let text = "FROM alpine AS B\nCMD x\nWORKDIR y\n# check=skip=LegacyKeyValueFormat\nENV a b";
    let warnings = |bridge: &FakeBridge| bridge.warnings.lock().expect("no panic").clone();
    let all = bridge(text);
    build(all.clone(), &[]).await.expect("only warnings");
    assert_eq!(
        warnings(&all),
        [
            "StageNameCasing: Stage name 'B' should be lowercase (line 1)",
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 2)",
            "WorkdirRelativePath: Relative workdir \"y\" can have unexpected results if the base image changes (line 3)",
        ]
    );
    let none = bridge(&format!("# check=skip=all\n{text}"));
    build(none.clone(), &[]).await.expect("nothing to say");
    assert_eq!(warnings(&none), Vec::<String>::new());
    let check = [("build-arg:BUILDKIT_DOCKERFILE_CHECK", "skip=StageNameCasing;error=true")];
    let error = build(bridge(text), &check).await.expect_err("findings are errors");
    assert_eq!(error.message(), "lint violation found for rules: JSONArgsRecommended, WorkdirRelativePath");
}

#[tokio::test]
async fn an_archive_of_the_web_is_a_context() {
    let bridge = Arc::new(FakeBridge {
        files: [("context", "\u{1f}\u{8b}\u{8}"), ("Dockerfile", "FROM scratch\nCOPY a /a")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..FakeBridge::default()
    });
    // The text form of the magic is no archive, so the file itself is read as the Dockerfile.
    let error = build(bridge, &[("context", "https://h/x.tgz")]).await.expect_err("no Dockerfile");
    assert!(error.message().contains("unknown instruction"), "{error}");
    let plain = Arc::new(FakeBridge {
        files: [("context".to_owned(), "FROM scratch\nCOPY context /a".to_owned())].into(),
        ..FakeBridge::default()
    });
    build(plain.clone(), &[("context", "https://h/Dockerfile")]).await.expect("a Dockerfile");
    let solved = plain.solved.lock().expect("no panic");
    let last = llb::Graph::load(solved.last().expect("a result")).expect("valid");
    let is_http = |op: &llb::LoadedOp| matches!(&op.op.kind, llb::OpKind::Source(s) if s.identifier == "https://h/Dockerfile");
    assert!(last.ops.values().any(is_http));
}

#[tokio::test]
async fn a_graph_of_the_client_is_a_context() {
    let made = bridge("FROM scratch\nCOPY <<E /x\nE\n");
    build(made.clone(), &[]).await.expect("valid");
    let definition = made.solved.lock().expect("no panic").last().cloned().expect("a result");
    let first = llb::Graph::load(&definition).expect("valid").root;
    let source = llb::SourceOp { identifier: "local://x".into(), ..Default::default() };
    let op = llb::Op { kind: llb::OpKind::Source(source), platform: None, constraints: Vec::new() };
    let node = Arc::new(llb::Node::new(op, Vec::new(), llb::OpMetadata::default()));
    // An output that is not the first is what a mount of a step leaves.
    let second = node.output(1).marshal();
    let second_root = llb::Input { digest: node.digest().clone(), index: 1 };
    let user = bridge("FROM scratch\nCOPY x /y\nCOPY --from=other x /z");
    let request = FrontendRequest {
        opts: [("context:other".to_owned(), "input:graph".to_owned())].into(),
        inputs: [("context".to_owned(), definition.clone()), ("graph".to_owned(), second)].into(),
    };
    DockerfileFrontend.solve(user.clone(), request).await.expect("valid");
    let result = user.solved.lock().expect("no panic").last().cloned().expect("a result");
    let ops = llb::Graph::load(&result).expect("valid").ops;
    assert!([first, second_root].iter().all(|given| ops.values().any(|o| o.inputs.contains(given))));
}

const ARBITRARY_LINE: &str = "(FROM|RUN|COPY|ADD|ENV|ARG|ONBUILD|HEALTHCHECK|CMD|LABEL|SHELL|WORKDIR|EXPOSE|\
    VOLUME|USER|STOPSIGNAL) ( --(from|chown|chmod|mount|link|parents|network|exclude)(=[a-c0-9$,=:/]{0,9})?|\
    (alpine|scratch|AS|a|b|CMD|NONE)| <<-?A|[a-c/$\\{\\}:%#=\"'\\[\\]\\\\,.*?-]{1,6}| ){0,6}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_file_makes_it_panic(lines in prop::collection::vec(ARBITRARY_LINE, 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let text = format!("FROM alpine AS a\n{}\nA\n", lines.join("\n"));
        let _ = runtime.block_on(build(bridge(&text), &[]));
    }
}
