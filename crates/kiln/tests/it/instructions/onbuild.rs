//! ONBUILD.

use serde_json::json;

use crate::harness::{Engine, Folder, assert_has, check_files, run_tool, tool};

#[test]
fn triggers_run_in_the_next_build() {
    let engine = Engine::new();
    let base = "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cp /f /g\nONBUILD ENV A=1\n";
    let context = Folder::with_dockerfile(base, &[]);
    let out = Folder::new(&[]);
    let archive = out.join("image.tar");
    engine.build(&context).args(["-o", &format!("type=oci,dest={}", archive.display())]).ok();
    let layout = Folder::new(&[]);
    run_tool(tool("tar").arg("-xf").arg(&archive).arg("-C").arg(layout.path()), b"");
    let parent = format!("parent=oci-layout://{}", layout.path().display());

    let context = Folder::with_dockerfile(
        "FROM parent AS p\nRUN echo own > /own\nFROM scratch\nCOPY --from=p /f /g /own /",
        &[("f", "file")],
    );
    let built = engine.build(&context).args(["--build-context", &parent]).image();
    assert_eq!(built.layer(0), ["644 0:0 f 'file'", "644 0:0 g 'file'", "644 0:0 own 'own\\n'"]);

    let context = Folder::with_dockerfile("FROM parent", &[("f", "file")]);
    let built = engine.build(&context).args(["--build-context", &parent]).image();
    assert_has(&built.config, &json!({"config": {"OnBuild": null}}));
    let env = built.config["config"]["Env"].as_array().expect("a list");
    assert!(env.contains(&json!("A=1")), "{env:?}");
}

#[test]
fn triggers_are_kept_in_the_config() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nONBUILD RUN a b\nONBUILD   COPY . /x", &[]);
    assert_has(
        &engine.build(&context).image().config,
        &json!({"config": {"OnBuild": ["RUN a b", "COPY . /x"]}}),
    );
}

#[test]
fn stages_of_one_dockerfile_run_them_too() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS base\nONBUILD RUN echo $0 > /o\nFROM base AS next\nFROM scratch\nCOPY --from=next /o /";
    check_files(&engine, dockerfile, &[], &[], &["644 0:0 o '/bin/sh\\n'"]);
}
