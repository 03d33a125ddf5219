//! Policies over sources of which more and more becomes known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use errdefs::{Error, Result};
use oci::Platform;
use policy::{
    Answer, Blob, Caps, Chain, Env, File, GitMeta, Host, HttpMeta, ImageMeta, Known, Level, Policy, Question,
    Request, Signed, Source, Suite, TestResult,
};

const CONFIG: &str = r#"{"created":"2024-05-01T10:20:30.4567Z","config":{"Labels":{"l":"v"},"Env":["A=1"],"User":"me",
    "Volumes":{"/b":{},"/a":{}},"WorkingDir":"/w"}}"#;
const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const PIN: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// An engine in which everything is there.
#[derive(Default)]
struct World {
    files: BTreeMap<&'static str, String>,
    lines: Mutex<Vec<String>>,
    signed_image: bool,
}

impl World {
    fn known(&self, question: &Question) -> Known {
        let mut known = Known { source: question.source.clone(), ..Known::default() };
        if let Some(image) = &question.image {
            known.image = Some(ImageMeta {
                digest: DIGEST.into(),
                config: if image.config { CONFIG.into() } else { Vec::new() },
                chain: image.chain.then(|| self.chain()),
            });
        }
        if question.git.is_some() {
            known.git = Some(GitMeta {
                reference: "refs/heads/main".into(),
                checksum: "c".repeat(40),
                ..GitMeta::default()
            });
        }
        if question.source.identifier.starts_with("http") {
            known.http = Some(HttpMeta { checksum: DIGEST.into(), with_suffix: None });
        }
        known
    }

    fn chain(&self) -> Chain {
        let materials = r#"[{"uri":"pkg:docker/alpine@3.20?platform=linux%2Famd64","digest":{"sha256":"3333333333333333333333333333333333333333333333333333333333333333"}},
            {"uri":"odd:thing"},{"uri":"https://example.com/a.tar"}]"#;
        let statement = format!(
            r#"{{"predicateType":"https://slsa.dev/provenance/v0.2","predicate":{{"buildType":"t","builder":{{"id":"b"}},
                "invocation":{{"configSource":{{"entryPoint":"Dockerfile"}},"parameters":{{"frontend":"dockerfile.v0","args":{{"build-arg:A":"1","cmdline":"x"}}}}}},
                "metadata":{{"buildInvocationID":"i","buildStartedOn":"2024-01-02T03:04:05.6Z","completeness":{{"parameters":true}}}},"materials":{materials}}}}}"#
        );
        let kind = ("in-toto.io/predicate-type".to_owned(), "https://slsa.dev/provenance/v0.2".to_owned());
        let blob = Blob { annotations: BTreeMap::from([kind]), data: statement.into_bytes() };
        Chain {
            attestation_manifest: PIN.into(),
            signature_manifests: self.signed_image.then(|| PIN.to_owned()).into_iter().collect(),
            blobs: BTreeMap::from([(DIGEST.to_owned(), blob)]),
        }
    }
}

impl Host for World {
    fn read(&self, path: &str, _: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.files.get(path).map(|text| text.clone().into_bytes()))
    }

    fn verify(&self, _: &Signed, _: &[u8]) -> Result<()> {
        Err(Error::user("nobody signed"))
    }

    fn ask(&self, question: &Question) -> Result<Known> {
        Ok(self.known(question))
    }

    fn log(&self, _: Level, text: &str) {
        self.lines.lock().expect("nobody panics").push(text.to_owned());
    }

    fn hears(&self, level: Level) -> bool {
        level <= Level::Info
    }
}

fn policy_of(text: &str, world: &Arc<World>) -> Policy {
    let file = File { name: "Dockerfile.rego".into(), data: text.as_bytes().to_vec() };
    let env = Env {
        args: BTreeMap::from([("ARG".to_owned(), Some("x".to_owned()))]),
        filename: "Dockerfile".into(),
        target: "final".into(),
        ..Env::default()
    };
    Policy::new(
        vec![file],
        env,
        Some(Platform::new("linux", "amd64", "")),
        Arc::clone(world) as Arc<dyn Host>,
    )
}

