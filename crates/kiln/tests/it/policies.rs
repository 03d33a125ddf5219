//! Policies on sources.

use crate::harness::{Engine, FileServer, Folder, Registry, busybox, list_tar, run_tool, tool};

const VARIABLE: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";

/// A policy of these rules, in a folder.
fn policy(rules: &str) -> Folder {
    Folder::new(&[("policy.json", &format!("{{\"version\":1,\"rules\":[{rules}]}}"))])
}

#[test]
fn a_source_is_denied_or_replaced() {
    let engine = Engine::new();
    let web = Folder::new(&[("asked", "asked for"), ("given", "given instead")]);
    let server = FileServer::start(&web);
    let (asked, given) = (server.url("asked"), server.url("given"));
    let context = Folder::with_dockerfile(&format!("FROM scratch\nADD {asked} /file"), &[]);
    let build = |rules: &str| {
        let policy = policy(rules);
        (engine.build(&context).env(VARIABLE, &policy.join("policy.json").display().to_string()), policy)
    };

    let deny = r#"{"action":"DENY","selector":{"identifier":"http*"}}"#;
    let (denied, _policy) = build(deny);
    denied.fails(1, &["denied by policy: source denied by policy", "Dockerfile:2", "ADD http"]);

    let allow =
        format!(r#"{deny},{{"action":"ALLOW","selector":{{"identifier":"{asked}","match_type":"EXACT"}}}}"#);
    let (allowed, _policy) = build(&allow);
    assert_eq!(list_tar(&allowed.tar()), ["600 0:0 file 'asked for'"]);

    let convert = format!(
        r#"{{"action":"CONVERT","selector":{{"identifier":"{asked}"}},"updates":{{"identifier":"{given}"}}}}"#
    );
    let (replaced, _policy) = build(&convert);
    assert_eq!(list_tar(&replaced.tar()), ["600 0:0 file 'given instead'"]);

    let (wrong, _policy) = build(r#"{"action":"REFUSE"}"#);
    wrong.fails(1, &["failed to parse source policy", "`REFUSE` has no meaning here", "policy.json"]);
}

#[test]
fn a_folder_stands_in_for_an_image() {
    let (engine, registry) = (Engine::new(), Registry::open());
    let image = registry.name("asked");
    let context =
        Folder::with_dockerfile("FROM scratch AS base\nFROM scratch\nCOPY --from=base /given /", &[]);
    let given = Folder::new(&[("given", "given instead")]);
    let rules = format!(
        r#"{{"action":"CONVERT","selector":{{"identifier":"docker-image://{image}:latest"}},"updates":{{"identifier":"local://given"}}}}"#
    );
    let policy = policy(&rules);
    let build = |dockerfile: &Folder| {
        let build = engine.build(dockerfile).env(VARIABLE, &policy.join("policy.json").display().to_string());
        build.args(["--build-context", &format!("given={}", given.path().display())])
    };
    let replaced = build(&context).args(["--build-context", &format!("base=docker-image://{image}")]);
    assert_eq!(list_tar(&replaced.tar()), ["644 0:0 given 'given instead'"]);

    let from = Folder::with_dockerfile(&format!("FROM {image}"), &[]);
    build(&from).fails(1, &["ref mutated by policy to non-image", "local://given", "Dockerfile:1"]);
}

#[test]
fn an_image_is_denied_by_its_whole_name() {
    let (engine, registry) = (Engine::new(), Registry::open());
    let image = registry.name("base");
    let mut skopeo = tool("skopeo");
    skopeo.args(["copy", "-q", "--dest-tls-verify=false"]);
    let from = format!("oci:{}:latest", busybox().path().display());
    run_tool(skopeo.args([&from, &format!("docker://{image}:latest")]), b"");

    let context = Folder::with_dockerfile(&format!("FROM {image}"), &[]);
    engine.build(&context).ok();
    let rules = format!(r#"{{"action":"DENY","selector":{{"identifier":"docker-image://{image}:latest"}}}}"#);
    let policy = policy(&rules);
    engine
        .build(&context)
        .env(VARIABLE, &policy.join("policy.json").display().to_string())
        .fails(1, &["could not resolve image due to policy", "denied by policy", "Dockerfile:1"]);
}
