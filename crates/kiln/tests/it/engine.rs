//! The engine that starts when it is needed.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A store of its own, whose engine is stopped at the end.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Home(tempfile::tempdir().expect("a folder"))
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(words.split(' ')).env_remove("KILN_HOST").env("KILN_ROOT", self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("it starts")
    }

    /// The engine's process, as `kiln engine status` tells it.
    fn engine(&self) -> Option<u32> {
        let output = self.run("engine status");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|l| l.strip_prefix("Process:"))?;
        Some(line.trim().parse().expect("a number"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.run("engine stop");
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn it_starts_when_needed_and_stops_when_told() {
    let home = Home::new();
    let before = home.run("engine status");
    assert_eq!(before.status.code(), Some(1), "{}", text(&before));
    assert!(text(&before).contains("not running"));
    assert!(text(&home.run("engine logs")).contains("no engine has run yet"));

    let du = home.run("du");
    assert!(du.status.success(), "{}", text(&du));
    let pid = home.engine().expect("it runs");
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert!(text(&home.run("engine logs")).contains("listening on unix://"));

    let stop = home.run("engine stop");
    assert!(stop.status.success(), "{}", text(&stop));
    assert_eq!(home.engine(), None);
    assert!(text(&home.run("engine stop")).contains("not running"));
}

#[test]
fn many_at_once_start_one() {
    let home = Home::new();
    let children: Vec<Child> = (0..6).map(|_| home.command("du").spawn().expect("it starts")).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", text(&output));
    }
    let log = text(&home.run("engine logs"));
    assert_eq!(log.matches("listening on unix://").count(), 1, "{log}");
}

#[test]
fn an_engine_that_was_killed_is_replaced() {
    let home = Home::new();
    assert!(home.run("du").status.success());
    let first = home.engine().expect("it runs");
    let killed = Command::new("kill").args(["-9", &first.to_string()]).status().expect("killed");
    assert!(killed.success());
    let du = home.run("du");
    assert!(du.status.success(), "{}", text(&du));
    assert_ne!(home.engine(), Some(first));
}

#[test]
fn a_long_path_finds_another_place_for_the_socket() {
    let home = Home::new();
    let run = tempfile::tempdir().expect("a folder");
    let deep = home.0.path().join("x".repeat(100));
    let with = |words: &str| {
        home.command(words)
            .env("KILN_ROOT", &deep)
            .env("XDG_RUNTIME_DIR", run.path())
            .output()
            .expect("it starts")
    };
    let du = with("du");
    let status = with("engine status");
    let stop = with("engine stop");
    assert!(du.status.success(), "{}", text(&du));
    assert!(text(&status).contains(&format!("unix://{}", run.path().display())), "{}", text(&status));
    assert!(stop.status.success(), "{}", text(&stop));
}

#[test]
fn a_start_that_fails_says_why() {
    let home = Home::new();
    std::fs::write(home.0.path().join("format-version"), "999\n").expect("written");
    let du = home.run("du");
    assert_eq!(du.status.code(), Some(1));
    assert!(text(&du).contains("ERROR: the engine did not start"), "{}", text(&du));
    assert!(text(&du).contains("has format 999"), "{}", text(&du));
}
