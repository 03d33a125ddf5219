//! `kiln bake`: many builds by one engine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    BuildKit, Engine, FileServer, Folder, Image, Process, State, Steps, assert_has, busybox, busybox_layer,
    output_of, run_tool, tool,
};

/// A bake that a test is about to run, in a folder.
struct Bake<'b> {
    command: Command,
    stdin: &'b [u8],
}

impl<'b> Bake<'b> {
    /// With `busybox` as a named context of all targets, which may be read from anywhere.
    fn new(engine: &Engine, folder: &Folder, words: &str) -> Self {
        let mut bake = Bake::bare(engine, folder, words);
        let base = busybox().named("*.contexts.busybox");
        bake.command.args(["--allow", "fs.read=*", "--set", &base]);
        bake
    }

    fn bare(engine: &Engine, folder: &Folder, words: &str) -> Self {
        let mut command = engine.kiln(["bake"]);
        command.args(words.split_whitespace()).current_dir(folder.path());
        if !words.contains("--progress") {
            command.arg("--progress=plain");
        }
        Bake { command, stdin: b"" }
    }

    fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn run(mut self) -> (Option<i32>, String, String) {
        let output = output_of(&mut self.command, self.stdin);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// What it tells; it has to succeed.
    fn ok(self) -> String {
        let (code, _, stderr) = self.run();
        assert_eq!(code, Some(0), "{stderr}");
        stderr
    }

    fn steps(self) -> Steps {
        Steps::read(&self.arg("--progress=rawjson").ok())
    }

    /// What it tells; it has to fail with all these texts.
    fn fails(self, code: i32, told: &[&str]) -> String {
        let (found, _, stderr) = self.run();
        for text in told {
            assert!(stderr.contains(text), "`{text}` is not in:\n{stderr}");
        }
        assert_eq!(found, Some(code), "{stderr}");
        stderr
    }
}

fn json_of(folder: &Folder, name: &str) -> Value {
    serde_json::from_str(&folder.read(name)).expect("JSON")
}

const MATRIX: &str = r#"target "default" {
  name = "t${n}"
  matrix = { n = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] }
  args = { N = n }
  output = ["type=local,dest=out/${n}"]
}
"#;

#[test]
fn targets_share_the_context_and_the_steps() {
    let dockerfile = "FROM scratch AS made\nADD root.tar /\nCOPY f /f\nRUN echo once >/once\nARG N\n\
                      RUN cat /f /once >/$N\nFROM scratch\nARG N\nCOPY --from=made /$N /\n";
    let folder = Folder::with_dockerfile(dockerfile, &[("docker-bake.hcl", MATRIX), ("f", "sent once\n")]);
    folder.write("root.tar", busybox_layer());
    let engine = Engine::new();
    let steps = Bake::bare(&engine, &folder, "").steps();
    let count = |text: &str| format!("{steps:?}").lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("internal] load build context"), 1, "{steps:?}");
    assert_eq!(count("RUN echo once"), 1, "{steps:?}");
    assert_eq!(count(" made 4/4] RUN cat /f"), 12, "{steps:?}");
    assert_eq!(count("[tc made 4/4] RUN cat /f"), 1, "{steps:?}");
    for name in ["a", "l"] {
        assert_eq!(folder.read(&format!("out/{name}/{name}")), "sent once\nonce\n");
    }
    // One change goes over to all at once.
    folder.write("f", "again\n");
    let steps = Bake::bare(&engine, &folder, "").steps();
    assert_eq!(steps.ran().iter().filter(|name| name.contains("RUN echo once")).count(), 1, "{steps:?}");
    let steps = Bake::bare(&engine, &folder, "ta tb").steps();
    assert_eq!(steps.ran(), [""; 0]);
}

const LINKS: &str = r#"group "default" { targets = ["app", "tool"] }
target "base" {
  dockerfile-inline = <<EOT
FROM busybox
ARG WHO=base
ENV WHO=$WHO
RUN echo $WHO >/made
EOT
}
target "app" {
  dockerfile = "app.Dockerfile"
  contexts = { base = "target:base" }
  tags = ["app:1"]
}
target "tool" {
  dockerfile-inline = "FROM scratch\nCOPY --from=base /made /tool\n"
  contexts = { base = "target:base" }
  output = ["out"]
}
"#;

