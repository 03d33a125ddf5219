//! Instructions that only change the image's config.

use serde_json::{Value, json};

use crate::harness::{Engine, Folder, assert_has, check_config};

#[test]
fn each_instruction_has_its_place_in_the_config() {
    let engine = Engine::new();
    let check = |lines: &str, expect: Value| {
        check_config(&engine, &format!("FROM busybox\n{lines}"), &[], &json!({"config": expect}));
    };
    check("", json!({"Cmd": ["sh"], "Entrypoint": null, "Labels": null, "User": null, "Volumes": null}));
    check("CMD [\"a\", \"b c\"]", json!({"Cmd": ["a", "b c"], "Entrypoint": null}));
    check("CMD a b", json!({"Cmd": ["/bin/sh", "-c", "a b"]}));
    check("ENTRYPOINT [\"/e\"]", json!({"Entrypoint": ["/e"], "Cmd": null}));
    check("ENTRYPOINT e x\nCMD [\"y\"]", json!({"Entrypoint": ["/bin/sh", "-c", "e x"], "Cmd": ["y"]}));
    check("CMD [\"y\"]\nENTRYPOINT [\"/e\"]", json!({"Entrypoint": ["/e"], "Cmd": ["y"]}));
    check(
        "EXPOSE 80 443/tcp 53/udp 8000-8002",
        json!({"ExposedPorts": {
            "80/tcp": {}, "443/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {},
        }}),
    );
    check("LABEL a=1 \"b c\"=\"d e\"\nLABEL a=2", json!({"Labels": {"a": "2", "b c": "d e"}}));
    check("VOLUME /a /b\nVOLUME [\"/c d\"]", json!({"Volumes": {"/a": {}, "/b": {}, "/c d": {}}}));
    check("USER kim:staff", json!({"User": "kim:staff"}));
    check("WORKDIR /a\nWORKDIR b/../c", json!({"WorkingDir": "/a/c"}));
    check("STOPSIGNAL SIGINT", json!({"StopSignal": "SIGINT"}));
    check(
        "SHELL [\"/bin/ash\", \"-eux\", \"-c\"]\nCMD x",
        json!({
            "Shell": ["/bin/ash", "-eux", "-c"], "Cmd": ["/bin/ash", "-eux", "-c", "x"],
        }),
    );
    check(
        "HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --retries=4 CMD check me",
        json!({
            "Healthcheck": {
                "Test": ["CMD-SHELL", "check me"], "Interval": 5_000_000_000_i64, "Timeout": 3_000_000_000_i64,
                "StartPeriod": 60_000_000_000_i64, "Retries": 4,
            },
        }),
    );
    check("HEALTHCHECK CMD [\"x\"]\nHEALTHCHECK NONE", json!({"Healthcheck": {"Test": ["NONE"]}}));
    check(
        "ENV A=1 B=\"two words\"\nENV C three words",
        json!({
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1", "B=two words", "C=three words"],
        }),
    );
    check(
        "ENV PATH=/x:$PATH",
        json!({"Env": ["PATH=/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
    );
    check_config(
        &engine,
        "FROM busybox\nMAINTAINER Kim <kim@example.com>",
        &[],
        &json!({"author": "Kim <kim@example.com>"}),
    );
}

#[test]
fn scratch_has_a_path_and_the_platform_of_the_host() {
    let engine = Engine::new();
    check_config(
        &engine,
        "FROM scratch\nCOPY Dockerfile /",
        &[],
        &json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"},
        }),
    );
}

#[test]
fn labels_of_the_command_line_win() {
    let engine = Engine::new();
    check_config(
        &engine,
        "FROM busybox\nLABEL a=1 b=1",
        &["--label", "b=2", "--label", "c=x=y"],
        &json!({
            "config": {"Labels": {"a": "1", "b": "2", "c": "x=y"}},
        }),
    );
}

#[test]
fn history_tells_each_instruction() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox\nARG V=1\nENV A=$V\nRUN echo $A > /a\nCOPY Dockerfile /b\nWORKDIR /w\nLABEL x=y\nCMD [\"c\"]\n";
    let image = engine.build(&Folder::with_dockerfile(dockerfile, &[])).image();
    let told: Vec<_> = image.config["history"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|h| {
            let text = |key: &str| h[key].as_str().unwrap_or_default().to_owned();
            (text("created_by"), text("comment"), h["empty_layer"] == true)
        })
        .collect();
    let own = |text: &str, is_empty| (text.to_owned(), "buildkit.dockerfile.v0".to_owned(), is_empty);
    assert_eq!(
        told,
        [
            ("the tests".to_owned(), String::new(), false),
            own("ARG V=1", true),
            own("ENV A=1", true),
            own("RUN |1 V=1 /bin/sh -c echo $A > /a # buildkit", false),
            own("COPY Dockerfile /b # buildkit", false),
            own("WORKDIR /w", false),
            own("LABEL x=y", true),
            own("CMD [\"c\"]", true),
        ]
    );
    assert_eq!(image.config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(4));
    assert_eq!(image.layer_paths().len(), 4);
    assert_eq!(image.layer(1), ["644 0:0 a '1\\n'"]);
    assert_eq!(image.layer(3), ["755 0:0 w/"]);
}

#[test]
fn comments_escapes_and_syntax_lines() {
    let engine = Engine::new();
    let check = |dockerfile: &str, expect: Value| {
        check_config(&engine, dockerfile, &[], &json!({"config": {"Cmd": expect}}));
    };
    check("# escape=`\nFROM busybox\nCMD a `\n  b\n", json!(["/bin/sh", "-c", "a   b"]));
    check("# syntax=docker/dockerfile:1\nFROM busybox\nCMD [\"x\"]", json!(["x"]));
    check("# a comment\nfrom busybox\n\n# more\ncmd [\"x\", \\\n# inside\n\"y\"]\n", json!(["x", "y"]));
    check("\u{feff}FROM busybox\r\nCMD [\"x\"]\r\n", json!(["x"]));
}

#[test]
fn an_image_of_a_layout_passes_its_config_on() {
    let engine = Engine::new();
    let image = engine.build(&Folder::with_dockerfile("FROM busybox\nUSER kim\nEXPOSE 1", &[])).image();
    assert_has(
        &image.config,
        &json!({"config": {"User": "kim", "ExposedPorts": {"1/tcp": {}}, "Cmd": ["sh"]}}),
    );
    assert_eq!(image.layer_paths().len(), 1);
}
