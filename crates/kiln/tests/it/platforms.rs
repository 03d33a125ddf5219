//! Steps for other processors than this machine's.

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

/// A context with the program for both platforms, static.
fn context(dockerfile: &str) -> Folder {
    let (context, source) = (Folder::with_dockerfile(dockerfile, &[]), Folder::new(&[("p.c", PROGRAM)]));
    for architecture in ["arm64", "amd64"] {
        let triple = if architecture == "arm64" { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
        let mut cc = tool(&format!("{triple}-gcc"));
        cc.arg("-static").arg(source.join("p.c")).arg("-o").arg(context.join(&format!("p-{architecture}")));
        run_tool(&mut cc, b"");
    }
    context
}

#[test]
fn an_emulator_runs_a_step_and_what_it_executes() {
    let engine = Engine::new();
    let context = context(
        "FROM scratch\nCOPY p-arm64 /p\nRUN [\"/p\", \"again\"]\nFROM scratch\nCOPY --from=0 /machine /\n",
    );
    let out = Folder::new(&[]);
    let output = format!("--output={}", out.path().display());
    let said = engine.build(&context).args(["--platform=linux/arm64", &output]).ok().stderr;
    assert_eq!(out.read("machine"), "2 aarch64\n1 aarch64\n", "{said}");
    for part in ["emulating linux/arm64 by ", "this is aarch64", "1 step ran under emulation (linux/arm64)"] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
}

#[test]
fn one_build_serves_two_platforms_and_does_once_what_is_the_same() {
    let engine = Engine::new();
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS tool\nRUN echo made > /made\n\
                      FROM scratch AS run\nARG TARGETARCH\nCOPY p-$TARGETARCH /p\nRUN [\"/p\"]\n\
                      FROM scratch\nCOPY --from=tool /made /\nCOPY --from=run /machine /\n";
    let (context, out) = (context(dockerfile), Folder::new(&[]));
    let output = format!("--output={}", out.path().display());
    let args = ["--platform=linux/amd64,linux/arm64", &output];
    let steps = engine.build(&context).args(args).steps();
    for (platform, machine) in [("linux_amd64", "x86_64"), ("linux_arm64", "aarch64")] {
        assert_eq!(out.read(&format!("{platform}/machine")), format!("1 {machine}\n"));
        assert_eq!(out.read(&format!("{platform}/made")), "made\n");
    }
    let count = |text: &str| steps.ran().iter().filter(|step| step.contains(text)).count();
    assert_eq!((count("RUN echo made"), count("RUN [\"/p\"]")), (1, 2), "{steps:#?}");
}
