//! Stages.

use crate::harness::{Engine, Folder, State, check_files};

const DOCKERFILE: &str = "FROM busybox AS one\nRUN echo 1 > /o\nFROM busybox AS two\nRUN echo 2 > /o\n\
                          FROM busybox AS broken\nRUN false\nFROM scratch AS last\nCOPY --from=two /o /";

#[test]
fn unreached_stages_are_not_built() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(DOCKERFILE, &[]);
    let out = "-otype=tar,dest=/dev/null";
    engine.build(&context).args([out]).steps().assert(&[
        ("RUN echo 1", State::Untouched),
        ("RUN echo 2", State::Ran),
        ("RUN false", State::Untouched),
        ("COPY --from=two", State::Ran),
    ]);
    engine
        .build(&context)
        .args([out, "--target", "one"])
        .steps()
        .assert(&[("RUN echo 1", State::Ran), ("RUN echo 2", State::Untouched)]);
    engine.build(&context).args([out, "--target=1"]).fails(1, &["target stage \"1\" could not be found"]);
    engine
        .build(&context)
        .args([out, "--target", "broken"])
        .fails(1, &["did not complete successfully: exit code: 1"]);
    engine.build(&context).args([out, "--target", "LAST"]).ok();
}

#[test]
fn independent_stages_run_side_by_side() {
    let engine = Engine::new();
    let stage = |name: &str| format!("FROM busybox AS {name}\nRUN sleep 1; echo {name} > /{name}\n");
    let dockerfile =
        format!("{}{}FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /", stage("a"), stage("b"));
    let context = Folder::with_dockerfile(&dockerfile, &[]);
    let steps = engine.build(&context).args(["-otype=tar,dest=/dev/null"]).steps();
    assert!(steps.overlap("echo a", "echo b"), "{steps:#?}");
}

#[test]
fn stages_build_on_stages() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS base\nENV A=1\nWORKDIR /w\nRUN echo base > f\nFROM base AS next\nRUN echo next$A >> f\n\
                      FROM scratch\nCOPY --from=next /w/f /";
    check_files(&engine, dockerfile, &[], &[], &["644 0:0 f 'base\\nnext1\\n'"]);
    // A name stands for the stage that was there last, and a stage may have the name of an image.
    let dockerfile = "FROM busybox AS x\nRUN echo x > /o\nFROM x AS alpine\nRUN echo y >> /o\nFROM scratch\nCOPY --from=alpine /o /";
    check_files(&engine, dockerfile, &[], &[], &["644 0:0 o 'x\\ny\\n'"]);
}

#[test]
fn the_platform_of_a_stage() {
    let engine = Engine::new();
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /o\nFROM scratch\nCOPY --from=b /o /";
    check_files(&engine, dockerfile, &[], &["--platform", "linux/amd64"], &["644 0:0 o 'linux/amd64\\n'"]);
}
