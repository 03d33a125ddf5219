//! What the frontend answers about files: findings, outlines, targets. Expectations are BuildKit's own answers.

use std::sync::Arc;

use dockerfile_llb::DockerfileFrontend;
use errdefs::Error;
use frontend::{BuildResult, Frontend, FrontendRequest};
use serde_json::{Value, json};

use crate::bridge::FakeBridge;

const LAYERS: &str = r#""rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}"#;

fn bridge(dockerfile: &str, ignore: &str) -> Arc<FakeBridge> {
    let image = |name: &str, arch: &str| {
        let config = format!(r#"{{"architecture":"{arch}","os":"linux",{LAYERS}}}"#);
        (format!("docker.io/library/{name}:latest"), config)
    };
    Arc::new(FakeBridge {
        files: [("Dockerfile", dockerfile), (".dockerignore", ignore)]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        images: [image("alpine", "amd64"), image("other", "s390x")].into(),
        ..FakeBridge::default()
    })
}

async fn solve(bridge: Arc<FakeBridge>, opts: &[(&str, &str)]) -> Result<BuildResult, Error> {
    let opts = opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    DockerfileFrontend.solve(bridge, FrontendRequest { opts, ..FrontendRequest::default() }).await
}

async fn ask(bridge: Arc<FakeBridge>, request: &str, opts: &[(&str, &str)]) -> (Value, String) {
    let opts: Vec<_> = opts.iter().copied().chain([("requestid", request)]).collect();
    let result = solve(bridge, &opts).await.expect(request);
    assert_eq!(result.metadata["version"], "1.0.0");
    let json = serde_json::from_slice(&result.metadata["result.json"]).expect("JSON");
    (json, String::from_utf8(result.metadata["result.txt"].to_vec()).expect("text"))
}

/// Findings as `<line> <rule>: <message>`, then the error as `<line> ERROR: <message>`.
async fn findings(bridge: Arc<FakeBridge>, opts: &[(&str, &str)]) -> Vec<String> {
    let (json, _) = ask(bridge, "frontend.lint", opts).await;
    let line = |v: &Value| v.pointer("/location/ranges/0/start/line").and_then(Value::as_u64).unwrap_or(0);
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let warnings = json["warnings"].as_array().cloned().unwrap_or_default();
    let show = |w: &Value| format!("{} {}: {}", line(w), text(w, "ruleName"), text(w, "detail"));
    let mut out: Vec<String> = warnings.iter().map(show).collect();
    if let Some(error) = json.get("buildError") {
        out.push(format!("{} ERROR: {}", line(error), text(error, "message")));
    }
    out
}

async fn check_with(ignore: &str, opts: &[(&str, &str)], dockerfile: &str, expected: &[&str]) {
    assert_eq!(findings(bridge(dockerfile, ignore), opts).await, expected, "{dockerfile}");
}

async fn check(dockerfile: &str, expected: &[&str]) {
    check_with("", &[], dockerfile, expected).await;
}

#[tokio::test]
async fn findings_in_from() {
    let unknown = "UndefinedArgInFrom: FROM argument";
    check("FROM alpine$TAG", &[&format!("1 {unknown} 'TAG' is not declared")]).await;
    check("ARG A\nFROM alpine$A", &[]).await;
    check(
        "FROM --platform=$BULIDPLATFORM alpine",
        &[
            &format!("1 {unknown} 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)"),
            "1 ERROR: empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)",
        ],
    )
    .await;
    check(
        "FROM --platform=${TARGETPLATFORM} alpine",
        &["1 RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior"],
    )
    .await;
    check("# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM alpine", &[]).await;
    check("#\n# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM alpine", &[]).await;
    check(
        "FROM --platform=linux/x86_64 alpine",
        &["1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/x86_64\""],
    )
    .await;
    check("FROM --platform=linux/x86_64 alpine AS my-amd64", &[]).await;
    let default =
        "InvalidDefaultArgInFrom: Default value for ARG $IMAGE results in empty or invalid base image name";
    check_with("", &[("build-arg:IMAGE", "alpine")], "ARG IMAGE\nFROM $IMAGE", &[&format!("2 {default}")])
        .await;
    check_with("", &[("build-arg:IMAGE", "alpine")], "ARG IMAGE=a\nFROM $IMAGE", &[]).await;
    check(
        "FROM other",
        &["1 InvalidBaseImagePlatform: Base image other was pulled with platform \"linux/s390x\", expected \"linux/amd64\" for current build"],
    )
    .await;
}

#[tokio::test]
async fn findings_in_instructions() {
    let var = "UndefinedVar: Usage of undefined variable";
    check("FROM alpine\nCOPY $a /", &[&format!("2 {var} '$a'")]).await;
    check("FROM alpine\nARG a\nCOPY b$a /\nFROM alpine AS b\nENV C=1\nFROM b\nCOPY $C /", &[]).await;
    check("FROM alpine\nENV A=$PAHT", &[&format!("2 {var} '$PAHT' (did you mean $PATH?)")]).await;
    check(
        "FROM alpine\nARG A=$x\nRUN --mount=type=cache,target=/c$y z",
        &[&format!("2 {var} '$x'"), &format!("3 {var} '$y' (did you mean $A?)")],
    )
    .await;
    check(
        "FROM alpine\nCOPY <<E /x\n$a\nE\n# check=skip=UndefinedVar\nWORKDIR /$b",
        &[&format!("2 {var} '$a'")],
    )
    .await;
    check(
        "FROM alpine\nCMD a\ncmd [\"a\"]\nCMD b\nSHELL [\"x\"]\nENTRYPOINT c",
        &[
            "3 ConsistentInstructionCasing: Command 'cmd' should match the case of the command majority (uppercase)",
            "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "2 MultipleInstructionsDisallowed: Multiple cmd instructions should not be used in the same stage because only the last one will be used",
            "3 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
            "4 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        ],
    )
    .await;
    check(
        "FROM alpine\nENV a b\nLABEL a b\nWORKDIR c\nWORKDIR d",
        &[
            "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "3 LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            "4 WorkdirRelativePath: Relative workdir \"c\" can have unexpected results if the base image changes",
        ],
    )
    .await;
    let secret = "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data";
    check(
        "FROM alpine\nARG TOKEN a\nENV b=1 git_key=2",
        &[&format!("2 {secret} (ARG \"TOKEN\")"), &format!("3 {secret} (ENV \"git_key\")")],
    )
    .await;
    check(
        "FROM alpine\nEXPOSE 80/TcP 1:2 3",
        &[
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'",
            "2 ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
        ],
    )
    .await;
}

#[tokio::test]
async fn findings_in_copies_of_ignored_files() {
    let file = "FROM alpine AS a\nFROM alpine\nCOPY ./x /\nADD x/y http://h/x /\nCOPY . /\nCOPY --from=a x /";
    let copy = "CopyIgnoredFile: Attempting to";
    check_with(
        "x",
        &[],
        file,
        &[
            &format!("3 {copy} Copy file \"x\" that is excluded by .dockerignore"),
            &format!("4 {copy} Add file \"x/y\" that is excluded by .dockerignore"),
        ],
    )
    .await;
    check_with("x\n!x/z", &[], file, &[]).await;
    let all = format!("2 {copy} Copy file \".\" that is excluded by .dockerignore");
    check_with("*", &[], "FROM alpine\nCOPY . /", &[&all]).await;
}

#[tokio::test]
async fn findings_in_stages_that_nobody_needs() {
    let file = "FROM alpine AS a\nCMD x\nFROM alpine AS b\nFROM nope AS c";
    let json = "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals";
    let found = format!("2 JSONArgsRecommended: {json}");
    let missing = "4 ERROR: nope: docker.io/library/nope:latest: not found";
    // Images are asked for before instructions are read.
    check(file, &[missing]).await;
    check_with("", &[("target", "b")], file, &[]).await;
    check_with("", &[("target", "a")], file, &[&found]).await;
    let built = bridge(file, "");
    solve(built.clone(), &[("target", "b")]).await.expect("valid");
    assert_eq!(*built.warnings.lock().expect("no panic"), Vec::<String>::new());
}

#[tokio::test]
async fn the_file_or_the_client_decides_what_is_looked_for() {
    let file = "FROM alpine AS B\nCMD x";
    let stage = "StageNameCasing: Stage name 'B' should be lowercase";
    let failed = "0 ERROR: lint violation found for rules: StageNameCasing";
    let head = "# check=skip=JSONArgsRecommended;error=true\n";
    check(&format!("{head}{file}"), &[&format!("2 {stage}"), failed]).await;
    check_with("", &[("build-arg:BUILDKIT_DOCKERFILE_CHECK", "skip=all")], &format!("{head}{file}"), &[])
        .await;
    check(
        "# check=nonsense\nFROM alpine",
        &["0 ERROR: failed to parse check options: invalid check option \"nonsense\""],
    )
    .await;
}

#[tokio::test]
async fn of_several_platforms_one_is_heard() {
    let built = bridge("FROM alpine AS B", "");
    solve(built.clone(), &[("platform", "linux/amd64,linux/arm64")]).await.expect("valid");
    let heard = built.warnings.lock().expect("no panic").clone();
    assert!(heard.len() == 1 && heard[0].starts_with("StageNameCasing"), "{heard:?}");
}

#[tokio::test]
async fn warnings_are_sent_even_if_the_build_fails() {
    let failed = bridge("FROM alpine AS B\nMAINTAINER x\nNO", "");
    solve(failed.clone(), &[]).await.expect_err("unknown instruction");
    assert_eq!(failed.warnings.lock().expect("no panic").len(), 2);
}

#[tokio::test]
async fn the_answer_tells_all_of_a_finding() {
    let file = "FROM alpine AS B\n";
    let result = solve(bridge(file, ""), &[("requestid", "frontend.lint")]).await.expect("an answer");
    assert_eq!(result.metadata["result.statuscode"], "1");
    let mut json: Value = serde_json::from_slice(&result.metadata["result.json"]).expect("JSON");
    let definition =
        json["sources"][0].as_object_mut().expect("a source").remove("definition").expect("there");
    assert_eq!(definition["def"].as_array().map(Vec::len), Some(2));
    let names = definition["metadata"].to_string();
    assert!(names.contains("[internal] load build definition from Dockerfile"), "{names}");
    let expected = json!({
        "warnings": [{
            "ruleName": "StageNameCasing",
            "description": "Stage names should be lowercase",
            "url": "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
            "detail": "Stage name 'B' should be lowercase",
            "location": { "ranges": [{ "start": { "line": 1 }, "end": { "line": 1 } }] },
        }],
        "sources": [{ "filename": "Dockerfile", "data": "RlJPTSBhbHBpbmUgQVMgQgo=", "language": "Dockerfile" }],
    });
    assert_eq!(json, expected);
    let text = "\nWARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\
        Stage name 'B' should be lowercase\nDockerfile:1\n--------------------\n   \
        1 | >>> FROM alpine AS B\n   2 |     \n--------------------\n";
    assert_eq!(result.metadata["result.txt"], text);
    let clean = solve(bridge("FROM alpine", ""), &[("requestid", "frontend.lint")]).await.expect("an answer");
    assert_eq!(
        (&clean.metadata["result.statuscode"][..], &clean.metadata["result.txt"][..]),
        (&b"0"[..], &b""[..])
    );
}

#[tokio::test]
async fn outlines_tell_what_a_target_takes() {
    let file = "ARG image=pine\nARG unused=x\n# base is what it stands on\nARG base=\"al${image}\"\n\
        FROM $base AS first\nARG FOO=123\n# BAR is a <number>\nARG BAR=456 TOKEN\n\
        RUN --mount=type=secret,target=/s,required=true --mount=type=ssh --mount=type=cache,target=/c x\n\
        FROM alpine$unused AS second\nRUN --mount=type=secret,id=other x\n\
        # third makes it\nFROM first AS third\nARG FOO=9\nCOPY --from=fourth a b\nRUN --mount=type=ssh,id=a,required x\n\
        FROM alpine AS fourth\nARG image\n";
    // A stage that is defined later cannot be copied from.
    let file = file.replace("COPY --from=fourth a b\n", "");
    let (json, text) =
        ask(bridge(&file, ""), "frontend.outline", &[("target", "third"), ("build-arg:BAR", "7")]).await;
    let at = |line: u32| json!({ "ranges": [{ "start": { "line": line }, "end": { "line": line } }] });
    assert_eq!((&json["name"], &json["description"]), (&json!("third"), &json!("makes it")));
    let expected = json!([
        { "name": "image", "value": "pine", "location": at(1) },
        { "name": "base", "description": "is what it stands on", "value": "alpine", "location": at(4) },
        { "name": "BAR", "description": "is a <number>", "value": "7", "location": at(8) },
        { "name": "TOKEN", "location": at(8) },
        { "name": "FOO", "value": "9", "location": at(14) },
    ]);
    assert_eq!(json["args"], expected);
    assert_eq!(json["secrets"], json!([{ "name": "s", "required": true, "location": at(9) }]));
    let expected = json!([
        { "name": "default", "location": at(9) },
        { "name": "a", "required": true, "location": at(15) },
    ]);
    assert_eq!(json["ssh"], expected);
    let tables = "TARGET:      third\nDESCRIPTION: makes it\n\nBUILD ARG   VALUE    DESCRIPTION\n";
    assert!(
        text.starts_with(tables) && text.ends_with("SSH       REQUIRED\ndefault   \na         true\n\n"),
        "{text}"
    );
}

#[tokio::test]
async fn an_argument_that_builds_on_itself_keeps_its_needs() {
    let file = "ARG FOO=123\nARG ABC=abc\nARG DEF=def\nARG FOO=${FOO}${ABC}\nARG BAR=${FOO}456\n\
        ARG FOO=${FOO}456${BAR}\nFROM scratch\nARG FOO\nARG INFOO=123\nARG INBAR=${INFOO}456\n\
        ARG INFOO=${INFOO}456${INBAR}";
    let (json, _) = ask(bridge(file, ""), "frontend.outline", &[]).await;
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let args: Vec<String> = json["args"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|a| format!("{}={}", text(a, "name"), text(a, "value")))
        .collect();
    let expected =
        ["ABC=abc", "BAR=123abc456", "FOO=123abc456123abc456", "INBAR=123456", "INFOO=123456123456"];
    assert_eq!(args, expected);
}

#[tokio::test]
async fn other_questions() {
    let file = "FROM $x AS a\nFROM nope";
    let (targets, text) = ask(bridge(file, ""), "frontend.targets", &[]).await;
    assert_eq!(targets["targets"][0]["base"], "$x");
    assert_eq!(text, "TARGET    DESCRIPTION\na         \n(default) \n");
    let (questions, _) = ask(bridge(file, ""), "frontend.subrequests.describe", &[]).await;
    assert_eq!(questions[0]["name"], "frontend.outline");
    let broken = solve(bridge("NO", ""), &[("requestid", "frontend.targets")]).await.expect_err("no file");
    assert!(broken.source_location().is_some());
}

#[tokio::test]
async fn all_faults_are_told_where_that_is_asked_for() {
    let text = "FROM alpine AS a\nCOPY --form=a x y\nEXPOSE 1x\nRUN --mount=type=bnid x\nCOPY --chmod=9 x y";
    let faults = |json: &Value| -> Vec<String> {
        let list = json["otherErrors"].as_array().cloned().unwrap_or_default();
        let show = |e: &Value| {
            let at = |what: &str| {
                e.pointer(&format!("/location/ranges/0/start/{what}")).cloned().unwrap_or(json!(0))
            };
            format!("{}:{} {}", at("line"), at("character"), e["message"].as_str().unwrap_or_default())
        };
        list.iter().map(show).collect()
    };
    let first = "dockerfile parse error on line 2: unknown flag: --form (did you mean from?)";
    let (json, _) = ask(bridge(text, ""), "frontend.lint", &[("kiln.check", "full")]).await;
    assert_eq!(json["buildError"]["message"], first);
    assert_eq!(
        faults(&json),
        [
            "3:7 invalid containerPort: 1x",
            "4:12 unsupported mount type \"bnid\" (did you mean bind?)",
            "5:13 invalid chmod parameter: '9'. it should be octal string and between 0 and 07777",
        ]
    );
    // Others get what BuildKit says.
    let (json, _) = ask(bridge(text, ""), "frontend.lint", &[]).await;
    assert_eq!((json["buildError"]["message"].as_str(), faults(&json).len()), (Some(first), 0));
    let error = solve(bridge(text, ""), &[]).await.expect_err("faulty");
    assert_eq!(error.message(), first);
    let others = error.details().iter().find_map(|d| match d {
        errdefs::Detail::OtherFaults { faults } => Some(faults.len()),
        _ => None,
    });
    assert_eq!(others, Some(3));
}

#[tokio::test]
async fn own_rules_speak_where_they_are_asked() {
    let text = "FROM alpine\nADD x y\nRUN a | b";
    check(text, &[]).await;
    let own = [
        "2 kiln.AddForCopy: ADD would also fetch and unpack, and nothing here is to be fetched or unpacked; use COPY",
    ];
    check_with(
        "",
        &[("kiln.check", "full")],
        &format!("# check=skip=kiln.PipeFail\n{text}"),
        &[&own[0].replace("2 ", "3 ")],
    )
    .await;
    let fake = bridge(text, "");
    solve(fake.clone(), &[("kiln.check", "full")]).await.expect("good");
    assert!(fake.warnings.lock().expect("no panic").is_empty());
}
