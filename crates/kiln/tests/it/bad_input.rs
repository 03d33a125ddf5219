//! Bad input: what is told, where, with which exit code; and that nothing half-written stays.

use std::fs;

use crate::harness::{Engine, Folder, Layout, busybox, files_below, run_tool, tool};

/// Builds into an archive, a folder, and files for scripts, which must not be there afterwards.
fn fails(engine: &Engine, context: &Folder, args: &[&str], told: &[&str]) -> String {
    let out = Folder::new(&[("folder/", "")]);
    let at = |name: &str| out.join(name).display().to_string();
    let outputs = [
        "-o".to_owned(),
        format!("type=oci,dest={}", at("image.tar")),
        format!("--metadata-file={}", at("metadata")),
    ];
    let built = engine.build(context).args(outputs).args(args).fails(1, told);
    engine.build(context).args(["-o", &at("folder")]).args(args).fails(1, &[]);
    assert_eq!(out.names(), ["folder"], "{}", built.stderr);
    assert_eq!(files_below(&out.join("folder")), [""; 0], "{}", built.stderr);
    let errors = built.stderr.lines().filter(|l| l.starts_with("ERROR: "));
    assert_eq!(errors.count(), 1, "the error is told once:\n{}", built.stderr);
    built.stderr
}

#[test]
fn faults_of_the_dockerfile() {
    let engine = Engine::new();
    let check = |dockerfile: &str, line: usize, told: &[&str]| {
        let context = Folder::with_dockerfile(dockerfile, &[("a", "a")]);
        let stderr = fails(&engine, &context, &[], told);
        let (place, marked) = (format!("Dockerfile:{line}\n"), format!("{line} | >>> "));
        assert!(
            stderr.contains(&place) && stderr.contains(&marked),
            "{dockerfile}\nnot at line {line}:\n{stderr}"
        );
    };
    check("FROM scratch\nRUM true", 2, &["unknown instruction: RUM", "did you mean RUN?"]);
    check("FROM scratch\nFOO bar", 2, &["unknown instruction: FOO"]);
    check("RUN true", 1, &["no build stage in current context"]);
    check("FROM", 1, &["FROM requires either one or three arguments"]);
    check("FROM scratch AS 1x", 1, &["invalid name for build stage"]);
    check("FROM scratch\nCOPY a", 2, &["COPY requires at least two arguments"]);
    check("FROM scratch\nCOPY --fron=x a /", 2, &["unknown flag: --fron", "did you mean"]);
    check("FROM busybox\nRUN --mount=type=wrong,target=/x true", 2, &["unsupported mount type \"wrong\""]);
    check("FROM busybox\nRUN --mount=target true", 2, &["invalid field 'target'"]);
    check("FROM scratch\nENV A", 2, &["ENV must have two arguments"]);
    check("FROM scratch\nLABEL =x", 2, &["LABEL names can not be blank"]);
    check("FROM scratch\nEXPOSE 80x", 2, &["80x"]);
    check("FROM scratch\nSTOPSIGNAL NONSENSE", 2, &["NONSENSE"]);
    check("FROM scratch\nHEALTHCHECK --interval=5 CMD x", 2, &["missing unit in duration"]);
    check("FROM scratch\nSHELL sh", 2, &["SHELL requires the arguments to be in JSON form"]);
    check("FROM scratch\nONBUILD FROM x", 2, &["FROM isn't allowed as an ONBUILD trigger"]);
    check(
        "FROM scratch\nONBUILD ONBUILD RUN x",
        2,
        &["Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    );
    check("FROM scratch\nENV A=${B", 2, &["failed to process \"${B\""]);
    check("FROM scratch\nENV A=${B:?wanted}", 2, &["wanted"]);
    check("FROM scratch\nRUN <<EOF\nnever ends", 2, &["unterminated heredoc"]);
    check("FROM ${EMPTY}", 1, &["base name (${EMPTY}) should not be blank"]);
    check("FROM Up:Case/x", 1, &["failed to parse stage name", "invalid reference format"]);
    check("FROM --platform=no/such/platform/x/y busybox", 1, &["no/such/platform/x/y"]);
    check("FROM scratch\nCOPY --from=1x%% a /", 2, &["1x%%"]);
    check(
        "FROM scratch AS a\nCOPY --from=b /x /\nFROM scratch AS b\nCOPY --from=a /x /",
        2,
        &["circular dependency"],
    );
    check("FROM scratch\nCOPY --chmod=999 a /", 2, &["999"]);
    check("FROM scratch\nCOPY --chown=nobody: a /", 2, &["invalid user index"]);
}

#[test]
fn what_is_missing() {
    let engine = Engine::new();
    let check = |dockerfile: &str, args: &[&str], told: &[&str]| {
        let context = Folder::with_dockerfile(
            dockerfile,
            &[("file.txt", "a"), ("d/x", "x"), (".dockerignore", "hidden"), ("hidden", "h")],
        );
        fails(&engine, &context, args, told);
    };
    let place = "Dockerfile:2";
    check("FROM scratch\nCOPY nothing /", &[], &[place, "\"/nothing\": not found"]);
    check("FROM scratch\nCOPY file.tx /", &[], &[place, "\"/file.tx\": not found"]);
    check("FROM scratch\nCOPY hidden /", &[], &[place, "not found", ".dockerignore"]);
    check("FROM scratch\nCOPY d/*.none /", &[], &[place, "no such file or directory"]);
    check(
        "FROM busybox\nRUN --mount=source=nothing,target=/m true",
        &[],
        &[place, "\"/nothing\": not found"],
    );
    check("FROM scratch\nCOPY --from=busybox /nothing /", &[], &[place, "\"/nothing\": not found"]);
    check("FROM scratch", &["--target", "nowhere"], &["target stage \"nowhere\" could not be found"]);
    check(
        "FROM busybox\nRUN --mount=type=secret,id=token,required true",
        &[],
        &[place, "secret token: not found"],
    );
    check(
        "FROM busybox\nRUN --mount=type=secret,id=token,env=T,required=true true",
        &[],
        &[place, "secret token: not found"],
    );
}

#[test]
fn faults_of_the_command_line() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN true", &[]);
    let check = |args: &[&str], told: &[&str]| {
        let built = engine.build(&context).args(args).fails(1, told);
        assert_eq!(built.stdout, b"");
    };
    check(&["-t", "Not A Name"], &["invalid", "Not A Name"]);
    check(&["--platform", "linux/amd64/v1/x/y"], &["linux/amd64/v1/x/y"]);
    check(&["-f", "/no/such/Dockerfile"], &["no such file or directory"]);
    check(&["-o", "type=wrong"], &["wrong"]);
    check(&["--secret", "id=x,src=/no/such/file"], &["/no/such/file"]);
    check(&["--build-context", "x=/no/such/folder"], &["failed to get build context x"]);
    check(&["--build-context", "busybox=oci-layout:///no/such/layout"], &["/no/such/layout"]);
    check(&["--ulimit", "nofile=x"], &["nofile"]);
    check(&["--add-host", "nonsense"], &["nonsense"]);
    check(&["--network", "bridge"], &["bridge"]);
    check(&["--progress", "fancy"], &["invalid progress mode fancy", "hint: choose one of"]);
    check(&["--allow", "everything"], &["unknown entitlement everything"]);
    check(&["--policy", "x"], &["failed to read `--policy x`: invalid value x", "hint: a policy is named"]);
}

#[test]
fn a_step_that_fails() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox\nRUN true\nRUN echo first; \\\n  for i in $(seq 30); do echo line $i; done; echo broken >&2; exit 42\nRUN true";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    let stderr = fails(
        &engine,
        &context,
        &[],
        &[
            "exit code: 42",
            "line 30\n",
            "broken\n",
            "Dockerfile:3\n",
            "   3 | >>> RUN echo first; \\\n   4 | >>>   for i",
            "failed to solve: process \"/bin/sh -c echo first;   for i in $(seq 30); do echo line $i; done; echo broken >&2; exit 42\" did not complete successfully: exit code: 42",
        ],
    );
    // The command and its last lines stand between rules.
    let (_, summary) = stderr.split_once("------\n > ").expect("a summary");
    assert!(summary.contains("RUN echo first"), "{stderr}");
    assert!(summary.contains("broken"), "{stderr}");

    let check = |line: &str, told: &[&str]| {
        let context = Folder::with_dockerfile(&format!("FROM busybox\n{line}"), &[]);
        engine.build(&context).fails(1, told);
    };
    check("RUN no-such-command", &["no-such-command: not found", "exit code: 127"]);
    check("RUN [\"/no/such/program\"]", &["/no/such/program", "no such file or directory"]);
    check("RUN sh -c 'kill -9 $$'; exit $?", &["did not complete successfully", "137"]);
    check("USER stranger\nRUN true", &["stranger"]);
    check("SHELL [\"/no/shell\"]\nRUN true", &["/no/shell"]);
    // Quietly, only the words of the step and the error are told.
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo why; exit 3", &[]);
    let built = engine.build(&context).args(["-q"]).fails(1, &["why", "exit code: 3", "Dockerfile:2"]);
    assert!(built.stdout.is_empty());
}

