//! The program under other names: buildctl, buildkitd, and the plugin of Docker's command line.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Engine, Folder, busybox, output_of, run_tool, tool};

/// An engine that listens, and the address of its socket.
fn engine() -> (Engine, String) {
    let engine = Engine::new();
    assert!(engine.run("du").status.success());
    let address = format!("unix://{}", engine.root().join("engine.sock").display());
    (engine, address)
}

fn buildctl(engine: &Engine, address: &str, words: &[&str]) -> Command {
    let mut command = engine.kiln(words);
    command.arg0("buildctl").env("BUILDKIT_HOST", address);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ok(command: &mut Command) -> String {
    String::from_utf8_lossy(&run_tool(command, b"")).into_owned()
}

const BUILD: &[&str] = &[
    "build",
    "--progress=plain",
    "--frontend",
    "dockerfile.v0",
    "--local",
    "context=.",
    "--local",
    "dockerfile=.",
];

#[test]
fn buildctl_builds_and_looks_back() {
    let (engine, address) = engine();
    let run = |words: &[&str]| ok(&mut buildctl(&engine, &address, words));
    engine.home().write("Dockerfile", "FROM scratch\nARG A\nCOPY f /f-${A}\n");
    engine.home().write("f", "hi");
    let words = [BUILD, &["--opt", "build-arg:A", "--output", "type=local,dest=out"]].concat();
    let files = ["--metadata-file", "meta.json", "--ref-file", "ref", "--trace", "trace"];
    let words = [&words[..], &files, &["--debug-json-cache-metrics=stdout"]].concat();
    let metrics = ok(buildctl(&engine, &address, &words).env("A", "x"));
    assert_eq!(engine.home().read("out/f-x"), "hi");
    assert!(metrics.contains(r#""miss":"#), "{metrics}");
    assert!(engine.home().read("trace").contains("vertexes"));
    let id = engine.home().read("ref");

    let histories = run(&["debug", "histories"]);
    assert!(histories.contains(&id) && histories.starts_with("TYPE"), "{histories}");
    assert_eq!(run(&["debug", "histories", "--format", "{{.Record.Ref}}"]).trim(), id);
    assert!(run(&["debug", "logs", &id]).contains("COPY f /f-x"));
    let log = run(&["debug", "histories", "--format", "{{.Record.logs.digest}}"]);
    assert!(!run(&["debug", "get", log.trim()]).is_empty());
    run(&["debug", "ctl", "--pin", &id]);
    run(&["prune-histories"]);
    assert!(run(&["debug", "histories"]).contains(&id), "a pinned one stays");
    run(&["debug", "ctl", "--delete", &id]);
    assert!(!run(&["debug", "histories"]).contains(&id));

    assert!(run(&["debug", "workers", "-v"]).contains("GC Policy rule#3"));
    assert!(run(&["debug", "info"]).contains("kiln v"));
    assert!(run(&["du", "-v"]).contains("Reclaimable:"));
    assert!(run(&["prune", "--all"]).contains("Total:"));
    assert!(run(&["du"]).contains("Total:          0B"), "{}", run(&["du"]));
}

#[test]
fn buildctl_tells_what_is_wrong() {
    let (engine, address) = engine();
    engine.home().write("Dockerfile", "FROM scratch\nCOPY nope /\n");
    let check = |words: &[&str], stdin: &[u8], told: &str| {
        let output = output_of(&mut buildctl(&engine, &address, words), stdin);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(text(&output).contains(told), "{words:?}: {}", text(&output));
    };
    check(BUILD, b"", ">>> COPY nope /");
    check(&["build"], b"", "empty definition sent to build. Specify --frontend instead?");
    check(&["build"], b"no protobuf", "error: failed to parse LLB definition");
    check(&[BUILD, &["--output", "name=x"]].concat(), b"", "error: --output requires type=<type>");
    check(&["debug", "logs", "nobody"], b"", "error: no such job nobody");
    check(&["--addr", "unix:///nope", "du"], b"", "failed to connect to the engine at `unix:///nope`");
    let usage = output_of(&mut buildctl(&engine, &address, &[]), b"");
    assert!(usage.status.success() && text(&usage).contains("prune-histories"), "{}", text(&usage));
}

/// A definition goes from one program into another.
#[test]
fn definitions_are_drawn() {
    let (engine, address) = engine();
    // An op that sources an image, and the pointer to it: lengths stand after their tags.
    let source = b"\x1a\x12\n\x10docker-image://x";
    let digest = oci::Digest::of(source).to_string();
    let pointer = [b"\n\x49\n\x47", digest.as_bytes()].concat();
    let bytes = [&b"\n\x14"[..], source, b"\n\x4b", &pointer].concat();
    let dot = output_of(&mut buildctl(&engine, &address, &["debug", "dump-llb", "--dot"]), &bytes);
    assert!(text(&dot).contains(r#"[label="docker-image://x" shape="ellipse"]"#), "{}", text(&dot));
    let json = output_of(&mut buildctl(&engine, &address, &["debug", "dump-llb"]), &bytes);
    assert!(text(&json).contains(&digest), "{}", text(&json));
}

/// As in a container: another program carries the bytes to `buildctl dial-stdio`.
#[test]
fn engines_are_reached_through_programs() {
    let (engine, address) = engine();
    let program = env!("CARGO_BIN_EXE_kiln");
    let tools = Folder::new(&[
        (
            "+x docker",
            "#!/bin/sh\n[ \"$3\" = there ] || { echo \"no container $3\" >&2; exit 1; }\nshift 3; exec \"$@\"\n",
        ),
        ("+x podman", "#!/bin/sh\nshift 3; timeout 2 \"$@\"; echo the link is down >&2\n"),
        ("+x ssh", "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift 2; exec \"$@\"\n"),
    ]);
    std::os::unix::fs::symlink(program, tools.join("buildctl")).expect("linked");
    let path = format!("{}:/usr/bin:/bin", tools.path().display());
    let socket = address.trim_start_matches("unix://");
    let kiln = |host: &str, words: &[&str]| {
        let mut command = engine.kiln(words);
        command.env("PATH", &path).env("BUILDKIT_HOST", &address).env("KILN_HOST", host);
        command
    };
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /\n", &[("f", "through a pipe")]);
    let dir = context.path().display().to_string();
    for (host, out) in [("docker-container://there", "a"), (&*format!("ssh://me@host:22{socket}"), "b")] {
        ok(&mut kiln(host, &["build", "-o", out, &dir]));
        assert_eq!(engine.home().read(&format!("{out}/f")), "through a pipe");
    }
    let gone = output_of(&mut kiln("docker-container://gone", &["du"]), b"");
    assert!(text(&gone).contains("no container gone"), "{}", text(&gone));
    // A way that breaks off while something is built.
    context.write("Dockerfile", "FROM busybox\nRUN sleep 86431\n");
    let base = busybox().named("busybox");
    let broken = &["build", "--build-context", &base, &dir];
    let broken = output_of(&mut kiln("podman-container://there", broken), b"");
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken).contains("the link is down"), "{}", text(&broken));
}

#[test]
fn docker_takes_it_as_its_plugin() {
    let engine = Engine::new();
    let plugins = engine.home().join(".docker/cli-plugins");
    std::fs::create_dir_all(&plugins).expect("made");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kiln"), plugins.join("docker-buildx")).expect("linked");
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /\n", &[("f", "by docker")]);
    let docker = |words: &[&str]| {
        let mut command = tool("docker");
        command.args(words).current_dir(context.path()).env("HOME", engine.home().path());
        command.env("DOCKER_HOST", format!("unix://{}", engine.home().join("no-docker.sock").display()));
        command.env("KILN_ROOT", engine.root());
        command
    };
    assert!(ok(&mut docker(&["buildx", "version"])).starts_with("kiln v"));
    let out = engine.home().join("out").display().to_string();
    for (words, name) in
        [(&["buildx", "build"][..], "a"), (&["build"], "b"), (&["--debug", "buildx", "build"], "c")]
    {
        let dest = format!("{out}/{name}");
        ok(&mut docker(&[words, &["--output", &dest, "."]].concat()));
        assert_eq!(std::fs::read_to_string(Path::new(&dest).join("f")).expect("there"), "by docker");
    }
    // Docker does not answer, so the image is not Docker's.
    let kept = output_of(&mut docker(&["build", "-t", "app", "."]), b"");
    assert!(text(&kept).contains("Docker does not answer"), "{}", text(&kept));
    let bake = output_of(&mut docker(&["buildx", "bake"]), b"");
    assert!(text(&bake).contains("couldn't find a bake definition"), "{}", text(&bake));
    assert_eq!(bake.status.code(), Some(1));
    let dest = format!("{out}/d");
    std::fs::write(context.path().join("docker-bake.json"), r#"{"target":{"default":{}}}"#).expect("written");
    ok(&mut docker(&["buildx", "bake", "--set", &format!("default.output={dest}"), "--allow=fs.write=*"]));
    assert_eq!(std::fs::read_to_string(Path::new(&dest).join("f")).expect("there"), "by docker");
    // The harness looks for what is left of its engine.
    engine.stop();
}