#[test]
fn what_one_target_makes_others_go_on_from() {
    let app = "FROM base\nRUN echo \"app of $WHO\" >>/made\n";
    let folder = Folder::new(&[("docker-bake.hcl", LINKS), ("app.Dockerfile", app)]);
    let engine = Engine::new();
    let set = "--set base.args.WHO=me --metadata-file meta";
    let steps = Bake::new(&engine, &folder, set).env("BUILDX_METADATA_WARNINGS", "1").steps();
    assert_eq!(steps.ran().iter().filter(|name| name.contains("RUN echo me")).count(), 1, "{steps:?}");
    assert_eq!(folder.read("out/tool"), "me\n");
    let output = engine.kiln(["run", "--rm", "app:1", "cat", "/made"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "me\napp of me\n");
    let meta = json_of(&folder, "meta");
    let names: Vec<_> = meta.as_object().expect("by target").keys().collect();
    assert_eq!(names, ["app", "base", "tool"]);
    assert_has(&meta["app"], &json!({"image.name": "app:1"}));
    for field in ["buildx.build.ref", "buildx.build.provenance", "containerimage.digest"] {
        assert!(!meta["app"][field].is_null(), "{meta}");
    }
    Bake::new(&engine, &folder, "--set base.args.WHO=me")
        .steps()
        .assert(&[("RUN echo me", State::Cached), ("RUN echo \"app", State::Cached)]);
}

#[test]
fn links_of_several_platforms() {
    let file = r#"target "base" {
  dockerfile-inline = "FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\nENV ARCH=$TARGETARCH\n"
  platforms = ["linux/amd64", "linux/arm64"]
}
target "both" {
  dockerfile-inline = "FROM base\nCOPY f /$ARCH\n"
  contexts = { base = "target:base" }
  platforms = ["linux/amd64", "linux/arm64"]
  output = ["out"]
}
target "one" {
  dockerfile-inline = "FROM base\nCOPY f /one-$ARCH\n"
  contexts = { base = "target:base" }
  platforms = ["linux/arm64"]
  output = ["one"]
}
"#;
    let folder = Folder::new(&[("docker-bake.hcl", file), ("f", "x")]);
    let engine = Engine::new();
    Bake::bare(&engine, &folder, "both one").ok();
    for path in ["out/linux_amd64/amd64", "out/linux_arm64/arm64", "out/linux_arm64/f-arm64", "one/one-arm64"]
    {
        assert_eq!(folder.read(path), "x", "{path}");
    }
    assert!(!folder.join("one/f-amd64").exists());
    let empty = r#"target "empty" { dockerfile-inline = "FROM scratch\nLABEL a=b\n" }
target "app" {
  dockerfile-inline = "FROM empty\nCOPY f /\n"
  contexts = { empty = "target:empty" }
}
"#;
    folder.write("docker-bake.hcl", empty);
    Bake::bare(&engine, &folder, "app")
        .fails(1, &["target app: the context empty makes an image without files"]);
}

/// `bad` fails while `slow` runs; `after` goes on from `bad`.
fn failing(seconds: u32) -> Folder {
    let file = format!(
        r#"group "default" {{ targets = ["bad", "slow", "after"] }}
target "slow" {{ dockerfile-inline = "FROM busybox\nRUN echo it st''arts; sleep {seconds}\n" }}
target "bad" {{
  dockerfile = "bad.Dockerfile"
  context = "."
}}
target "after" {{
  dockerfile-inline = "FROM bad\nRUN true\n"
  contexts = {{ bad = "target:bad" }}
}}
target "good" {{
  dockerfile-inline = "FROM busybox\nRUN sleep 1; echo good >/good\n"
  tags = ["good"]
}}
"#
    );
    let bad = "FROM busybox\nRUN sleep 0.3; echo no >&2; exit 7\n";
    Folder::new(&[("docker-bake.hcl", &file), ("bad.Dockerfile", bad)])
}