/// What a policy says at last, and what it asked for: `ALLOW`, `config ALLOW`, `DENY: a; b`.
fn judge(text: &str, source: &str, world: &Arc<World>) -> String {
    let policy = policy_of(text, world);
    let source = Source { identifier: source.to_owned(), attrs: BTreeMap::new() };
    let mut request = Request { known: Known { source, ..Known::default() }, platform: None };
    let mut told = String::new();
    for _ in 0..10 {
        match policy.check(&request) {
            Err(e) => return format!("{told}error: {e}"),
            Ok(Answer::Allow) => return format!("{told}ALLOW"),
            Ok(Answer::Convert(source)) => return format!("{told}{}", source.identifier),
            Ok(Answer::Deny { messages }) if messages.is_empty() => return format!("{told}DENY"),
            Ok(Answer::Deny { messages }) => return format!("{told}DENY: {}", messages.join("; ")),
            Ok(Answer::Ask(question)) => {
                let image = question.image.clone().unwrap_or_default();
                let parts = [
                    (image.config, "config"),
                    (image.chain, "chain"),
                    (question.git.is_some_and(|git| !git.objects), "git"),
                    (question.git.is_some_and(|git| git.objects), "objects"),
                    (question.source.identifier.starts_with("http"), "page"),
                ];
                let parts: Vec<_> = parts.iter().filter(|(asked, _)| *asked).map(|(_, name)| *name).collect();
                told.push_str(&format!("{} ", parts.join("+")));
                request.known = world.known(&question);
            }
        }
    }
    format!("{told}no end")
}

fn check(body: &str, source: &str, expected: &str) {
    let text =
        format!("package docker\n\ndefault allow := false\n{body}\ndecision := {{\"allow\": allow}}\n");
    assert_eq!(judge(&text, source, &Arc::default()), expected, "{body}");
}

const IMAGE: &str = "docker-image://docker.io/library/alpine:3.20";

#[test]
fn only_what_is_read_is_asked_for() {
    check("allow if input.image.repo == \"alpine\"", IMAGE, "ALLOW");
    check("allow if { input.image.repo == \"busybox\"; input.image.labels.l == \"v\" }", IMAGE, "DENY");
    check(
        "allow if { input.image.repo == \"alpine\"; input.image.labels.l == \"v\" }",
        IMAGE,
        "config ALLOW",
    );
    check("allow if input.image[\"labels\"].l == \"v\"", IMAGE, "config ALLOW");
    check("allow if not input.image.labels.m", IMAGE, "config ALLOW");
    check("allow if { some e in input.image.env; e == \"A=1\" }", IMAGE, "config ALLOW");
    check("allow if input.image.env[_] == \"A=1\"", IMAGE, "config ALLOW");
    check("allow if input.image.volumes == [\"/a\", \"/b\"]", IMAGE, "config ALLOW");
    check(
        "allow if { input.image.user == \"me\"; input.image.createdTime == \"2024-05-01T10:20:30Z\" }",
        IMAGE,
        "config ALLOW",
    );
    check("allow if { img := input.image; img.workingDir == \"/w\" }", IMAGE, "config ALLOW");
    check("f(image) if image.labels.l == \"v\"\nallow if f(input.image)", IMAGE, "config ALLOW");
    check("allow if count([l | l := input.image.labels[_]]) == 1", IMAGE, "config ALLOW");
    check("allow if { input.image.hasProvenance; input.image.labels.l }", IMAGE, "chain config+chain ALLOW");
    check("allow if input.image.checksum == \"sha256:0\"", IMAGE, "config DENY");
    check("allow if input.http.checksum", IMAGE, "DENY");
    let pinned = format!("{IMAGE}@{PIN}");
    check(
        &format!("allow if {{ input.image.isCanonical; input.image.checksum == {PIN:?} }}"),
        &pinned,
        "ALLOW",
    );
    check("allow if input.http.checksum == \"sha256:0\"", "https://example.com/a", "page DENY");
    check("allow if input.git.branch == \"main\"", "git://github.com/a/b.git", "git ALLOW");
    check("allow if input.git.branch == \"x\"", "git://github.com/a/b.git#refs/heads/x", "ALLOW");
    check("allow if input.image.labels", "local://context", "DENY");
}