#[test]
fn damaged_layers() {
    let engine = Engine::new();
    let layer = || Layout::new(&[&archive("[('f', 'REG', '', 'x' * 100000)]")], serde_json::json!({}));
    let check = |damage: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let layout = layer();
        let path = layout.layer_path();
        let digest = path.file_name().expect("it has one").to_string_lossy();
        let told = [&format!("failed to extract layer sha256:{digest}")];
        fs::write(&path, damage(fs::read(&path).expect("read"))).expect("written");
        let context = Folder::with_dockerfile("FROM base\nRUN true", &[]);
        let said =
            fails(&engine, &context, &["--build-context", &layout.named("base")], &told.map(String::as_str));
        assert!(!said.contains("transport error"), "{said}");
    };
    check(&|data| data[..data.len() / 2].to_vec());
    check(&|mut data| {
        let at = data.len() / 2;
        data[at] ^= 0x10;
        data
    });
    check(&|_| Vec::new());
    check(&|data| [data, b"more".to_vec()].concat());

    let layout = layer();
    fs::remove_file(layout.layer_path()).expect("removed");
    let context = Folder::with_dockerfile("FROM base\nRUN true", &[]);
    fails(&engine, &context, &["--build-context", &layout.named("base")], &["not found"]);

    // What is whole and not an archive.
    let layout = Layout::new(
        &[b"this is no tar archive, however long it is".repeat(100).as_slice()],
        serde_json::json!({}),
    );
    fails(&engine, &context, &["--build-context", &layout.named("base")], &[]);
    // The same base, undamaged, builds: nothing of the others was kept.
    let layout = layer();
    let context = Folder::with_dockerfile("FROM base AS b\nFROM scratch\nCOPY --from=b /f /", &[]);
    engine.build(&context).args(["--build-context", &layout.named("base"), "-otype=tar,dest=/dev/null"]).ok();
}

