//! `kiln build --check` and `--call`: questions in place of a build.

use crate::harness::{Engine, Folder};

const FILE: &str = "# tools has what the build needs\nFROM scratch AS tools\nARG VERSION=1\n\
    # TOKEN opens the door\nARG TOKEN\nFROM tools\nRUN --mount=type=secret,id=key true\nCMD hi\n";

fn text(stdout: &[u8]) -> String {
    String::from_utf8_lossy(stdout).into_owned()
}

#[test]
fn checks_print_what_they_find() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(FILE, &[]);
    let place = context.join("Dockerfile").display().to_string();
    let found = engine.build(&context).args(["--check", "--metadata-file", "meta", "-t", "x"]).fails(1, &[]);
    let expected = [
        "Check complete, 2 warnings have been found!\n\nWARNING: SecretsUsedInArgOrEnv - https://",
        &format!("{place}:5\n"),
        "   5 | >>> ARG TOKEN\n",
        &format!("{place}:8\n"),
        "   8 | >>> CMD hi\n",
    ];
    let stdout = text(&found.stdout);
    for part in expected {
        assert!(stdout.contains(part), "{part:?} is not in\n{stdout}");
    }
    assert!(!found.stderr.contains("ERROR"), "{}", found.stderr);
    assert!(engine.home().read("meta").contains("\"ruleName\": \"JSONArgsRecommended\""));
    assert_eq!(text(&engine.run("images").stdout).lines().count(), 1, "no image was made");
    let records = text(&engine.run("history ls").stdout).lines().count();
    assert!(records <= 1, "a question is no build to look back at");

    let ignored = engine.build(&context).args(["--call=check,ignorestatus=true"]).ok();
    assert_eq!(ignored.stdout, found.stdout);
    let clean = Folder::with_dockerfile("FROM scratch\nCOPY a /\n", &[("a", "")]);
    let clean = engine.build(&clean).args(["--check", "-q"]).ok();
    assert_eq!(text(&clean.stdout), "Check complete, no warnings found.\n");
}

#[test]
fn checks_tell_why_a_file_cannot_be_built() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch AS B\nRUM x\n", &[]);
    let told = ["ERROR: dockerfile parse error on line 2: unknown instruction: RUM", "   2 | >>> RUM x"];
    let found = engine.build(&context).args(["--check"]).fails(1, &told);
    let stdout = text(&found.stdout);
    assert!(stdout.starts_with("Check complete, 1 warning has been found!\n"), "{stdout}");
    let json = engine.build(&context).args(["--call=lint,format=json"]).fails(1, &[]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON alone");
    assert_eq!(json["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
}

#[test]
fn outline_and_targets() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(FILE, &[]);
    let ask = |args: &[&str]| text(&engine.build(&context).args(args).ok().stdout);
    let outline = "BUILD ARG   VALUE   DESCRIPTION\nVERSION     2       \nTOKEN               opens the door\n\n\
        SECRET   REQUIRED\nkey      \n\n";
    assert_eq!(ask(&["--call=outline", "--build-arg=VERSION=2"]), outline);
    assert!(
        ask(&["--call=outline", "--target=tools"]).starts_with("TARGET:      tools\nDESCRIPTION: has what")
    );
    let targets = "TARGET    DESCRIPTION\ntools     has what the build needs\n(default) \n";
    assert_eq!(ask(&["--call", "targets"]), targets);
    assert!(ask(&["--call=targets,format=json"]).starts_with("{\n  \"targets\": [\n"));
    assert!(ask(&["--call=subrequests.describe"]).starts_with("NAME                 VERSION DESCRIPTION\n"));
    engine.build(&context).args(["--call=nope"]).fails(1, &["unsupported request frontend.nope"]);
}

#[test]
fn a_build_warns_and_may_fail_for_it() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch AS B\nCOPY <<E /a\nE\n", &[]);
    let built = engine.build(&context).args(["--progress=plain"]).ok();
    let warning = "1 warning found (use --debug to expand)";
    assert!(built.stderr.contains(warning), "{}", built.stderr);
    let strict = ["--build-arg=BUILDKIT_DOCKERFILE_CHECK=error=true"];
    let told = ["lint violation found for rules: StageNameCasing"];
    engine.build(&context).args(strict).fails(1, &told);
}
