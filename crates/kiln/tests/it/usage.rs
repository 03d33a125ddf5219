//! What needs no engine.

use std::process::{Command, Output};

fn kiln(words: &str) -> Output {
    let words = words.split(' ').filter(|w| !w.is_empty());
    Command::new(env!("CARGO_BIN_EXE_kiln")).args(words).env_clear().output().expect("it starts")
}

/// Exit code, and what stdout and stderr contain.
fn check(words: &str, code: i32, stdout: &str, stderr: &str) {
    let output = kiln(words);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words}: {err}");
    assert!(out.contains(stdout), "{words}: {out}");
    assert!(err.contains(stderr), "{words}: {err}");
}

#[test]
fn words_and_exit_codes() {
    check("", 0, "Usage: kiln", "");
    check("--help", 0, "Usage: kiln", "");
    check("build --help", 0, "--build-arg", "");
    check("version", 0, concat!("kiln v", env!("CARGO_PKG_VERSION")), "");
    check("completion bash", 0, "complete", "");
    check("frobnicate", 1, "", "unrecognized subcommand 'frobnicate'");
    check("build", 1, "", "required arguments were not provided");
    check(
        "build /no/such/folder",
        1,
        "",
        "ERROR: unable to prepare context: path \"/no/such/folder\" not found",
    );
    check("build --policy x /", 1, "", "ERROR: failed to read `--policy x`: invalid value x");
    check("build --root /x --host nowhere /", 1, "", "ERROR: invalid engine address `nowhere`");
    check("prune", 1, "", "add `--force`");
}