#[test]
fn the_first_failure_ends_the_rest() {
    let engine = Engine::new();
    let folder = failing(86_451);
    let began = Instant::now();
    let told = Bake::new(&engine, &folder, "").fails(
        1,
        &[
            "bad.Dockerfile:2",
            ">>> RUN sleep 0.3",
            "ERROR: target bad: failed to solve: process",
            "exit code: 7",
        ],
    );
    assert!(began.elapsed() < Duration::from_secs(60), "the rest went on");
    assert!(
        told.trim_end().lines().last().is_some_and(|line| line.starts_with("ERROR: target bad")),
        "{told}"
    );
    assert_eq!(Engine::processes_with("sleep\086451"), [0; 0]);
}

#[test]
fn what_does_not_depend_on_a_failure_is_built_where_that_is_asked_for() {
    let engine = Engine::new();
    let folder = failing(86_452);
    Bake::new(&engine, &folder, "bad after good --keep-going --metadata-file meta").fails(
        1,
        &[
            "ERROR: target bad: failed to solve: process",
            "ERROR: target after: not built: its context bad has failed",
            "ERROR: 2 of 3 targets failed: ",
            "Kept as good in Kiln's store",
        ],
    );
    let names: Vec<_> = json_of(&folder, "meta").as_object().expect("by target").keys().cloned().collect();
    assert_eq!(names, ["good"]);
}

#[test]
fn a_signal_ends_all_targets() {
    let engine = Engine::new();
    let folder = failing(86_453);
    let mut child = Bake::new(&engine, &folder, "slow good").command.spawn().expect("it starts");
    let mut reader = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("it starts\n") {
        assert_ne!(reader.read_line(&mut said).expect("read"), 0, "it never starts:\n{said}");
    }
    let began = Instant::now();
    run_tool(tool("kill").args(["-INT", &child.id().to_string()]), b"");
    reader.read_to_string(&mut said).expect("read");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10), "{said}");
    assert_eq!(Engine::processes_with("sleep\086453"), [0; 0]);
}

#[test]
fn what_files_ask_for_is_granted_first() {
    let file = r#"target "default" {
  dockerfile-inline = "FROM scratch\nCOPY f /\n"
  context = "../other"
  output = ["../result"]
  network = "host"
}
target "plain" {
  dockerfile-inline = "FROM scratch\nCOPY here/docker-bake.hcl /\n"
  context = "link"
}
"#;
    let top = Folder::new(&[("here/docker-bake.hcl", file), ("other/f", "x"), ("here/link -> ..", "")]);
    let engine = Engine::new();
    let run = |words: &str| {
        let mut bake = Bake::bare(&engine, &top, words);
        bake.command.current_dir(top.join("here"));
        bake
    };
    run("").fails(
        1,
        &[
            "Your build is requesting privileges for following possibly insecure capabilities:\n\n \
             - Running build containers that can access host network\n - Read access to path ../other\n \
             - Write access to path ../result\n",
            "\nPass \"--allow=network.host --allow=fs.read=../other --allow=fs.write=../result\" to grant requested",
            "Your full command with requested privileges:\n\n",
            " bake --allow=network.host --allow=fs.read=../other --allow=fs.write=../result --progress=plain\n",
            "you can set BUILDX_BAKE_ENTITLEMENTS_FS=0 .",
            "ERROR: additional privileges requested",
        ],
    );
    // A link does not hide where it leads to.
    run("plain").fails(1, &["Read access to path ..\n"]);
    run("--allow fs=..").fails(1, &["Pass \"--allow=network.host\" to grant"]);
    run("--allow network.host").env("BUILDX_BAKE_ENTITLEMENTS_FS", "0").ok();
    run("--allow network.host --allow fs.read=../other --allow fs.write=*").ok();
    assert_eq!(top.read("result/f"), "x");
    run("--allow what").fails(1, &["unknown entitlement key \"what\""]);
    let mirror = "--set *.output=type=local,dest=out,mode=delete --allow network.host --allow fs=*";
    run(mirror).fails(1, &["Deleting stale files from local output destinations"]);
    run(&format!("{mirror} --allow buildx.local.delete")).ok();
    // Programs are not asked.
    run("--progress=rawjson --set *.output=out").ok();
}

