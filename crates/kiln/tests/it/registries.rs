//! Images that come from registries and go there.

use serde_json::json;

use crate::harness::{Engine, Folder, Image, LOGIN, Registry, assert_has, busybox, run_tool, tool};

/// Reads an image back from a registry with skopeo.
fn copy_back(registry: &Registry, name: &str, login: &[&str]) -> (Folder, Image) {
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
fn fill(registry: &Registry, name: &str, login: &[&str]) {
    let from = format!("oci:{}:latest", busybox().path().display());
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
