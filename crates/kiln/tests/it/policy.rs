//! Policies in Rego: of builds, of `kiln policy`; beside the real `buildx` where that is on PATH.

mod cases;

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{BuildKit, Engine, FileServer, Folder, Registry, list_tar, output_of, run_tool, tool};
use cases::{Case, DECISIONS};

/// A registry with an image, a server with files, a repository; and buildx with Kiln's engine as its builder.
struct World {
    engine: Engine,
    registry: Registry,
    files: Folder,
    server: FileServer,
    buildx: Folder,
}

impl World {
    fn new() -> Self {
        let (engine, registry) = (Engine::new(), Registry::open());
        let files = Folder::new(&[
            ("file", "content"),
            ("repo/a", "a"),
            ("repo/Dockerfile", "FROM scratch\nCOPY a /"),
        ]);
        let server = FileServer::start(&files);
        let world = World { engine, registry, files, server, buildx: Folder::new(&[]) };
        let image = Folder::with_dockerfile(
            "FROM scratch\nENV A=1\nLABEL l=v\nUSER 7\nVOLUME /b /a\nWORKDIR /w\nCOPY f /\n",
            &[("f", "x")],
        );
        let name = world.registry.name("base:1");
        let mode = "--provenance=mode=max";
        world.engine.build(&image).args(["--push", "-t", &name, mode, "--platform", "linux/amd64"]).ok();
        world.commit();
        world
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = tool("git");
        git.arg("-C").arg(self.files.join("repo")).args(words);
        for (name, value) in [("AUTHOR", "Ann"), ("COMMITTER", "Cy")] {
            git.env(format!("GIT_{name}_NAME"), value).env(format!("GIT_{name}_EMAIL"), "a@b.c");
            git.env(format!("GIT_{name}_DATE"), "1700000000 +0200");
        }
        String::from_utf8(run_tool(&mut git, b"")).expect("text").trim().to_owned()
    }

    fn commit(&self) {
        self.git(&["init", "-q", "-b", "main"]);
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", "first\n\nmore"]);
        self.git(&["tag", "-a", "-m", "tagged", "v1"]);
        self.git(&["update-server-info"]);
    }

    /// Names of what is here.
    fn fill(&self, text: &str) -> String {
        let text = text.replace("{image}", &self.registry.name("base"));
        let text = text.replace("{host}", &self.registry.host());
        let text = text.replace("{repo}", &self.server.url("repo/.git"));
        text.replace("{web}", self.server.url("").trim_end_matches('/'))
    }

    fn kiln(&self, folder: &Folder, words: &[&str]) -> Output {
        output_of(self.engine.kiln(words).current_dir(folder.path()), b"")
    }