#[test]
fn materials_are_found_out_one_by_one() {
    check("allow if count(input.image.provenance.materials) == 2", IMAGE, "chain ALLOW");
    check("allow if input.image.provenance.materials[0].image.repo == \"alpine\"", IMAGE, "chain ALLOW");
    check("allow if input.image.provenance.materials[0].image.labels.l == \"v\"", IMAGE, "chain ALLOW");
    check("allow if input.image.provenance.materials[_].image.labels.l == \"v\"", IMAGE, "chain ALLOW");
    check(
        "allow if { some m in input.image.provenance.materials; m.image.labels.l == \"v\" }",
        IMAGE,
        "chain ALLOW",
    );
    check(
        "allow if { some m in input.image.provenance.materials; m.http.checksum; m.env.depth == 1 }",
        IMAGE,
        "chain ALLOW",
    );
    check("allow if input.image.provenance.buildArgs == {\"A\": \"1\"}", IMAGE, "chain ALLOW");
    check(
        "allow if { p := input.image.provenance; p.configSource.path == \"Dockerfile\"; p.startedOn == \"2024-01-02T03:04:05Z\"; not p.completeness.materials }",
        IMAGE,
        "chain ALLOW",
    );
}

#[test]
fn the_build_is_seen() {
    check(
        "allow if { input.env.args.ARG == \"x\"; input.env.filename == \"Dockerfile\"; input.env.target == \"final\" }",
        IMAGE,
        "ALLOW",
    );
    check("allow if { input.env.depth == 0; not input.env.capsRequest }", "local://context", "ALLOW");
    check("allow if input.local.name == \"context\"", "local://context", "ALLOW");
}

#[test]
fn sources_are_cut_into_fields() {
    let git = "git://github.com/moby/buildkit.git#refs/tags/v1:sub/dir/";
    for (test, source) in [
        (
            "input.image == {\"ref\": \"docker.io/library/alpine:3.20\", \"host\": \"docker.io\", \"repo\": \"alpine\", \"fullRepo\": \"docker.io/library/alpine\", \"tag\": \"3.20\", \"platform\": \"linux/amd64\", \"os\": \"linux\", \"arch\": \"amd64\"}",
            IMAGE,
        ),
        (
            "input.http == {\"url\": \"https://u@h:8/a%20b?q=1&q=2&r=x+y\", \"schema\": \"https\", \"host\": \"h:8\", \"path\": \"/a b\", \"query\": {\"q\": [\"1\", \"2\"], \"r\": [\"x y\"]}}",
            "https://u@h:8/a%20b?q=1&q=2&r=x+y",
        ),
        (
            "input.git == {\"schema\": \"https\", \"host\": \"github.com\", \"remote\": \"https://github.com/moby/buildkit.git\", \"tagName\": \"v1\", \"ref\": \"refs/tags/v1\", \"subDir\": \"sub/dir\"}",
            git,
        ),
        (
            "{input.git.isCommitRef, input.git.schema, input.git.host} == {true, \"ssh\", \"h.org\"}",
            "git://git@h.org:a/b.git#cccccccccccccccccccccccccccccccccccccccc",
        ),
    ] {
        check(&format!("allow if {test}"), source, "ALLOW");
    }
    let world = Arc::default();
    let any = "package docker\ndecision := {\"allow\": true}";
    assert_eq!(
        judge(any, "oci-layout://a", &world),
        "error: failed to build policy input: unsupported source scheme: oci-layout"
    );
    assert!(judge(any, "docker-image://A B", &world).contains("failed to parse image source reference"));
}