/// A tar archive of `(name, type, link target, content)`.
fn archive(entries: &str) -> Vec<u8> {
    let script = format!(
        "import io,sys,tarfile\nout=io.BytesIO()\nt=tarfile.open(fileobj=out,mode='w')\n\
         for name,kind,link,data in {entries}:\n\
         \x20 i=tarfile.TarInfo(name); i.type=getattr(tarfile,kind+'TYPE'); i.linkname=link; i.size=len(data); i.mode=0o755\n\
         \x20 t.addfile(i,io.BytesIO(data.encode()))\n\
         t.close()\nsys.stdout.buffer.write(out.getvalue())"
    );
    run_tool(tool("python3").args(["-c", &script]), b"")
}

/// Archives whose entries climb out of where they are unpacked. `HOST` is a folder of the machine.
const CLIMBERS: &[&str] = &[
    "[('../../../../../../../../HOST/out', 'REG', '', 'x')]",
    "[('/HOST/out', 'REG', '', 'x')]",
    "[('a/../../../../../../../../HOST/out', 'REG', '', 'x')]",
    "[('l', 'SYM', '/HOST', ''), ('l/out', 'REG', '', 'x')]",
    "[('l', 'SYM', '../../../../../../../../HOST', ''), ('l/out', 'REG', '', 'x')]",
    "[('l', 'SYM', '/HOST/out', ''), ('l', 'REG', '', 'x')]",
    "[('l', 'SYM', '/HOST/out', ''), ('h', 'LNK', 'l', ''), ('h', 'REG', '', 'x')]",
    "[('h', 'LNK', '/HOST/secret', '')]",
    "[('h', 'LNK', '../../../../../../../../HOST/secret', ''), ('h', 'REG', '', 'x')]",
    "[('l', 'SYM', '/HOST', ''), ('h', 'LNK', 'l/secret', '')]",
    "[('..', 'DIR', '', '')]",
    "[('l', 'SYM', '/HOST', ''), ('l/.wh.secret', 'REG', '', '')]",
    "[('l', 'SYM', '/HOST', ''), ('l/.wh..wh..opq', 'REG', '', '')]",
    "[('.wh...', 'REG', '', '')]",
    "[('.wh..', 'REG', '', '')]",
];

