//! Frontends that are images.

use crate::harness::{Engine, Folder, Registry, busybox, run_tool, tool};

/// Puts an image whose program is a shell script into a registry, and gives its name.
fn frontend(engine: &Engine, registry: &Registry, name: &str, script: &str) -> String {
    let base = registry.name("base:1");
    let from = format!("oci:{}:latest", busybox().path().display());
    let mut skopeo = tool("skopeo");
    skopeo.args(["copy", "-q", "--dest-tls-verify=false"]);
    run_tool(skopeo.args([&from, &format!("docker://{base}")]), b"");
    let dockerfile = format!(
        "FROM {base}\nCOPY run /run-it\nLABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.contexts\nENTRYPOINT [\"sh\", \"/run-it\"]"
    );
    let image = registry.name(name);
    engine
        .build(&Folder::with_dockerfile(&dockerfile, &[("run", script)]))
        .args(["-t", &image, "--push"])
        .ok();
    image
}

#[test]
fn a_frontend_that_fails_is_told_with_what_it_said() {
    let engine = Engine::new();
    let registry = Registry::open();
    let check = |name: &str, script: &str, args: &[&str], told: &[&str]| {
        let image = frontend(&engine, &registry, name, script);
        let own = Folder::with_dockerfile(&format!("# syntax={image} more\nFROM scratch"), &[]);
        engine.build(&own).args(args).fails(1, told);
        let syntax = format!("BUILDKIT_SYNTAX={image} more");
        let other = Folder::with_dockerfile("FROM scratch", &[]);
        engine.build(&other).args(["--build-arg", &syntax]).args(args).fails(1, told);
    };
    check("fails:1", "echo no way >&2; exit 3", &[], &["exit code: 3", "the frontend said: no way"]);
    check("silent:1", "exit 0", &[], &["no result for incomplete build"]);
    // It hears of its options, and finds the graph that it came from itself.
    let script = "env | grep -o 'OPT_.*=build-arg:A=b\\|OPT_.*=cmdline=.*more' | cut -d= -f2- | sort >&2; \
                  ls /run/config/buildkit/metadata >&2; exit 4";
    check(
        "options:1",
        script,
        &["--build-arg", "A=b"],
        &["exit code: 4", "build-arg:A=b", "more", "frontend.bin"],
    );
}

#[test]
fn a_frontend_is_behind_a_proxy_where_all_builds_are() {
    let engine = Engine::with_config("proxyNetwork = true\n");
    let registry = Registry::open();
    let script = "ls /sys/class/net | xargs echo networks: >&2; env | grep '^http_proxy=' >&2; exit 3";
    let image = frontend(&engine, &registry, "proxied:1", script);
    let own = Folder::with_dockerfile(&format!("# syntax={image}\nFROM scratch"), &[]);
    engine.build(&own).fails(1, &["networks: lo\n", "http_proxy=http://127.0.0.1:"]);
}
