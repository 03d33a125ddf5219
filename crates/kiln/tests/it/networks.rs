//! Networks of steps: bridges, plugins, and proxies.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Engine, FileServer, Folder, Net, is_alive, list_tar, tool};

/// An engine in a network of its own, whose steps are on a bridge of this name at 10.77.0.1.
fn on_bridge(net: &Net, bridge: &str) -> Engine {
    in_net(net).configured(&bridge_config(bridge))
}

fn in_net(net: &Net) -> Engine {
    Engine::new().wrapped(&net.wrapper().each_ref().map(String::as_str))
}

fn bridge_config(bridge: &str) -> String {
    format!(
        "insecure-entitlements = [\"network.host\"]\n[worker.oci]\nnetworkMode = \"bridge\"\n\
         bridgeName = \"{bridge}\"\nbridgeSubnet = \"10.77.0.0/24\"\n"
    )
}

/// A name that no other test has, also one that runs at the same time.
fn unique(name: &str) -> String {
    format!("{name}{}", std::process::id())
}

/// Nothing is left of a network: no interface, no lease, no address.
fn assert_gone(net: &Net, engine: &Engine, bridge: &str) {
    assert_eq!(net.links(), ["lo"]);
    let state = std::fs::read_dir(engine.root().join("networks")).expect("a folder");
    assert_eq!(
        state.flatten().map(|entry| entry.path()).collect::<Vec<_>>(),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!Path::new("/run/kiln/networks").join(bridge).exists());
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_step_on_a_bridge_has_a_network_of_its_own() {
    let (net, bridge) = (Net::new(), unique("a"));
    let engine = on_bridge(&net, &bridge);
    let files = Folder::new(&[("f", "hello")]);
    let server = |address| FileServer::start_by(net.tool("python3"), address, &files);
    let (reached, local) = (server("10.77.0.1"), server("127.0.0.1"));
    let dockerfile = format!(
        "FROM busybox AS run\n\
         RUN wget -q -O /got {} && ! wget -q {} && ls /sys/class/net | xargs >/own\n\
         RUN --network=none ! wget -q {} && ls /sys/class/net >/none\n\
         RUN --network=host wget -q -O /near {} && ls /sys/class/net >/host\n\
         FROM scratch\nCOPY --from=run /got /own /none /near /host /\n",
        reached.url("f"),
        local.url("f"),
        reached.url("f"),
        local.url("f"),
    );
    let context = Folder::with_dockerfile(&dockerfile, &[]);
    let files = list_tar(&engine.build(&context).args(["--allow", "network.host"]).tar());
    let expected = ["got 'hello'", "host", "near 'hello'", "none 'lo\\n'", "own 'eth0 lo\\n'"];
    for (file, expected) in files.iter().zip(expected) {
        assert!(file.contains(expected), "{expected}: {files:?}");
    }
    assert!(files[1].contains(&bridge) && files.len() == expected.len(), "{files:?}");

    // What was built runs on the bridge too, and workers say so.
    engine.build(&Folder::with_dockerfile("FROM busybox", &[])).args(["-t", "app"]).ok();
    let run = engine.kiln(["run", "--rm", "app", "ls", "/sys/class/net"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&run.stdout), "eth0\nlo\n", "{}", stderr(&run));
    engine.stop();
    assert_gone(&net, &engine, &bridge);
}

#[test]
fn the_network_of_a_killed_engine_goes_with_the_next() {
    let (net, bridge) = (Net::new(), unique("k"));
    // With plugins as BuildKit names them.
    let plugins = Folder::new(&[]);
    for name in ["bridge", "host-local", "firewall"] {
        let path = plugins.join(&format!("buildkit-cni-{name}"));
        std::os::unix::fs::symlink(format!("/usr/lib/cni/{name}"), path).expect("linked");
    }
    let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", plugins.path().display());
    let [nsenter, into] = net.wrapper();
    let mut engine = Engine::new()
        .wrapped(&[&nsenter, &into, "env", &path])
        .configured(&format!("{}cniBinaryPath = \"/nowhere\"\n", bridge_config(&bridge)));
    let slow = Folder::with_dockerfile(&format!("FROM busybox\nRUN sleep 600 && echo STEP={bridge}"), &[]);
    let mut build = engine.build(&slow).spawn();
    while Engine::processes_with(&format!("STEP={bridge}")).is_empty() {
        assert!(build.try_wait().expect("a build").is_none(), "the step does not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = engine.pid().expect("it runs");
    assert!(tool("kill").args(["-9", &pid.to_string()]).status().expect("it runs").success());
    let _ = build.wait();
    while is_alive(pid) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(net.links().contains(&bridge));
    engine = engine.configured("[worker.oci]\nnetworkMode = \"host\"\n");
    assert_gone(&net, &engine, &bridge);
}

#[test]
fn plugins_of_a_configuration_make_a_network() {
    let net = Net::new();
    let addresses = Folder::new(&[]);
    let list = json!({"name": unique("p"), "cniVersion": "1.0.0", "plugins": [{
        "type": "ptp",
        "ipam": {"type": "host-local", "subnet": "10.78.0.0/24", "dataDir": addresses.path()},
    }]});
    addresses.write("net.conflist", list.to_string());
    let config = format!(
        "[worker.oci]\nnetworkMode = \"cni\"\ncniPoolSize = 2\ncniConfigPath = {:?}\n",
        addresses.join("net.conflist")
    );
    let engine = in_net(&net).configured(&config);
    let dockerfile = "FROM busybox AS run\nRUN ip -4 -o addr show dev eth0 | grep -o 'inet [0-9.]*' >/own\nFROM scratch\nCOPY --from=run /own /\n";
    let files = list_tar(&engine.build(&Folder::with_dockerfile(dockerfile, &[])).tar());
    assert!(files[0].contains("inet 10.78.0."), "{files:?}");
    engine.stop();
    assert_eq!(net.links(), ["lo"]);
    let left = std::fs::read_dir(addresses.join(list["name"].as_str().expect("a name"))).expect("a folder");
    let left: Vec<_> =
        left.flatten().filter(|f| f.file_name().to_string_lossy().starts_with("10.")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The engine does not start, and says why.
fn check_refused(flags: &[&str], told: &[&str]) {
    let engine = Engine::new();
    let output = engine.kiln(["daemon"]).args(flags).output().expect("it starts");
    let said = stderr(&output);
    for text in told {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn a_network_that_cannot_be_is_told_at_the_start() {
    check_refused(
        &["--oci-worker-net=none"],
        &["invalid network mode: `none`", "hint: give auto, host, cni or bridge"],
    );
    check_refused(
        &["--oci-worker-net=bridge", "--oci-cni-binary-dir=/nowhere"],
        &["the CNI plugin `bridge` is missing: there is no `/nowhere/bridge`", "containernetworking-plugins"],
    );
    check_refused(
        &["--oci-worker-net=cni", "--oci-cni-config-path=/nowhere.json"],
        &["failed to read cni config `/nowhere.json`"],
    );
}

/// A step that fetches a page through its proxy, also from this machine itself.
fn fetching(url: &str) -> Folder {
    let dockerfile = format!(
        "FROM busybox AS run\n\
         RUN NO_PROXY= no_proxy= wget -q -O /got {url}\n\
         RUN unset http_proxy HTTP_PROXY; ! wget -q -O /got {url}; ls /sys/class/net >/own\n\
         RUN --network=none ! env | grep -i _proxy\n\
         FROM scratch\nCOPY --from=run /own /got* /\n"
    );
    Folder::with_dockerfile(&dockerfile, &[])
}

fn provenance_of_last(engine: &Engine) -> Value {
    let output = engine.run("history inspect attachment --type provenance");
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_a_step_fetches_through_a_proxy_is_told_and_judged() {
    let engine = Engine::with_config("proxyNetwork = true\n");
    let files = Folder::new(&[("page", "hello"), ("secret", "x")]);
    let server = FileServer::start(&files);
    let url = server.url("page");
    let built = engine.build(&fetching(&url)).ok();
    for text in ["proxy network requests:", &format!("- GET {url} -> 200")] {
        assert!(built.stderr.contains(text), "{}", built.stderr);
    }
    let told = provenance_of_last(&engine);
    let dependencies = told["buildDefinition"]["resolvedDependencies"].as_array().expect("a list");
    let page = dependencies.iter().find(|d| d["uri"] == url.as_str()).expect("the page is told");
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(page["digest"]["sha256"], hello);
    let network = |told: &Value| told["runDetails"]["metadata"]["buildkit_metadata"]["network"].clone();
    assert_eq!(network(&told), json!({"mode": "proxy"}));

    // A step that does not run again fetches nothing that could be told.
    engine.build(&fetching(&url)).ok();
    let told = network(&provenance_of_last(&engine));
    assert_eq!(told["proxy"]["incomplete"][0]["reason"], "result_from_cache", "{told}");

    let rules = r#"{"version":1,"rules":[{"action":"DENY","selector":{"identifier":"http*/secret"}}]}"#;
    let policy = Folder::new(&[("policy.json", rules)]);
    let variable = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
    let secret = server.url("secret");
    let context = fetching(&secret);
    let denied = engine.build(&context).env(variable, &policy.join("policy.json").display().to_string());
    denied.fails(1, &["403 Forbidden", &format!("- GET {secret} -> 403: "), "denied by policy"]);
}
