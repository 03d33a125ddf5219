//! Builds that are broken off.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::harness::{Engine, Folder, SilentRegistry, busybox, run_tool, tool};

/// Reads what a build tells until a text comes.
fn wait_for(child: &mut Child, text: &str) -> BufReader<std::process::ChildStderr> {
    let mut reader = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains(text) {
        assert_ne!(reader.read_line(&mut said).expect("read"), 0, "`{text}` never came:\n{said}");
    }
    reader
}

fn signal(child: &Child, name: &str) {
    run_tool(tool("kill").args([name, &child.id().to_string()]), b"");
}

/// Breaks off a step that sleeps for `seconds`, a number that no other test uses, and looks at what stays.
fn check(engine: &Engine, seconds: u32, script: &str, name: &str) {
    let script = script.replace("SLEEP", &format!("sleep {seconds}"));
    let dockerfile = format!("FROM busybox\nRUN --mount=type=cache,target=/c echo it st''arts; {script}");
    let context = Folder::with_dockerfile(&dockerfile, &[]);
    let out = Folder::new(&[]);
    let output = format!("type=oci,dest={}", out.join("image.tar").display());
    let mut child = engine.build(&context).args(["-o", &output]).spawn();
    let mut reader = wait_for(&mut child, "it starts\n");

    let began = Instant::now();
    signal(&child, name);
    let status = child.wait().expect("it ends");
    let took = began.elapsed();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("read");
    assert_eq!(status.code(), Some(130), "{rest}");
    assert!(took < Duration::from_millis(1500), "it took {took:?}");
    assert!(rest.contains("ERROR") && rest.contains("canceled"), "{rest}");
    assert_eq!(out.names(), [""; 0]);
    // The engine has let go of the step before it answered.
    assert_eq!(engine.mounts(), [""; 0]);
    assert_eq!(Engine::processes_with(&format!("sleep\0{seconds}")), [0; 0]);
}

#[test]
fn a_build_ends_at_once() {
    let engine = Engine::new();
    check(&engine, 86_401, "SLEEP", "-INT");
    check(&engine, 86_402, "SLEEP", "-TERM");
    check(&engine, 86_403, "SLEEP & SLEEP & wait", "-INT");
    check(&engine, 86_404, "trap '' INT TERM; SLEEP; SLEEP", "-INT");
    // The engine is well, and the cache mount is free.
    let context =
        Folder::with_dockerfile("FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked true", &[]);
    engine.build(&context).ok();
}

#[test]
fn who_does_not_answer_holds_nothing_up() {
    let engine = Engine::new();
    let registry = SilentRegistry::start(&busybox());
    let check = |dockerfile: &str, told: &str| {
        let dockerfile = dockerfile.replace("HOST", &registry.host());
        let context = Folder::with_dockerfile(&dockerfile, &[]);
        let child = engine.build(&context).args(["-otype=oci,dest=/dev/null"]).spawn();
        registry.wait_until_asked();
        let began = Instant::now();
        signal(&child, "-INT");
        let output = child.wait_with_output().expect("it ends");
        let took = began.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{dockerfile}\n{said}");
        assert!(took < Duration::from_millis(1500), "{dockerfile}\nit took {took:?}");
        assert!(said.contains(told), "{dockerfile}\n`{told}` is not in:\n{said}");
        // The engine has let go too, and does not wait on behind the scenes.
        registry.wait_until_hung_up();
    };
    // A name, a layer that a step mounts, one that is copied from, one that is exported, a file of the web.
    check("FROM HOST/silent", "#2 CANCELED");
    check("FROM HOST/base\nRUN true", "CANCELED");
    check("FROM HOST/base AS b\nFROM scratch\nCOPY --from=b /f /", "context canceled");
    check("FROM HOST/base\nWORKDIR /x", "CANCELED");
    check("FROM HOST/base\nENV a=b", "CANCELED");
    check("FROM scratch\nADD http://HOST/x /", "CANCELED");
}

#[test]
fn a_client_that_is_killed_ends_its_build() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo it st''arts; sleep 86405", &[]);
    let mut child = engine.build(&context).spawn();
    let _reader = wait_for(&mut child, "it starts\n");
    signal(&child, "-KILL");
    child.wait().expect("it ends");
    let began = Instant::now();
    while !Engine::processes_with("sleep\x0086405").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "the step goes on without its client");
        std::thread::yield_now();
    }
}

#[test]
fn a_build_of_another_goes_on() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo it st''arts; sleep 3; echo done > /f", &[]);
    let out = Folder::new(&[]);
    let build = |name: &str| {
        engine.build(&context).args(["-o", &format!("type=oci,dest={}", out.join(name).display())]).spawn()
    };
    let (mut first, mut second) = (build("first"), build("second"));
    let _readers = (wait_for(&mut first, "it starts\n"), wait_for(&mut second, "it starts\n"));
    signal(&first, "-INT");
    assert_eq!(first.wait().expect("it ends").code(), Some(130));
    assert_eq!(second.wait().expect("it ends").code(), Some(0));
    assert_eq!(out.names(), ["second"]);
}

#[test]
fn an_engine_that_is_told_to_stop_lets_builds_end() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo it st''arts; sleep 2", &[]);
    let mut child = engine.build(&context).spawn();
    let mut reader = wait_for(&mut child, "it starts\n");
    engine.stop();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("read");
    assert!(child.wait().expect("it ends").success(), "{rest}");
}

#[test]
fn an_engine_that_is_forced_to_stop_cancels_builds() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo it st''arts; sleep 86406", &[]);
    let mut child = engine.build(&context).spawn();
    let mut reader = wait_for(&mut child, "it starts\n");
    let began = Instant::now();
    let stop = engine.run("engine stop --force");
    let took = began.elapsed();
    assert!(stop.status.success(), "{}", String::from_utf8_lossy(&stop.stderr));
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    assert_eq!(Engine::processes_with("sleep\x0086406"), [0; 0]);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("read");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
    assert!(rest.contains("CANCELED") && rest.contains("the engine was told to stop"), "{rest}");
}

#[test]
fn a_client_that_hangs_does_not_keep_an_engine_that_is_forced_to_stop() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo it st''arts; sleep 86407", &[]);
    let mut child = engine.build(&context).spawn();
    let _reader = wait_for(&mut child, "it starts\n");
    signal(&child, "-STOP");
    let stop = engine.run("engine stop --force");
    signal(&child, "-KILL");
    child.wait().expect("it ends");
    assert!(stop.status.success(), "{}", String::from_utf8_lossy(&stop.stderr));
    assert_eq!(Engine::processes_with("sleep\x0086407"), [0; 0]);
}
