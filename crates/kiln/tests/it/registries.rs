//! Images that come from registries and go there.

use serde_json::json;

use crate::harness::{
    Engine, Fault, FaultyProxy, Folder, Image, LOGIN, Layout, Passed, Registry, assert_has, busybox,
    run_tool, tool,
};

/// Reads an image back from a registry with skopeo.
pub fn copy_back(registry: &Registry, name: &str, login: &[&str]) -> (Folder, Image) {
    let folder = Folder::new(&[]);
    let from = format!("docker://{}", registry.name(name));
    let to = format!("oci:{}:x", folder.join("layout").display());
    let mut skopeo = tool("skopeo");
    skopeo.args(["copy", "-q", "--src-tls-verify=false"]).args(login).args([&from, &to]);
    run_tool(&mut skopeo, b"");
    let image = Image::read(&folder.join("layout"));
    (folder, image)
}

/// Puts the base image into a registry.
pub fn fill(registry: &Registry, name: &str, login: &[&str]) {
    fill_with(&busybox(), registry, name, login);
}

fn fill_with(image: &Layout, registry: &Registry, name: &str, login: &[&str]) {
    let from = format!("oci:{}:latest", image.path().display());
    let mut skopeo = tool("skopeo");
    skopeo.args(["copy", "-q", "--dest-tls-verify=false"]).args(login);
    run_tool(skopeo.args([&from, &format!("docker://{}", registry.name(name))]), b"");
}

/// Docker's configuration after `docker login`.
fn logged_in(registry: &Registry) -> String {
    let login = run_tool(tool("base64").arg("-w0"), LOGIN.as_bytes());
    json!({"auths": {registry.host(): {"auth": String::from_utf8_lossy(&login)}}}).to_string()
}

#[test]
fn pull_and_push() {
    let engine = Engine::new();
    let registry = Registry::open();
    fill(&registry, "base:1", &[]);
    let dockerfile = format!("FROM {}\nRUN echo new > /new\nLABEL a=b", registry.name("base:1"));
    let context = Folder::with_dockerfile(&dockerfile, &[]);
    let metadata = engine.home().join("metadata");
    // What is said of an image makes it an index.
    let args = ["--metadata-file", metadata.to_str().expect("UTF-8"), "--push", "--provenance=false"];
    engine
        .build(&context)
        .args(["-t", &registry.name("app:1"), "-t", &registry.name("app:2")])
        .args(args)
        .ok();

    let (_folder, image) = copy_back(&registry, "app:2", &[]);
    assert_has(&image.config, &json!({"config": {"Labels": {"a": "b"}, "Cmd": ["sh"]}}));
    assert_eq!(image.layer(1), ["644 0:0 new 'new\\n'"]);
    let metadata: serde_json::Value = serde_json::from_str(&engine.home().read("metadata")).expect("JSON");
    assert_has(
        &metadata,
        &json!({
            "containerimage.digest": image.digest(),
            "image.name": format!("{},{}", registry.name("app:1"), registry.name("app:2")),
        }),
    );

    // By digest; and as another engine finds it, which has nothing yet.
    let other = Engine::new();
    let dockerfile = format!("FROM {}@{}\nRUN cat /new > /again", registry.name("app"), image.digest());
    let again = other.build(&Folder::with_dockerfile(&dockerfile, &[])).image();
    assert_eq!(again.layer(2), ["644 0:0 again 'new\\n'"]);
    assert_eq!(again.config["rootfs"]["diff_ids"][1], image.config["rootfs"]["diff_ids"][1]);
}

#[test]
fn an_image_is_named_in_other_ways() {
    let engine = Engine::new();
    let registry = Registry::open();
    fill(&registry, "base:latest", &[]);
    let base = registry.name("base");
    let image = |dockerfile: &str, args: &[&str]| {
        engine.build(&Folder::with_dockerfile(dockerfile, &[])).args(args).image()
    };
    let context = format!("some-image=docker-image://{base}");
    let built = image("FROM some-image\nRUN echo 1 > /f", &["--build-context", &context]);
    assert_eq!(built.layer(1), ["644 0:0 f '1\\n'"]);
    let built = image(&format!("FROM scratch\nCOPY --from={base} /etc/group /"), &[]);
    assert!(built.layer(0)[0].starts_with("644 0:0 group "));
    let built = image(
        &format!("ARG BASE\nFROM $BASE\nRUN --mount=from={base},target=/m ls /m/etc > /f"),
        &["--build-arg", &format!("BASE={base}")],
    );
    assert_eq!(built.layer(1), ["644 0:0 f 'group\\npasswd\\n'"]);
}