#[test]
fn entries_do_not_climb_out() {
    let engine = Engine::new();
    let host = Folder::new(&[("secret", "of the host")]);
    let inside = host.path().to_string_lossy().trim_start_matches('/').to_owned();
    for entries in CLIMBERS {
        let tar = archive(&entries.replace("HOST", &inside));
        // As a layer, and as an archive of the context: refused or kept inside, but never outside.
        let layout = Layout::new(&[&tar], serde_json::json!({}));
        let context = Folder::with_dockerfile("FROM base\nCOPY Dockerfile /copied", &[]);
        let built = engine
            .build(&context)
            .args(["--build-context", &layout.named("base"), "-otype=tar,dest=/dev/null"])
            .run();
        assert!(matches!(built.code, Some(0 | 1)), "{entries}: {}", built.stderr);
        assert!(!String::from_utf8_lossy(&built.stdout).contains("of the host"), "{entries}");

        let context = Folder::with_dockerfile("FROM busybox\nADD a.tar /x/", &[]);
        context.write("a.tar", &tar);
        let built = engine.build(&context).args(["-o", "-"]).run();
        assert!(matches!(built.code, Some(0 | 1)), "{entries}: {}", built.stderr);
        assert!(!String::from_utf8_lossy(&built.stdout).contains("of the host"), "{entries}");

        assert_eq!(host.names(), ["secret"], "{entries}");
        assert_eq!(host.read("secret"), "of the host", "{entries}");
    }
}

#[test]
fn what_leaves_a_build_stays_in_its_folder() {
    let engine = Engine::new();
    let host = Folder::new(&[("kept", "kept")]);
    // The destination holds a link that leads away from it.
    let link = format!("d -> {}", host.path().display());
    let out = Folder::new(&[(&link, "")]);
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /d/out", &[("f", "f")]);
    engine.build(&context).args(["-o", &out.path().display().to_string()]).run();
    assert_eq!(host.names(), ["kept"]);
}

#[test]
fn layouts_that_are_none() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM base", &[]);
    let check = |files: &[(&str, &str)], told: &[&str]| {
        let layout = Folder::new(files);
        let named = format!("base=oci-layout://{}", layout.path().display());
        fails(&engine, &context, &["--build-context", &named], told);
    };
    check(&[], &["index.json"]);
    check(&[("index.json", "{")], &["index.json"]);
    check(&[("index.json", "{}")], &[]);
    let nowhere = format!(r#"{{"manifests":[{{"digest":"{}","size":3}}]}}"#, oci::Digest::of("x"));
    check(&[("index.json", &nowhere)], &[]);
    let tag = format!("base=oci-layout://{}:missing", busybox().path().display());
    // An only image is meant by any tag.
    engine.build(&context).args(["--build-context", &tag]).ok();
}