const REMOTE: &str = r#"target "default" {
  dockerfile-inline = "FROM scratch\nCOPY f /\n"
  output = ["out"]
}
target "sub" {
  context = "sub"
  output = ["out"]
}
target "named" {
  dockerfile-inline = "FROM scratch\nCOPY --from=there g /named\n"
  contexts = { there = "./sub" }
  output = ["out"]
}
target "here" {
  context = BAKE_CMD_CONTEXT
  dockerfile-inline = "FROM scratch\nCOPY mine /\n"
  output = ["out"]
}
target "their-file" {
  context = BAKE_CMD_CONTEXT
}
"#;

/// What lies in the web.
fn remote_files() -> Folder {
    Folder::new(&[
        ("docker-bake.hcl", REMOTE),
        ("other.hcl", "target \"default\" { args = { A = \"other\" } }\n"),
        ("f", "theirs"),
        ("sub/g", "below"),
        ("sub/Dockerfile", "FROM scratch\nCOPY g /sub-g\n"),
    ])
}

/// Builds of a remote definition at `url`, from a folder of its own.
fn check_remote(engine: &Engine, url: &str) -> Folder {
    let folder = Folder::new(&[("mine", "mine"), ("local.hcl", "variable \"X\" { default = \"local\" }\n")]);
    let run = |words: &str| Bake::bare(engine, &folder, words);
    run(&format!("{url} default sub named here -f docker-bake.hcl -f cwd://local.hcl")).ok();
    let names = Folder::new(&[]);
    for (name, content) in [("f", "theirs"), ("sub-g", "below"), ("named", "below"), ("mine", "mine")] {
        assert_eq!(folder.read(&format!("out/{name}")), content, "{url}");
        names.write(name, "");
    }
    run(&format!("{url} their-file")).fails(1, &["reading a dockerfile for a remote build invocation"]);
    run(&format!("{url} -f none.hcl")).fails(1, &["none.hcl"]);
    let (code, printed, stderr) = run(&format!("{url} --print -f docker-bake.hcl -f other.hcl")).run();
    assert_eq!(code, Some(0), "{stderr}");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_has(&printed["target"]["default"], &json!({"context": url, "args": {"A": "other"}}));
    folder
}

#[test]
fn definitions_in_a_repository() {
    let files = remote_files();
    let git = |words: &str| {
        let mut git = tool("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@y", "-C"]).arg(files.path());
        run_tool(git.args(words.split(' ')), b"");
    };
    git("init -q -b main .");
    git("add .");
    git("commit -q -m one");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    // `git daemon` would start it as a child, which outlives it.
    let programs = run_tool(tool("git").arg("--exec-path"), b"");
    let programs = String::from_utf8_lossy(&programs).trim().to_owned();
    let mut daemon = Command::new(Path::new(&programs).join("git-daemon"));
    daemon.args(["--verbose", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]);
    daemon.arg(format!("--port={port}")).arg(format!("--base-path={}", files.path().display()));
    let (_server, ()) = Process::start(&mut daemon, |line| line.contains("Ready to rumble").then_some(()));
    let engine = Engine::new();
    let url = format!("git://127.0.0.1:{port}/.git#main");
    let folder = check_remote(&engine, &url);
    let (_, printed, _) = Bake::bare(&engine, &folder, &format!("{url} sub --print")).run();
    assert!(printed.contains(&format!("\"context\": \"{url}:sub\"")), "{printed}");
    // Another folder of the web in place of this one.
    let words = format!("{url} {url} here --set here.dockerfile-inline=x");
    Bake::bare(&engine, &folder, &words).fails(1, &["dockerfile-inline"]);
}