#[test]
fn functions_that_rego_has_not() {
    let mut world = World::default();
    world.files.insert("list.json", r#"{"repos":["alpine"]}"#.into());
    world.files.insert("bad.json", "{".into());
    world.files.insert("lib/names.rego", "package any\n\ngood(name) if name in {\"alpine\"}\n".into());
    let world = Arc::new(world);
    let run = |body: &str, expected: &str| {
        let text =
            format!("package docker\n{body}\ndefault allow := false\ndecision := {{\"allow\": allow}}");
        assert_eq!(judge(&text, IMAGE, &world), expected, "{body}");
    };
    run("allow if input.image.repo in load_json(\"list.json\").repos", "ALLOW");
    run("allow if not load_json(\"none.json\")", "ALLOW");
    run("allow if not load_json(\"bad.json\")", "ALLOW");
    run("import data.lib.names\nallow if names.good(input.image.repo)", "ALLOW");
    run(
        "import data.lib.none\nallow if true",
        "error: Dockerfile.rego:2: import data.lib.none not found: there is no `lib/none.rego`",
    );
    run(&format!("allow if pin_image(input.image, {PIN:?})"), &format!("{IMAGE}@{PIN}"));
    run(&format!("allow if pin_image({{}}, {PIN:?})"), "DENY");
    run("allow if pin_image(input.image, \"latest\")", "DENY");
    run(
        &format!("allow if {{ pin_image(input.image, {PIN:?}); pin_image(input.image, {DIGEST:?}) }}"),
        &format!("error: multiple image pins set to {IMAGE}: {DIGEST}, {PIN}"),
    );
    run("allow if not verify_git_signature(input.image, \"key\")", "ALLOW");
    run("allow if not artifact_attestation(input.http, \"bundle\")", "ALLOW");
    run("allow if regex.match(`^al`, input.image.repo)", "ALLOW");
    run(
        "allow if { semver.compare(\"1.2.0\", \"1.10.0\") == -1; time.now_ns() > 0; glob.match(\"al*\", [], input.image.repo) }",
        "ALLOW",
    );
    let text = "package docker\ndecision := {\"allow\": true} if artifact_attestation(input.http, \"b\")";
    assert!(
        judge(text, "https://h/a", &world)
            .contains("artifact_attestation: Kiln cannot verify signatures of Sigstore")
    );
    let text = "package docker\ndecision := {\"allow\": true} if github_release_attestation(input.http)";
    assert!(
        judge(text, "https://github.com/a/b/releases/download/v1/f", &world)
            .contains("github_release_attestation: Kiln cannot")
    );
}

#[test]
fn signatures_that_nobody_checks_do_not_look_like_none() {
    let text = "package docker\ndecision := {\"allow\": docker_github_builder(input.image, \"a/b\")}\n";
    let told = judge(text, IMAGE, &Arc::new(World { signed_image: true, ..World::default() }));
    assert!(told.starts_with("chain error: the policy reads `input.image.signatures`"), "{told}");
    let text = "package docker\ndefault allow := false\nallow if docker_github_builder(input.image, \"a/b\")\ndecision := {\"allow\": allow}";
    assert_eq!(judge(text, IMAGE, &Arc::default()), "chain DENY");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = |body: &str| {
        let text = format!("package docker\n{body}\ndecision := {{\"allow\": true, \"x\": [y | y := x]}}");
        let world = Arc::default();
        let request = Request {
            known: Known {
                source: Source { identifier: IMAGE.into(), ..Source::default() },
                ..Known::default()
            },
            platform: None,
        };
        let error = policy_of(&text, &world).check(&request).unwrap_err();
        let column = error.source_location().map(|place| place.ranges[0].start.character);
        (error.to_string(), column)
    };
    assert_eq!(told("x if { input.a == }"), ("Dockerfile.rego:2: expecting expression".into(), Some(18)));
    assert_eq!(
        told("x if nothing(1)"),
        ("Dockerfile.rego:2: could not find function nothing".into(), Some(12))
    );
    assert_eq!(told("x if { not input.image.labels; nothing(1) }").1, Some(38));
    assert_eq!(
        told("x := f(1)\nf(a) := g(a)\ng(a) := f(a)").0,
        "Dockerfile.rego:3: function data.docker.f is recursive: data.docker.f -> data.docker.g -> data.docker.f"
    );
    assert!(told("x if { input.image }\nx { true }").0.contains("`if` keyword is required"));
    assert!(
        told("x := 1\nx := 2")
            .0
            .contains("Dockerfile.rego:3: rule conflicts with rule at Dockerfile.rego:2:1")
    );
    assert!(
        told(&format!("x := {}1{}", "(".repeat(100), ")".repeat(100))).0.contains("more than 64 brackets")
    );
    assert_eq!(
        judge("package docker\nallow := true", IMAGE, &Arc::default()),
        "error: policy returned zero result"
    );
}

#[test]
fn hostile_policies_end() {
    let run = |body: &str| {
        judge(
            &format!("package docker\ndecision := {{\"allow\": true, \"x\": x}}\n{body}"),
            IMAGE,
            &Arc::default(),
        )
    };
    let told =
        run("x if { some i in numbers.range(1, 900000); some j in numbers.range(1, 900000); i * j == -1 }");
    assert_eq!(told, "error: the policy was not through after 10 seconds");
    assert!(run("x := count(numbers.range(1, 1000000000))").contains("more than 1000000 numbers"));
}

#[test]
fn the_log_is_that_of_buildx() {
    let world = Arc::new(World::default());
    let text = "package docker\ndefault allow := false\nallow if { print(\"see\", input.image.repo); input.image.labels.no }\ndeny_msg contains \"no label\"\ndecision := {\"allow\": allow, \"deny_msg\": deny_msg}";
    assert_eq!(judge(text, IMAGE, &world), "config DENY: no label");
    let lines = world.lines.lock().unwrap().join("\n");
    assert_eq!(
        lines,
        format!(
            "checking policy for source {IMAGE}\npolicy decision for source {IMAGE}: resolve missing fields [image.labels]\n\
             checking policy for source {IMAGE}\nDockerfile.rego:3: see alpine\npolicy decision for source {IMAGE}: DENY\n - no label"
        )
    );
}

#[test]
fn a_policy_may_ask_for_a_proxy() {
    let text = "package docker\ndefault caps := {}\ncaps := {\"exec.proxy\": true} if input.env.capsRequest\ndecision := {\"allow\": true, \"caps\": caps}";
    let caps = policy_of(text, &Arc::default()).caps().unwrap();
    assert_eq!(caps, Caps::from([("exec.proxy".to_owned(), true)]));
}

fn suite(policy: &str, tests: &str, run: &str) -> Result<Vec<TestResult>> {
    let file = |name: &str, text: &str| File { name: name.into(), data: text.as_bytes().to_vec() };
    let suite =
        Suite::load(file("p.rego", policy), &[file("p_test.rego", tests)], run, Arc::new(World::default()))?;
    suite.run(&mut || Ok(Platform::new("linux", "amd64", "")))
}

#[test]
fn tests_of_policies_run() {
    let policy = "package docker\ndefault allow = false\nallow if input.image.repo == \"example/good\"\nallow if input.image.labels.l == \"v\"\ndeny_msg[msg] if {\n not allow\n msg := \"bad\"\n}\ndecision := {\"allow\": allow, \"deny_msg\": deny_msg}\n";
    let tests = "package docker\ntest_a if {\n r := data.docker.decision with input as {\"image\": {}}\n r.allow\n}\ntest_b if {\n r := data.docker.decision with input as {\"image\": {\"repo\": \"example/good\"}}\n r.allow\n count(r.deny_msg) == 0\n}\ntest_c if docker_github_builder_signature({}, \"x\")\ntest_d(x) if true\nother if true\n";
    let results = suite(policy, tests, "").unwrap();
    let told: Vec<_> = results.iter().map(|r| (r.name.as_str(), r.passed)).collect();
    assert_eq!(told, [("test_a", false), ("test_b", true), ("test_c", false)]);
    assert_eq!(results[0].missing, ["image.labels", "image.repo"]);
    assert_eq!(results[0].decision.as_ref().unwrap().allow, Some(false));
    // The image of the test was asked for.
    let seen = serde_json::to_value(&results[1].input).unwrap();
    assert_eq!(seen["image"]["labels"]["l"], "v");
    assert_eq!(suite(policy, tests, "b").unwrap().len(), 1);
    assert_eq!(suite(policy, tests, "none").unwrap_err().to_string(), "no tests found");
}