#[test]
fn a_registry_that_wants_a_login() {
    let engine = Engine::new();
    let registry = Registry::with_login();
    let creds = ["--src-creds", LOGIN];
    fill(&registry, "base:1", &["--dest-creds", LOGIN]);
    let context = Folder::with_dockerfile(&format!("FROM {}\nRUN touch /x", registry.name("base:1")), &[]);
    let push = || engine.build(&context).args(["--push", "-t", &registry.name("private/app:1")]);

    push().fails(1, &["Dockerfile:1", &registry.name("base:1"), "may require authorization"]);
    engine.write_docker_config(&logged_in(&registry));
    push().ok();
    let (_folder, image) = copy_back(&registry, "private/app:1", &creds);
    assert_eq!(image.layer(1), ["644 0:0 x ''"]);

    // A login that was taken back; the base is at hand, the push is refused.
    engine.write_docker_config("{}");
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /", &[]);
    let refused = engine.build(&context);
    refused
        .args(["--push", "-t", &registry.name("private/app:2")])
        .fails(1, &["failed to push", "private/app"]);
}

#[test]
fn a_credential_helper() {
    let engine = Engine::new();
    let registry = Registry::with_login();
    fill(&registry, "base:1", &["--dest-creds", LOGIN]);
    let (user, password) = LOGIN.split_once(':').expect("a name and a password");
    let answer = json!({"ServerURL": registry.host(), "Username": user, "Secret": password});
    let helpers = Folder::new(&[(
        "+x docker-credential-tests",
        &format!("#!/bin/sh\ncat > /dev/null\necho '{answer}'\n"),
    )]);
    engine.write_docker_config(&json!({"credHelpers": {registry.host(): "tests"}}).to_string());
    let context = Folder::with_dockerfile(&format!("FROM {}\nRUN touch /x", registry.name("base:1")), &[]);
    let path = format!("{}:/usr/bin:/bin", helpers.path().display());
    engine.build(&context).env("PATH", &path).args(["-otype=tar,dest=/dev/null"]).ok();
}

#[test]
fn what_registries_may_refuse() {
    let engine = Engine::new();
    let registry = Registry::open();
    fill(&registry, "base:1", &[]);
    let fails = |base: &str, told: &[&str]| {
        let context = Folder::with_dockerfile(&format!("# first\nFROM {base}\nRUN true"), &[]);
        let built = engine.build(&context).args(["-otype=tar,dest=/dev/null"]).fails(1, told);
        assert!(built.stderr.contains("Dockerfile:2"), "{}", built.stderr);
    };
    fails(
        &registry.name("base:missing"),
        &["failed to resolve source metadata for", &registry.name("base:missing"), "not found"],
    );
    fails(&registry.name("nothing:1"), &["not found"]);
    let digest = oci::Digest::of("nothing");
    fails(&format!("{}@{digest}", registry.name("base")), &["not found"]);
    // Nobody listens on port 1.
    fails("127.0.0.1:1/a:1", &["127.0.0.1:1/a:1", "refused"]);
}

