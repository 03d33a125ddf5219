//! Builds are remembered, with all that they told.

use std::process::Command;

use crate::harness::{Engine, Folder, Process, run_tool, tool};

fn out(engine: &Engine, words: &str) -> String {
    let output = engine.run(words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A build that goes well and then one that does not.
fn two_builds(engine: &Engine) -> (Folder, Folder) {
    let good = Folder::with_dockerfile("FROM busybox\nRUN echo it was $((40+2))\n", &[]);
    engine.build(&good).args(["--build-arg", "A=1", "-t", "good"]).ok();
    let bad = Folder::with_dockerfile("FROM busybox\nRUN echo about to fail && exit 7\n", &[]);
    engine.build(&bad).fails(1, &["exit code: 7"]);
    (good, bad)
}

#[test]
fn builds_are_listed_and_looked_at() {
    let engine = Engine::new();
    let (good, bad) = two_builds(&engine);
    let name = |folder: &Folder| folder.path().file_name().expect("a name").to_string_lossy().into_owned();

    let list = out(&engine, "history ls");
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[1].contains(&name(&bad)) && lines[1].contains("Error"), "{list}");
    assert!(lines[2].contains(&name(&good)) && lines[2].contains("Completed"), "{list}");
    assert_eq!(out(&engine, "history ls --filter status=error").lines().count(), 2);
    assert_eq!(out(&engine, "history ls --filter duration>1h").lines().count(), 1);
    let json: serde_json::Value =
        serde_json::from_str(out(&engine, "history ls --format json").lines().next().expect("a line"))
            .expect("JSON");
    assert_eq!(json["status"], "Error");

    let inspected = out(&engine, "history inspect");
    for told in ["exit code: 7", ">>> RUN echo about to fail", "> about to fail", "Print build logs"] {
        assert!(inspected.contains(told), "`{told}` is not in:\n{inspected}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&out(&engine, "history inspect ^1 --format json")).expect("JSON");
    assert_eq!((&json["Status"], &json["BuildArgs"][0]["Name"]), (&"completed".into(), &"A".into()));
    let manifest = out(&engine, "history inspect attachment ^1 --type manifest");
    assert!(manifest.contains("layers"), "{manifest}");
    let logs = engine.run("history logs ^1");
    assert!(String::from_utf8_lossy(&logs.stderr).contains("it was 42"));
    let none = engine.run("history logs ^2");
    assert!(String::from_utf8_lossy(&none.stderr).contains("no completed build found with offset 2"));
}

#[test]
fn records_go_when_they_are_told_to_and_take_their_blobs_along() {
    let engine = Engine::new();
    let _folders = two_builds(&engine);
    let blobs = || {
        let mut find = tool("find");
        let found = run_tool(find.arg(engine.root().join("content-v1/sha256")).args(["-type", "f"]), b"");
        String::from_utf8_lossy(&found).lines().count()
    };
    out(&engine, "images rm good");
    let before = blobs();
    let ids = out(&engine, "history ls --format {{.Ref}}");
    out(&engine, &format!("history rm {}", ids.lines().next().expect("a build")));
    assert_eq!(out(&engine, "history ls").lines().count(), 2);
    assert_eq!(blobs(), before - 2, "log and error are gone");
    out(&engine, "history rm --all");
    assert_eq!(out(&engine, "history ls").lines().count(), 1);
    out(&engine, "prune --all --force");
    assert_eq!(blobs(), 0);
}

#[test]
fn records_outlive_an_engine_that_is_killed() {
    let engine = Engine::new();
    let good = Folder::with_dockerfile("FROM busybox\nRUN echo once more\n", &[]);
    engine.build(&good).ok();
    // At once: nobody has looked at the record yet.
    let pid = engine.pid().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().expect("killed").success());
    assert_eq!(out(&engine, "history ls --filter status=completed").lines().count(), 2);
    let logs = engine.run("history logs");
    assert!(String::from_utf8_lossy(&logs.stderr).contains("once more"));
    engine.stop();
    assert_eq!(out(&engine, "history ls").lines().count(), 2);
}

#[test]
fn limits_are_kept() {
    let engine = Engine::with_config("[history]\nmaxEntries = 2\nmaxAge = 0\n");
    let folder = Folder::with_dockerfile("FROM scratch\n", &[]);
    for _ in 0..4 {
        engine.build(&folder).ok();
    }
    // The engine looks when it starts.
    engine.stop();
    let config = engine.home().join("kiln.toml").display().to_string();
    let socket = engine.root().join("engine.sock");
    let mut daemon = engine.kiln(["daemon", "--config", &config]).spawn().expect("it starts");
    let began = std::time::Instant::now();
    loop {
        let list = if socket.exists() { engine.run("history ls").stdout } else { Vec::new() };
        if String::from_utf8_lossy(&list).lines().count() == 3 {
            break;
        }
        assert!(began.elapsed().as_secs() < 20, "{}", String::from_utf8_lossy(&list));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    engine.stop();
    let _ = daemon.wait();
}

#[test]
fn builds_are_exported() {
    let engine = Engine::new();
    let _folders = two_builds(&engine);
    out(&engine, "history export --all -o all.dockerbuild");
    let archive = engine.home().join("all.dockerbuild");
    let file = |path: &str| run_tool(tool("tar").arg("-xzOf").arg(&archive).arg(path), b"");
    let json = |path: &str| -> serde_json::Value { serde_json::from_slice(&file(path)).expect("JSON") };
    let blob = |digest: &serde_json::Value| {
        json(&format!("blobs/{}", digest.as_str().expect("a digest").replace(':', "/")))
    };
    let index = json("index.json");
    let builds = blob(&index["manifests"][0]["digest"]);
    assert_eq!(builds["manifests"].as_array().map(Vec::len), Some(2));
    let failed = blob(&builds["manifests"][0]["digest"]);
    assert_eq!(failed["config"]["mediaType"], "application/vnd.buildkit.historyrecord.v0");
    let record = blob(&failed["config"]["digest"]);
    assert!(record["error"]["message"].as_str().is_some_and(|m| m.contains("exit code: 7")), "{record}");
    let kinds: Vec<_> =
        failed["layers"].as_array().expect("a list").iter().map(|l| &l["mediaType"]).collect();
    assert_eq!(
        kinds,
        ["application/vnd.buildkit.status.v0", "application/vnd.googeapis.google.rpc.status+proto"]
    );
}

/// As from a machine in CI to one's own.
#[test]
fn builds_come_from_elsewhere() {
    let (there, here) = (Engine::new(), Engine::new());
    let _folders = two_builds(&there);
    let file = here.home().join("ci.dockerbuild").display().to_string();
    out(&there, &format!("history export --all -o {file}"));
    let imported = out(&here, "history import -f ci.dockerbuild");
    assert_eq!(imported.lines().count(), 2);
    assert_eq!(out(&here, "history ls").lines().count(), 3);
    let inspected = out(&here, "history inspect");
    for told in ["exit code: 7", ">>> RUN echo about to fail", "> about to fail"] {
        assert!(inspected.contains(told), "`{told}` is not in:\n{inspected}");
    }
    let logs = here.run("history logs ^1");
    assert!(String::from_utf8_lossy(&logs.stderr).contains("it was 42"));
    let again = here.run("history import -f ci.dockerbuild");
    assert!(String::from_utf8_lossy(&again.stderr).contains("is known already"));
    // What it holds is checked.
    here.home().write("bad.dockerbuild", "hello");
    let bad = here.run("history import -f bad.dockerbuild");
    assert!(String::from_utf8_lossy(&bad.stderr).contains("no .dockerbuild file"));
}

#[test]
fn a_trace_is_made_when_it_is_asked_for() {
    let engine = Engine::new();
    let _folders = two_builds(&engine);
    out(&engine, "history export --finalize -o one.dockerbuild");
    let trace = out(&engine, "history inspect attachment --type application/vnd.buildkit.otlp.json.v0");
    let spans: Vec<serde_json::Value> =
        trace.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(spans[0]["Name"], "build");
    let failed = spans.iter().find(|span| span["Status"]["Code"] == "Error" && span["Name"] != "build");
    let name = failed.and_then(|span| span["Name"].as_str()).expect("a span of the step that failed");
    assert!(name.contains("about to fail"), "{name}");
}

#[test]
fn a_trace_is_printed_or_served_as_a_page() {
    let engine = Engine::new();
    let _folders = two_builds(&engine);
    let printed: serde_json::Value = serde_json::from_str(&out(&engine, "history trace ^1")).expect("JSON");
    let spans = printed["data"][0]["spans"].as_array().expect("spans");
    let step =
        spans.iter().find(|span| span["operationName"].as_str().is_some_and(|name| name.contains("it was")));
    assert_eq!(step.expect("the step")["references"][0]["spanID"], spans[0]["spanID"]);

    let mut serve = engine.kiln(["history", "trace", "--compare", "^1", "--addr", "127.0.0.1:0"]);
    let address = |line: &str| Some(line.strip_prefix("Trace available at ")?.to_owned());
    let (_serving, page) = Process::start(&mut serve, address);
    let (server, ids) = page.split_once("/trace/").expect("a page");
    let (older, newer) = ids.split_once("...").expect("two traces");
    assert_eq!(printed["data"][0]["traceID"], older);
    // A browser has one in reserve.
    let address = server.strip_prefix("http://").expect("an address");
    let _idle = std::net::TcpStream::connect(address).expect("it listens");
    assert!(fetch(&page).contains("/api/traces/"), "the page draws what it finds there");
    let served: serde_json::Value =
        serde_json::from_str(&fetch(&format!("{server}/api/traces/{newer}"))).expect("JSON");
    assert_eq!(served["data"][0]["traceID"], newer);
}

fn fetch(url: &str) -> String {
    let script =
        "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())";
    String::from_utf8(run_tool(tool("python3").args(["-c", script, url]), b"")).expect("UTF-8")
}