#[test]
fn definitions_in_the_web() {
    let files = remote_files();
    let served = Folder::new(&[("page.hcl", MATRIX)]);
    let archive = served.join("files.tar.gz");
    run_tool(tool("tar").arg("-czf").arg(&archive).arg("-C").arg(files.path()).arg("."), b"");
    let server = FileServer::start(&served);
    let engine = Engine::new();
    check_remote(&engine, &server.url("files.tar.gz"));
    // A file alone has no contexts: those are here.
    let folder = Folder::with_dockerfile("FROM scratch\nARG N\nCOPY f /$N\n", &[("f", "here")]);
    Bake::bare(&engine, &folder, &format!("{} ta", server.url("page.hcl"))).ok();
    assert_eq!(folder.read("out/a/a"), "here");
    Bake::bare(&engine, &folder, &server.url("none.hcl")).fails(1, &["404"]);
    // Files of the web may not read what is here.
    let compose = "services:\n  app:\n    env_file: /etc/passwd\n    build:\n      args: [root]\n";
    served.write("compose.yaml", compose);
    let words = format!("{} --print", server.url("compose.yaml"));
    Bake::bare(&engine, &folder, &words).fails(1, &["files that come from the web cannot name others here"]);
}

#[test]
fn questions_are_answered_target_by_target() {
    let file = r#"target "clean" {
  dockerfile-inline = "FROM scratch\nCOPY f /\n"
  description = "nothing wrong"
}
target "odd" {
  dockerfile-inline = "FROM scratch as x\nCOPY f /\n"
  contexts = { clean = "target:clean" }
}
"#;
    let folder = Folder::new(&[("docker-bake.hcl", file), ("f", "")]);
    let engine = Engine::new();
    let (code, stdout, stderr) = Bake::bare(&engine, &folder, "clean odd --check --metadata-file meta").run();
    assert_eq!(code, Some(1), "{stderr}");
    let clean = "clean\nnothing wrong\n\nCheck complete, no warnings found.\n\nodd\n\n\
                 Check complete, 1 warning has been found!\n";
    assert!(stdout.starts_with(clean) && stdout.contains("WARNING: FromAsCasing"), "{stdout}");
    assert!(json_of(&folder, "meta")["odd"]["result.json"]["warnings"].is_array());
    let (code, stdout, _) = Bake::bare(&engine, &folder, "clean --call=outline,format=json").run();
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, Some(0));
    assert_has(&answer["target"]["clean"], &json!({"build": {"call": "outline"}, "outline": {}}));
    // A base is not built to look at what goes on from it.
    folder.write("docker-bake.hcl", LINKS);
    folder.write("app.Dockerfile", "FROM base\nRUN true\n");
    let (code, stdout, stderr) = Bake::new(&engine, &folder, "app --check").run();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn attributes_mean_what_flags_mean() {
    let file = r#"target "default" {
  dockerfile-inline = <<EOT
FROM busybox AS wanted
ARG A
RUN --mount=type=secret,id=s --mount=type=secret,id=e,env=E \
  echo "$A $(cat /run/secrets/s) $E $(ulimit -n) $(grep -c '10.0.0.[12].*far' /etc/hosts)" >/out
FROM scratch
COPY --from=wanted /out /
LABEL never=1
EOT
  args = { A = "a,\"b\"" }
  secret = [{ id = "s", src = "secret" }, "id=e,env=VAR"]
  ulimits = ["nofile=123:456"]
  extra-hosts = { far = "10.0.0.1,10.0.0.2" }
  labels = { l = "v=w" }
  annotations = ["k=v"]
  tags = ["x:1", "x:2"]
  attest = [{ type = "provenance", disabled = true }]
  output = [{ type = "oci", dest = "with, comma.tar" }, "type=local,dest=out"]
  shm-size = "8m"
  no-cache-filter = ["wanted"]
}
target "policy" {
  inherits = ["default"]
  policy = ["filename=p.rego"]
}
"#;
    let folder = Folder::new(&[("docker-bake.hcl", file), ("secret", "hush")]);
    let engine = Engine::new();
    Bake::new(&engine, &folder, "").env("VAR", "var").ok();
    assert_eq!(folder.read("out/out"), "a,\"b\" hush var 123 2\n");
    let image = Image::open(&folder.join("with, comma.tar"));
    assert_has(&image.config, &json!({"config": {"Labels": {"l": "v=w", "never": "1"}}}));
    assert_eq!(image.manifest["annotations"]["k"], "v");
    let names: Vec<_> = image.index["manifests"].as_array().expect("a list").iter().collect();
    assert_eq!(names.len(), 2, "{}", image.index);
    Bake::new(&engine, &folder, "policy").fails(1, &["policy file p.rego not found"]);
    Bake::new(&engine, &folder, "policy --policy disabled=true").env("VAR", "var").ok();
    Bake::new(&engine, &folder, "--set *.network=odd").fails(1, &["network mode \"odd\" not supported"]);
    Bake::new(&engine, &folder, "--set *.context=none").fails(1, &["path \"none\" not found"]);
}