/// What is fetched is what some step reads.
#[test]
fn layers_that_no_step_reads_are_not_fetched() {
    let registry = Registry::open();
    let proxy = FaultyProxy::start(&registry, |_, _| Fault::Nothing);
    let packed = |path: &str| {
        let folder = Folder::new(&[(path, "other")]);
        run_tool(tool("tar").args(["--owner=0", "--group=0", "-c", "-C"]).arg(folder.path()).arg("."), b"")
    };
    let other = Layout::new(&[&packed("etc/group"), &packed("more")], json!({"Env": ["A=other"]}));
    fill(&registry, "base:1", &[]);
    fill_with(&other, &registry, "other:1", &[]);
    let digests = |image: &Layout| {
        let paths = Image::read(image.path()).layer_paths();
        paths
            .iter()
            .map(|p| p.file_name().expect("a name").to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let (base, other) = (digests(&busybox()), digests(&other));
    let names = (proxy.name("base:1"), proxy.name("other:1"));
    let dockerfiles = [
        format!("FROM {}\nLABEL a=b", names.0),
        format!("FROM {} AS unused\nRUN true\nFROM {}\nENV B=$A", names.0, names.1),
        format!("FROM {}\nCOPY --link --from={} /etc/group /group", names.0, names.1),
    ];
    let push = format!("type=image,push=true,name={}", proxy.name("app:1"));
    for (number, output, read) in [
        (0, push.as_str(), &[][..]),
        (0, "type=cacheonly", &[]),
        (1, push.as_str(), &[]),
        (1, "type=cacheonly", &[]),
        (2, push.as_str(), &other),
    ] {
        let engine = Engine::new();
        let context = Folder::with_dockerfile(&dockerfiles[number], &[]);
        engine.build(&context).args(["--output", output]).ok();
        let passed = proxy.take_passed();
        let is_read = |digest: &&String| {
            passed
                .iter()
                .any(|p| p.line.starts_with("GET") && p.line.ends_with(digest.as_str()) && p.bytes > 0)
        };
        let fetched: Vec<_> = base.iter().chain(&other).filter(is_read).collect();
        assert_eq!(fetched, read.iter().collect::<Vec<_>>(), "{} {output}: {passed:?}", dockerfiles[number]);
        // Manifests and configs are small.
        let small: usize =
            passed.iter().filter(|p| !is_layer(&p.line, &[&base, &other])).map(|p| p.bytes).sum();
        assert!(small < 20_000, "{passed:?}");
    }
    // What was pushed is whole: the registry took the layers from the repository that had them.
    let (_folder, image) = copy_back(&registry, "app:1", &[]);
    assert_eq!(image.layer_paths().len(), 2);
}

/// What a repository had a moment ago it has still; where it has not, it gets all again.
#[test]
fn blobs_that_were_just_pushed_are_not_asked_for() {
    let engine = Engine::new();
    let registry = Registry::open();
    let proxy = FaultyProxy::start(&registry, |_, _| Fault::Nothing);
    let context = Folder::with_dockerfile("FROM scratch\nCOPY kept /\nCOPY changed /", &[("kept", "k")]);
    let push = |text: &str| {
        context.write("changed", text);
        engine.build(&context).args(["--push", "-t", &proxy.name("app:1")]).ok();
        let (folder, image) = copy_back(&registry, "app:1", &[]);
        assert_eq!(image.layer(1), [format!("644 0:0 changed '{text}'")]);
        drop(folder);
        (image, proxy.take_passed())
    };
    let (first, _) = push("one");
    let kept = first.manifest["layers"][0]["digest"].as_str().expect("a digest").to_owned();
    let sent = |passed: &[Passed]| passed.iter().filter(|p| p.line.starts_with("POST")).count();
    let (second, passed) = push("two");
    assert_eq!(second.manifest["layers"][0]["digest"], kept);
    // The other layer, the config, and what is said of the image.
    assert_eq!(sent(&passed), 3, "{passed:?}");
    assert!(passed.iter().all(|p| !p.line.starts_with("HEAD /v2/app/blobs")), "{passed:?}");

    registry.lose("app", &kept);
    let (_, passed) = push("three");
    assert_eq!(sent(&passed), 3 + 4, "{passed:?}");
}

fn is_layer(line: &str, layers: &[&[String]]) -> bool {
    layers.iter().flat_map(|list| list.iter()).any(|digest| line.ends_with(digest.as_str()))
}

/// What is said of an image in a registry that keeps no list of referrers.
#[test]
fn attestations_hang_on_the_image() {
    let engine = Engine::new();
    let registry = Registry::open();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /", &[]);
    let name = registry.name("app:1");
    for (attrs, kind) in [("both", "index"), ("referrers", "manifest")] {
        let output = format!("type=registry,name={name},attestation-storage={attrs}");
        engine.build(&context).args(["--provenance=mode=min", "--output", &output]).ok();
        let inspect = |tag: &str| -> serde_json::Value {
            let from = format!("docker://{}", registry.name(&format!("app:{tag}")));
            let read = run_tool(tool("skopeo").args(["inspect", "--raw", "--tls-verify=false", &from]), b"");
            serde_json::from_slice(&read).expect("JSON")
        };
        let root = inspect("1");
        assert_eq!(root["mediaType"], format!("application/vnd.oci.image.{kind}.v1+json"));
        let (_folder, image) = copy_back(&registry, "app:1", &[]);
        assert_eq!(image.layer_paths().len(), 1);
        let listed = inspect(&image.digest().replace(':', "-"));
        let said = listed["manifests"].as_array().expect("a list");
        // Each build is said something else of.
        let expected = if attrs == "both" { 1 } else { 2 };
        assert_eq!(said.len(), expected, "{listed}");
        for entry in said {
            assert_eq!(entry["artifactType"], "application/vnd.docker.attestation.manifest.v1+json");
        }
    }
}
