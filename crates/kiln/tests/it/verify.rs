//! Builds are made twice and compared.

use serde_json::Value;

use crate::harness::{BuildKit, Engine, Folder, State, Steps};

const EPOCH: [&str; 2] = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];

/// An output whose times are all the same.
fn dated(out: &Folder) -> Vec<String> {
    let output = format!("type=oci,rewrite-timestamp=true,dest={}", out.join("image.tar").display());
    let args = ["--verify", "--provenance=false", "-o", &output];
    args.into_iter().chain(EPOCH).map(str::to_owned).collect()
}

fn report(out: &Folder) -> Value {
    let told: Value = serde_json::from_str(&out.read("metadata.json")).expect("JSON");
    told["kiln.verify"].clone()
}

#[test]
fn what_is_the_same_again_is_told_with_its_digest() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox\nWORKDIR /a\nCOPY f .\nRUN echo hello > b && mkdir c\n";
    let context = Folder::with_dockerfile(dockerfile, &[("f", "x")]);
    let out = Folder::new(&[]);
    let metadata = out.join("metadata.json").display().to_string();
    let built = engine.build(&context).args(dated(&out)).args(["--metadata-file", &metadata]).ok();
    let told: Value = serde_json::from_str(&out.read("metadata.json")).expect("JSON");
    let digest = told["containerimage.digest"].as_str().expect("a digest");
    assert!(built.stderr.contains(&format!("Reproducible: {digest} (first in ")), "{}", built.stderr);
    let report = report(&out);
    assert_eq!((&report["reproducible"], &report["second"]["digest"]), (&true.into(), &digest.into()));
    assert!(built.stderr.contains("again: [3/4] RUN echo hello"), "{}", built.stderr);
}

#[test]
fn the_step_the_files_and_the_cause_are_told() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let check = |steps: &str, told: &[&str]| {
        let context = Folder::with_dockerfile(&format!("FROM busybox\n{steps}"), &[]);
        engine.build(&context).args(dated(&out)).fails(1, told)
    };
    check(
        "RUN echo fixed > /f\nRUN date +%s > /d\nRUN cp /d /e\n",
        &[
            "`[2/4] RUN date +%s > /d` made something else",
            "/d  content: the time of the build is in it",
            "Dockerfile:3",
            "ARG SOURCE_DATE_EPOCH",
        ],
    );
    check(
        "RUN mkdir -p /var/log && date > /var/log/dpkg.log\n",
        &["/var/log/dpkg.log  content: logs tell when", "rm -rf /var/log/*"],
    );
    check(
        "RUN touch /$(cat /proc/sys/kernel/random/uuid)\n",
        &["only in the first build", "only in the second"],
    );
    check(
        "RUN echo 1 > /etc/machine-id && cat /proc/sys/kernel/random/uuid > /etc/machine-id\n",
        &["random by intent"],
    );
    check(
        "RUN date +%s > /f && gzip /f && rm -f /f && date > /g && chmod $(printf %o $(($(date +%s) % 512))) /g\n",
        &["/f.gz  content", "/g     content, mode"],
    );
}

/// Logs of the stage differ too, but nothing of them gets into the result.
#[test]
fn what_does_not_reach_the_result_is_not_the_step() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let stage = "FROM busybox AS a\nRUN date +%s%N > /log && echo fixed > /out\n";
    let last = "FROM busybox\nCOPY --from=a /out /\nRUN cat /proc/sys/kernel/random/uuid > /id\n";
    let context = Folder::with_dockerfile(&format!("{stage}{last}"), &[]);
    engine
        .build(&context)
        .args(dated(&out))
        .fails(1, &["`[stage-1 2/3] RUN cat", "/id  content", "Dockerfile:5"]);
    let context = Folder::with_dockerfile(&format!("{stage}FROM busybox\nCOPY --from=a /out /\n"), &[]);
    engine.build(&context).args(dated(&out)).ok();
}

#[test]
fn a_difference_comes_from_the_stage_that_made_it() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let dockerfile = "FROM busybox AS a\nRUN mkdir /o && cat /proc/sys/kernel/random/uuid > /o/id\nFROM busybox AS b\n\
        RUN date +%N > /log\nFROM scratch\nCOPY --from=b /etc/passwd /\nCOPY --from=a /o /o\n";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    engine
        .build(&context)
        .args(dated(&out))
        .fails(1, &["`[a 1/2] RUN mkdir /o", "/o/id  content", "Dockerfile:2"]);
}

#[test]
fn times_alone_have_a_remedy() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo fixed > /f\n", &[]);
    let told = ["only the times of files differ", "SOURCE_DATE_EPOCH", "rewrite-timestamp=true"];
    engine.build(&context).args(["--verify"]).fails(1, &told);
    // Times of files that are copied are those of the context.
    let copies = Folder::with_dockerfile("FROM scratch\nCOPY f /\n", &[("f", "x")]);
    let told = engine.build(&copies).args(["--verify"]).ok().stderr;
    assert!(told.contains("with SOURCE_DATE_EPOCH it would be the same any day"), "{told}");
}

#[test]
fn the_second_run_is_nobody_elses() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        "FROM busybox AS a\nRUN date +%s%N > /d\nFROM scratch\nCOPY --from=a /d /\n",
        &[],
    );
    let (first, later) = (Folder::new(&[]), Folder::new(&[]));
    let to = |out: &Folder| out.path().display().to_string();
    engine.build(&context).args(["--verify", "-o", &to(&first)]).fails(1, &["RUN date", "/d"]);
    let built = engine.build(&context).args(["--progress=rawjson", "-o", &to(&later)]).ok();
    Steps::read(&built.stderr).assert(&[("RUN date", State::Cached)]);
    assert_eq!(first.read("d"), later.read("d"));
}

#[test]
fn folders_and_all_platforms_are_compared() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let context =
        Folder::with_dockerfile("FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n", &[("f", "x")]);
    let args = ["--verify", "--platform=linux/amd64,linux/arm64", "-o", &out.path().display().to_string()];
    engine.build(&context).args(args).ok();
    assert_eq!(out.names(), ["linux_amd64", "linux_arm64"]);
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /\n", &[]);
    engine.build(&context).args(["--verify", "--check"]).fails(1, &["nothing to verify"]);
    let Some(buildkit) = BuildKit::start("") else { return };
    let build = engine.build(&context).args(["--verify"]).env("KILN_HOST", &buildkit.address());
    build.fails(1, &["cannot verify builds", "hint: only Kiln's own engine can"]);
}