#[test]
fn docker_buildx_bake_as_compose_calls_it() {
    let folder = Folder::new(&[("f", "x")]);
    let engine = Engine::new();
    let definition = json!({
        "group": {"default": {"targets": ["app", "db"]}},
        "target": {
            "app": {"context": folder.path(), "dockerfile-inline": "FROM scratch\nCOPY f /$${x}\n", "tags": ["app"],
                    "output": ["type=image"]},
            "db": {"context": folder.path(), "dockerfile-inline": "FROM scratch\nCOPY f /db\n", "tags": ["db"],
                   "output": ["type=image"]},
        },
    });
    let mut command =
        engine.kiln(["buildx", "bake", "--file", "-", "--progress", "rawjson", "--metadata-file"]);
    command.arg0("docker-buildx").arg("meta").args(["--progress", "rawjson", "--allow"]);
    command.arg(format!("fs.read={}", folder.path().display()));
    let output: Output = output_of(&mut command, definition.to_string().as_bytes());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for line in stderr.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|l| l.is_object()), "{line}");
    }
    let meta = json_of(engine.home(), "meta");
    for name in ["app", "db"] {
        assert!(meta[name]["containerimage.digest"].is_string(), "{meta}");
        assert_eq!(meta[name]["image.name"], name);
    }
}

/// Images by what is in them: layers are packed by other means.
fn configs(folder: &Folder, names: &[&str]) -> BTreeMap<String, Value> {
    let config = |name: &&str| {
        let image = Image::open(&folder.join(&format!("{name}.tar")));
        std::fs::remove_file(folder.join(&format!("{name}.tar"))).expect("was there");
        ((*name).to_owned(), image.config)
    };
    names.iter().map(config).collect()
}

#[test]
fn images_are_those_of_buildx() {
    let (Some(buildx), Some(buildkit)) = (BuildKit::find("buildx"), BuildKit::start("")) else {
        println!("skipped: there is no buildx with buildkitd on PATH");
        return;
    };
    let file = r#"group "default" { targets = ["app", "one"] }
target "base" {
  dockerfile-inline = "FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\nENV ARCH=$TARGETARCH\n"
  platforms = ["linux/amd64", "linux/arm64"]
}
target "app" {
  dockerfile-inline = "FROM base\nCOPY f /app-$ARCH\nLABEL a=b\n"
  contexts = { base = "target:base" }
  output = ["type=oci,dest=app.tar"]
}
target "one" {
  dockerfile-inline = "FROM base\nCOPY f /one-$ARCH\n"
  contexts = { base = "target:base" }
  platforms = ["linux/arm64"]
  output = ["type=oci,dest=one.tar"]
}
"#;
    let folder = Folder::new(&[("docker-bake.hcl", file), ("f", "x")]);
    let engine = Engine::new();
    let words = ["--progress=plain", "--provenance=false"];
    let same = |command: &mut Command| {
        command.current_dir(folder.path()).env("SOURCE_DATE_EPOCH", "1700000000");
        run_tool(command, b"");
        configs(&folder, &["app", "one"])
    };
    let stock = |words: &[&str]| {
        let mut command = Command::new(&buildx);
        command
            .env("HOME", engine.home().path())
            .env("BUILDX_CONFIG", engine.home().join("buildx"))
            .args(words);
        command
    };
    run_tool(&mut stock(&["create", "--name", "stock", "--driver", "remote", &buildkit.address()]), b"");
    let expect = same(stock(&["--builder", "stock", "bake"]).args(words));
    assert_eq!(same(engine.kiln(["bake"]).args(words)), expect);
    // And with an engine of the other kind, which has all of it already.
    let mut command = engine.kiln(["--host", &buildkit.address(), "bake"]);
    command.args(words);
    assert_eq!(same(&mut command), expect);
}
