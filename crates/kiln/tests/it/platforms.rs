//! Steps for other processors than this machine's.

use std::fs;

use crate::harness::{Engine, Folder, run_tool, tool};

/// Writes the machine that it runs on, then does the same again as a program that it executes.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct utsname name;
    if (uname(&name)) return 1;
    FILE *out = fopen("/machine", "a");
    if (!out || fprintf(out, "%d %s\n", argc, name.machine) < 0 || fclose(out)) return 2;
    printf("this is %s\n", name.machine);
    fflush(stdout);
    if (argc == 2) execl(argv[0], argv[0], NULL);
    return argc == 2 ? 3 : 0;
}
"#;

/// A context with the program for arm64, static.
fn context(dockerfile: &str) -> Folder {
    let context = Folder::with_dockerfile(dockerfile, &[("p.c", PROGRAM)]);
    let mut cc = tool("aarch64-linux-gnu-gcc");
    cc.args(["-static", "-o"]).arg(context.join("p")).arg(context.join("p.c"));
    run_tool(&mut cc, b"");
    fs::remove_file(context.join("p.c")).expect("removed");
    context
}

const EMULATED: &str = "FROM scratch\nCOPY p /p\nRUN [\"/p\", \"again\"]\n";

#[test]
fn an_emulator_runs_a_step_and_what_it_executes() {
    let engine = Engine::new();
    let dockerfile = format!("{EMULATED}FROM scratch\nCOPY --from=0 /machine /\n");
    let context = context(&dockerfile);
    let out = Folder::new(&[]);
    let output = format!("--output={}", out.path().display());
    let said = engine.build(&context).args(["--platform=linux/arm64", &output]).ok().stderr;
    assert_eq!(out.read("machine"), "2 aarch64\n1 aarch64\n", "{said}");
    for part in ["emulating linux/arm64 by ", "this is aarch64", "1 step ran under emulation (linux/arm64)"] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
}

#[test]
fn without_an_emulator_the_error_names_the_remedies() {
    let engine = Engine::new();
    let context = context(EMULATED);
    engine.build(&context).env("PATH", "/nowhere").args(["--platform=linux/arm64"]).fails(
        1,
        &[
            "exec format error",
            "register an emulator",
            "kiln builder create --append",
            "--platform=$BUILDPLATFORM",
        ],
    );
}