    /// What buildx says with this engine, where there is a buildx.
    fn buildx(&self, folder: &Folder, words: &[&str]) -> Option<Output> {
        let program = BuildKit::find("buildx")?;
        let buildx = |words: &[&str]| {
            let mut command = Command::new(&program);
            command.args(words).env_clear().current_dir(folder.path());
            command.env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", self.buildx.path());
            command.env("BUILDX_CONFIG", self.buildx.join("config")).env("BUILDX_BUILDER", "here");
            command.env("DOCKER_HOST", "unix:///nope.sock");
            command
        };
        if !self.buildx.join("config").exists() {
            let address = format!("unix://{}", self.engine.root().join("engine.sock").display());
            run_tool(&mut buildx(&["create", "--driver", "remote", "--name", "here", &address]), b"");
        }
        Some(output_of(&mut buildx(words), b""))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The verdict: `ok`, what is denied, or another error.
fn verdict(output: &Output) -> String {
    let said = said(output);
    let last = said.lines().find_map(|line| line.strip_prefix("ERROR: ")).unwrap_or_default().to_owned();
    match output.status.success() {
        true => "ok".into(),
        false if last.starts_with("policy denied") => last,
        false => "error".into(),
    }
}

/// Pages with detached signatures of OpenPGP, by the kinds of keys that `gpg` makes.
#[test]
fn pages_have_to_be_signed() {
    let world = World::new();
    let folder = Folder::new(&[
        ("home/", ""),
        ("content", "content"),
        ("other", "other"),
        (
            "p.rego",
            "package docker\n\ndefault allow := false\n\n\
             allow if verify_http_pgp_signature(input.http, \"signature\", \"keys\")\n\n\
             decision := {\"allow\": allow, \"deny_msg\": []}\n",
        ),
    ]);
    let gpg = |words: &[&str]| {
        let mut gpg = tool("gpg");
        gpg.arg("--homedir").arg(folder.join("home")).args(["--batch", "--yes", "--passphrase", ""]);
        run_tool(gpg.args(words).current_dir(folder.path()), b"")
    };
    rustix::fs::chmod(folder.join("home"), rustix::fs::Mode::RWXU).expect("its own");
    let source = world.server.url("file");
    for kind in ["rsa2048", "ed25519"] {
        gpg(&["--quick-gen-key", kind, kind, "sign", "never"]);
    }
    let check = |key: &str, signer: &str, file: &str, expected: &str| {
        gpg(&["--armor", "-u", signer, "--output", "signature", "--detach-sign", file]);
        folder.write("keys", gpg(&["--armor", "--export", key]));
        let words = ["policy", "eval", "-f", "p", &source];
        let kiln = world.kiln(&folder, &words);
        assert_eq!(verdict(&kiln), expected, "{key} {signer} {file}\n{}", said(&kiln));
        if let Some(buildx) = world.buildx(&folder, &words) {
            assert_eq!(verdict(&buildx), expected, "{key} {signer} {file}\n{}", said(&buildx));
        }
    };
    for (one, other) in [("rsa2048", "ed25519"), ("ed25519", "rsa2048")] {
        check(one, one, "content", "ok");
        check(one, one, "other", "policy denied");
        check(one, other, "content", "policy denied");
    }
    let _ = tool("gpgconf").arg("--homedir").arg(folder.join("home")).args(["--kill", "all"]).status();
}

#[test]
fn decisions_are_those_of_buildx() {
    let world = World::new();
    for Case { policy, source, expected } in DECISIONS {
        let text = format!("package docker\n\ndefault allow := false\n\n{}\n", world.fill(policy));
        let decision = "decision := {\"allow\": allow, \"deny_msg\": [m | some m in deny_msg]}\n";
        let messages = if text.contains("deny_msg") { "" } else { "deny_msg := []\n" };
        let folder = Folder::new(&[
            ("p.rego", &format!("{text}{messages}{decision}")),
            ("list.json", "{\"l\": [\"v\"]}"),
        ]);
        let source = world.fill(source);
        let words = ["policy", "eval", "-f", "p", "--platform", "linux/amd64", &source];
        let kiln = world.kiln(&folder, &words);
        assert_eq!(verdict(&kiln), world.fill(expected), "{policy}\n{source}\n{}", said(&kiln));
        if let Some(buildx) = world.buildx(&folder, &words) {
            assert_eq!(
                verdict(&buildx),
                world.fill(expected),
                "buildx: {policy}\n{source}\n{}",
                said(&buildx)
            );
        }
    }
}

#[test]
fn inputs_are_those_of_buildx() {
    let world = World::new();
    let folder = Folder::new(&[]);
    for (source, fields) in [
        ("docker-image://{image}:1", ""),
        ("docker-image://{image}:1", "image.labels"),
        ("docker-image://{image}:1", "image.provenance"),
        ("docker-image://busybox", ""),
        ("{web}/file?a=1&a=2&b=%3C", ""),
        ("{web}/file", "http.checksum"),
        ("{repo}", ""),
        ("{repo}#main", "git.checksum"),
        ("{repo}#v1", "git.commit"),
        ("{repo}#refs/tags/v1:sub/", "git.tag,git.ref"),
        ("{repo}", "image.labels,git.none"),
        (".", ""),
    ] {
        let source = world.fill(source);
        let fields = format!("--fields={fields}");
        let mut words = vec!["policy", "eval", "--print", "--platform", "linux/amd64", &source];
        words.extend((fields != "--fields=").then_some(fields.as_str()));
        let kiln = world.kiln(&folder, &words);
        assert!(kiln.status.success(), "{source} {fields}\n{}", said(&kiln));
        let json: Value = serde_json::from_slice(&kiln.stdout).expect("JSON");
        assert!(json.is_object(), "{json}");
        if let Some(buildx) = world.buildx(&folder, &words) {
            let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text(&kiln), text(&buildx), "{source} {fields}\n{}", said(&buildx));
            for told in ["invalid fields", "unresolved fields"] {
                assert_eq!(
                    said(&kiln).contains(told),
                    said(&buildx).contains(told),
                    "{source} {fields} {told}"
                );
            }
        }
    }
}

const SUITE: [(&str, &str); 2] = [
    (
        "p.rego",
        "package docker\n\ndefault allow = false\n\nallow if input.image.repo == \"example/good\"\n\ndeny_msg contains msg if {\n\tnot allow\n\tmsg := \"bad\"\n}\n\ndecision := {\"allow\": allow, \"deny_msg\": deny_msg}\n",
    ),
    (
        "p_test.rego",
        "package docker\n\ntest_missing if {\n\tr := data.docker.decision with input as {\"image\": {}}\n\tr.allow\n}\n\ntest_denied if {\n\tr := data.docker.decision with input as {\"http\": {\"url\": \"u\"}}\n\tnot r.allow\n\tcount(r.deny_msg) == 1\n}\n\ntest_helper if {\n\tnot docker_github_builder_tag({\"hasProvenance\": true, \"signatures\": []}, \"a/b\", \"v1\")\n}\n",
    ),
];

#[test]
fn tests_of_policies_are_told_as_by_buildx() {
    let world = World::new();
    let folder = Folder::new(&SUITE);
    folder.add("image_test.rego", &world.fill("package docker\n\ntest_image if {\n\tr := data.docker.decision with input as {\"image\": {\"ref\": \"{image}:1\"}}\n\tr.allow\n}\n"));
    for words in [
        &["policy", "test", "--filename", "p", "."][..],
        &["policy", "test", "--filename", "p", "--run", "denied", "p_test.rego"],
        &["policy", "test", "--filename", "p", "--run", "nothing", "."],
        &["policy", "test", "--filename", "p", "p.rego"],
    ] {
        let kiln = world.kiln(&folder, words);
        let told = String::from_utf8_lossy(&kiln.stdout);
        let passed = words.contains(&"denied");
        assert_eq!(kiln.status.success(), passed, "{words:?}\n{}", said(&kiln));
        if words.len() == 5 && words[4] == "." {
            for line in [
                "test_missing: FAIL (allow=false, deny_msg=bad)",
                "missing_input: input.image.repo",
                "test_helper: PASS",
                "test_image: FAIL",
            ] {
                assert!(told.contains(line), "`{line}` is not in:\n{told}");
            }
        }
        if let Some(buildx) = world.buildx(&folder, words) {
            assert_eq!(told, String::from_utf8_lossy(&buildx.stdout), "{words:?}\n{}", said(&buildx));
            assert_eq!(kiln.status.code(), buildx.status.code(), "{words:?}");
        }
    }
}

const DENY_WEB: &str = "package docker\n\ndefault allow := true\n\nallow := false if input.http\n\ndeny_msg contains \"nothing from the web\" if input.http\n\ndecision := {\"allow\": allow, \"deny_msg\": deny_msg}\n";

#[test]
fn the_policy_beside_the_dockerfile_counts() {
    let world = World::new();
    let context = Folder::with_dockerfile(
        &world.fill("FROM scratch\nADD {web}/file /file"),
        &[("Dockerfile.rego", DENY_WEB), ("all.rego", "package docker\n\ndecision := {\"allow\": true}\n")],
    );
    let build = |args: &[&str]| world.engine.build(&context).args(args);
    let denied = ["Policy: nothing from the web", "not allowed by policy: action DENY", "Dockerfile:2"];
    build(&[]).fails(1, &denied);
    build(&["--policy", "filename=all.rego"]).fails(1, &denied);
    build(&["--progress=plain"]).fails(
        1,
        &[
            "loading policies",
            "Dockerfile.rego",
            "policy decision for source",
            "DENY",
            " - nothing from the web",
        ],
    );
    for args in [["--policy", "disabled=true"], ["--policy", "reset=true,filename=all.rego"]] {
        assert_eq!(list_tar(&build(&args).tar()), ["600 0:0 file 'content'"]);
    }
    build(&["--policy", "filename=none.rego"]).fails(1, &["policy file none.rego not found"]);
    build(&["--policy", "filename=../x.rego"]).fails(1, &["lies outside of"]);
    build(&["--policy", "disabled=true", "--policy", "strict=true"]).fails(1, &["cannot be combined"]);
    build(&["--policy", "strict=true,log-level=debug"]).fails(1, &denied);

    context.write("wrong.rego", "package docker\n\nallow if {\n\tinput.image.labels ==\n}\n");
    build(&["--policy", "reset=true,filename=wrong.rego"])
        .fails(1, &["wrong.rego:", "expecting expression", ">>>"]);
}

#[test]
fn images_are_judged_and_pinned() {
    let world = World::new();
    let image = world.registry.name("base:1");
    let digest = {
        let words =
            ["policy", "eval", "--print", "--fields=image.checksum", &format!("docker-image://{image}")];
        let output = world.kiln(&Folder::new(&[]), &words);
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        json["image"]["checksum"].as_str().expect("a digest").to_owned()
    };
    let context = Folder::with_dockerfile(&format!("FROM {image}\nCOPY f /g"), &[("f", "x")]);
    let build = |rule: &str| {
        let text = format!(
            "package docker\n\ndefault allow := false\n\nallow if not input.image\n\n{rule}\n\ndecision := {{\"allow\": allow}}\n"
        );
        context.write("Dockerfile.rego", text);
        world.engine.build(&context).args(["--progress=plain"])
    };
    build("allow if input.image.labels.l == \"v\"").ok();
    build("allow if input.image.labels.l == \"w\"")
        .fails(1, &["not allowed by policy", "resolve missing fields [image.labels]"]);
    build("allow if input.image.provenance.frontend == \"dockerfile.v0\"").ok();
    build("allow if { input.image.checksum; input.env.args.GO == \"1\" }").args(["--build-arg", "GO=1"]).ok();
    let pinned = build(&format!("allow if pin_image(input.image, {digest:?})")).ok();
    assert!(
        pinned.stderr.contains(&format!("convert to docker-image://{image}@{digest}")),
        "{}",
        pinned.stderr
    );
}

#[test]
fn a_context_elsewhere_has_its_policy() {
    let world = World::new();
    world.files.write("repo/Dockerfile.rego", "package docker\n\ndefault allow := false\n\nallow if input.env.target == \"t\"\n\ndecision := {\"allow\": allow}\n");
    world.files.write("repo/Dockerfile", "FROM scratch AS t\nCOPY a /");
    world.git(&["add", "."]);
    world.git(&["commit", "-q", "-m", "policy"]);
    world.git(&["update-server-info"]);
    let repository = world.fill("{repo}#main");
    world.engine.build_from(&repository).fails(1, &["not allowed by policy"]);
    assert_eq!(
        list_tar(&world.engine.build_from(&repository).args(["--target", "t"]).tar()),
        ["644 0:0 a 'a'"]
    );

    let here = Folder::new(&[("own.rego", "package docker\n\ndecision := {\"allow\": true}\n")]);
    let flag = ["--policy", "reset=true,filename=cwd://own.rego"];
    let mut build = world.engine.kiln(["build", "-o", "type=cacheonly"]);
    build.args(flag).arg(&repository).current_dir(here.path());
    run_tool(&mut build, b"");
}

#[test]
fn targets_of_a_bake_have_policies() {
    let world = World::new();
    let file = world.fill("target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nADD {web}/file /\"\n  policy = [{ filename = \"deny.rego\" }]\n  output = [\"type=cacheonly\"]\n}\ntarget \"free\" {\n  inherits = [\"default\"]\n  policy = [\"reset=true,filename=all.rego\"]\n}\n");
    let folder = Folder::new(&[
        ("docker-bake.hcl", &file),
        ("deny.rego", DENY_WEB),
        ("all.rego", "package docker\n\ndecision := {\"allow\": true}\n"),
    ]);
    for (words, passes) in [
        ("bake", false),
        ("bake free", true),
        ("bake --policy disabled=true", true),
        ("bake --set *.policy=filename=all.rego", true),
        ("bake --set *.policy+=filename=all.rego", false),
        ("bake --policy strict=true", false),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let kiln = world.kiln(&folder, &words);
        assert_eq!(kiln.status.success(), passes, "{words:?}\n{}", said(&kiln));
        assert!(passes || said(&kiln).contains("Policy: nothing from the web"), "{}", said(&kiln));
        if let Some(buildx) = world.buildx(&folder, &words) {
            assert_eq!(buildx.status.success(), passes, "buildx {words:?}\n{}", said(&buildx));
        }
    }
    let refused = world.kiln(&folder, &["bake", "--policy", "filename=a"]);
    assert!(said(&refused).contains("--policy does not accept filename"), "{}", said(&refused));
}

#[test]
fn buildkit_asks_the_policy_too() {
    let world = World::new();
    let config = format!("[registry.\"{}\"]\nhttp = true\n", world.registry.host());
    let Some(buildkit) = BuildKit::start(&config) else { return };
    let context = Folder::with_dockerfile(
        &world.fill("FROM {image}:1\nADD {web}/file /file"),
        &[("Dockerfile.rego", DENY_WEB)],
    );
    let build = |args: &[&str]| {
        let mut words = vec!["build", "--progress=plain", "-o", "type=cacheonly", "."];
        words.extend(args);
        let mut command = world.engine.kiln(words);
        output_of(command.env("KILN_HOST", buildkit.address()).current_dir(context.path()), b"")
    };
    let denied = build(&["--policy", "strict=true"]);
    assert!(!denied.status.success());
    for told in ["Policy: nothing from the web", "not allowed by policy"] {
        assert!(said(&denied).contains(told), "{}", said(&denied));
    }
    context.write("Dockerfile.rego", "package docker\n\ndefault allow := true\n\nallow := false if input.image.labels.l != \"v\"\n\nallow := false if {\n\tinput.http\n\tnot startswith(input.http.checksum, \"sha256:\")\n}\n\ndecision := {\"allow\": allow}\n");
    let allowed = build(&[]);
    assert!(allowed.status.success(), "{}", said(&allowed));
}
