//! Two engines, and engines and stores of other versions.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Engine, Folder, State, Steps, busybox};

const CURRENT: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// This program, but for the version that it says it is of.
fn of_another_version(folder: &Folder) -> std::path::PathBuf {
    let mut program = fs::read(env!("CARGO_BIN_EXE_kiln")).expect("read");
    let other = "v9.8.76543210".get(..CURRENT.len()).expect("long enough");
    let found: Vec<usize> = memchr_all(&program, CURRENT.as_bytes());
    assert!(!found.is_empty(), "the program says its version");
    for at in found {
        program[at..at + CURRENT.len()].copy_from_slice(other.as_bytes());
    }
    let path = folder.join("kiln");
    fs::write(&path, program).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

fn memchr_all(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let candidates = bytes.iter().enumerate().filter(|(_, byte)| **byte == text[0]).map(|(at, _)| at);
    candidates.filter(|at| bytes[*at..].starts_with(text)).collect()
}

/// The other program, on the store of an engine.
fn other(program: &Path, engine: &Engine, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", engine.home().path()).env("KILN_ROOT", engine.root());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_engine_of_another_version_ends_its_builds_and_is_replaced() {
    let (engine, folder, base) = (Engine::new(), Folder::new(&[]), busybox());
    let program = of_another_version(&folder);
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo it st''arts; sleep 2; echo done > /f", &[]);
    let path = context.path().display().to_string();
    let words = [
        "build",
        "--progress=plain",
        "--build-context",
        &base.named("busybox"),
        "-otype=tar,dest=/dev/null",
        &path,
    ];
    let mut old = other(&program, &engine, &words).spawn().expect("it starts");
    let mut reader = BufReader::new(old.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("it starts\n") {
        assert_ne!(reader.read_line(&mut said).expect("read"), 0, "it did not start:\n{said}");
    }
    let first = engine.pid().expect("it runs");

    // The build of this version waits for that of the other, whose result it finds.
    let new = engine.build(&context).args(["--progress=rawjson", "-otype=tar,dest=/dev/null"]).ok();
    reader.read_to_string(&mut said).expect("read");
    assert!(old.wait().expect("it ends").success(), "{said}");
    assert!(new.stderr.contains("The engine is of another version than this one"), "{}", new.stderr);
    let steps = Steps::read(&new.stderr);
    assert_eq!(steps.state("RUN echo"), State::Cached, "{steps:?}");
    let second = engine.pid().expect("it runs");
    assert_ne!(first, second);

    // And back.
    let du = other(&program, &engine, &["du"]).output().expect("it starts");
    assert!(du.status.success() && text(&du).contains("of another version"), "{}", text(&du));
    assert_ne!(engine.pid(), Some(second));
    // To look is not to use.
    let third = engine.pid();
    assert_eq!((engine.run("engine status").status.code(), engine.pid()), (Some(0), third));
}

#[test]
fn a_second_engine_on_a_store_is_turned_away() {
    let engine = Engine::new();
    assert!(engine.run("du").status.success());
    let (first, folder) = (engine.pid(), Folder::new(&[]));
    for address in [folder.join("other.sock"), engine.root().join("engine.sock")] {
        let second = engine
            .kiln(["daemon", "--addr", &format!("unix://{}", address.display())])
            .output()
            .expect("it starts");
        assert_eq!(second.status.code(), Some(1));
        assert!(text(&second).contains("another engine is running on this store"), "{}", text(&second));
    }
    assert!(engine.run("du").status.success());
    assert_eq!(engine.pid(), first);
}

#[test]
fn a_store_of_another_format_is_left_as_it_is() {
    for (format, told) in [("999\n", "a newer version of kiln"), ("0\n", "an older version of kiln")] {
        let engine = Engine::new();
        assert!(engine.run("du").status.success());
        engine.stop();
        fs::write(engine.root().join("format-version"), format).expect("written");
        let before = fs::read(engine.root().join("metadata")).expect("read");
        for words in ["du", "engine check"] {
            let output = engine.run(words);
            assert_eq!(output.status.code(), Some(1), "{}", text(&output));
            assert!(text(&output).contains(told), "{}", text(&output));
        }
        assert_eq!(fs::read(engine.root().join("metadata")).expect("read"), before);
        assert_eq!(fs::read_to_string(engine.root().join("format-version")).expect("read"), format);
    }
}
