//! Scanner images list what results hold.

use serde_json::Value;

use crate::harness::{Engine, Folder, Registry, run_tool, tool};

/// Lists the files of each place that it is given.
const SCANNER: &str = r#"FROM busybox
COPY <<"EOF" /scan
#!/bin/sh
list() {
    files=$(cd $1 && find . -type f | sort | sed 's|.*|{"fileName":"&"}|' | paste -sd,)
    echo "{\"predicateType\":\"https://spdx.dev/Document\",\"predicate\":{\"spdxVersion\":\"SPDX-2.3\",\"name\":\"$WORD\",\"files\":[$files]}}" \
        > $BUILDKIT_SCAN_DESTINATION/$(basename $1).spdx.json
}
WORD=$BUILDKIT_SCAN_WORD
list $BUILDKIT_SCAN_SOURCE
for extra in $BUILDKIT_SCAN_SOURCE_EXTRAS/*; do list $extra; done
EOF
CMD ["sh", "/scan"]
"#;

const DOCKERFILE: &str = "FROM scratch AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY <<EOF /tool
EOF
FROM scratch
COPY --from=tools /tool /a
COPY <<EOF /b
EOF
";

fn names(statement: &Value) -> Vec<&str> {
    let files = statement["predicate"]["files"].as_array().expect("a list").iter();
    files.map(|file| file["fileName"].as_str().expect("a name")).collect()
}

#[test]
fn a_scanner_lists_the_result_and_its_stages() {
    let engine = Engine::new();
    let registry = Registry::open();
    let scanner = registry.name("scanner:1");
    engine.build(&Folder::with_dockerfile(SCANNER, &[])).args(["-t", &scanner, "--push"]).ok();

    let context = Folder::with_dockerfile(DOCKERFILE, &[]);
    let out = Folder::new(&[]);
    let sbom = format!("--sbom=generator={scanner},WORD=yes");
    engine.build(&context).args([&sbom, "-o", out.path().to_str().expect("UTF-8")]).ok();
    let read = |name: &str| -> Value { serde_json::from_str(&out.read(name)).expect("JSON") };
    let (core, stage) = (read("sbom.spdx.json"), read("sbom-tools.spdx.json"));
    assert_eq!((names(&core), names(&stage)), (vec!["./a", "./b"], vec!["./tool"]));
    assert_eq!(core["predicate"]["name"], "yes");
    let subjects = core["subject"].as_array().expect("a list").iter();
    assert_eq!(subjects.map(|s| s["name"].as_str().expect("a name")).collect::<Vec<_>>(), ["a", "b"]);

    let name = registry.name("app:1");
    engine.build(&context).args([&sbom, "-t", &name, "--push"]).ok();
    let told = engine.run("history inspect attachment --type sbom");
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let url = format!("docker://{name}");
    let image = run_tool(tool("skopeo").args(["inspect", "--tls-verify=false", &url]), b"");
    let image: Value = serde_json::from_slice(&image).expect("JSON");
    let layers = told["predicate"]["files"].as_array().expect("a list").iter();
    let layers = layers.map(|file| file["comment"].as_str().expect("its layer").to_owned());
    let expected = image["Layers"].as_array().expect("a list").iter();
    let expected = expected.map(|layer| format!("layerID: {}", layer.as_str().expect("a digest")));
    assert_eq!(layers.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

const SOFTWARE: &str = r#"FROM busybox AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY <<"EOF" /app/node_modules/b/package.json
{"name": "b", "version": "2.0.0", "license": "MIT"}
EOF
FROM busybox
ARG SOURCE_DATE_EPOCH
COPY <<"EOF" /var/lib/dpkg/status
Package: a
Status: install ok installed
Architecture: amd64
Version: 1.0-1
Depends: c

Package: c
Status: install ok installed
Architecture: amd64
Version: 1
EOF
COPY --from=tools /app /app
"#;

/// `name version` of all packages but the one that stands for the whole.
fn packages(statement: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let packages = statement["predicate"]["packages"].as_array().expect("a list").iter().skip(1);
    packages.map(|p| format!("{} {}", text(&p["name"]), text(&p["versionInfo"]))).collect()
}

#[test]
fn the_built_in_scanner_needs_no_image() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(SOFTWARE, &[]);
    let build = || {
        let out = Folder::new(&[]);
        let epoch = "SOURCE_DATE_EPOCH=1700000000";
        let args = ["--sbom=true", "--build-arg", epoch, "-o", out.path().to_str().expect("UTF-8")];
        let told = engine.build(&context).args(args).ok().stderr;
        (out.read("sbom.spdx.json"), out.read("sbom-tools.spdx.json"), told)
    };
    let (core, stage, told) = build();
    assert!(told.contains("3 packages: 2 deb, 1 npm"), "{told}");
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let (core_read, stage_read) = (read(&core), read(&stage));
    assert_eq!(packages(&core_read), ["a 1.0-1", "c 1", "b 2.0.0"]);
    assert_eq!(packages(&stage_read), ["b 2.0.0"]);
    assert_eq!(core_read["predicateType"], "https://spdx.dev/Document");
    assert_eq!(core_read["predicate"]["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    let (again, stage_again, _) = build();
    assert_eq!((again, stage_again), (core, stage));
}

#[test]
fn images_tell_the_layers_of_what_the_built_in_scanner_finds() {
    let engine = Engine::new();
    let registry = Registry::open();
    let name = registry.name("app:1");
    engine.build(&Folder::with_dockerfile(SOFTWARE, &[])).args(["--sbom=true", "-t", &name, "--push"]).ok();
    let told = engine.run("history inspect attachment --type sbom");
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let url = format!("docker://{name}");
    let image = run_tool(tool("skopeo").args(["inspect", "--tls-verify=false", &url]), b"");
    let image: Value = serde_json::from_slice(&image).expect("JSON");
    let files = told["predicate"]["files"].as_array().expect("a list").iter();
    let files = files.map(|file| (file["fileName"].clone(), file["comment"].clone())).collect::<Vec<_>>();
    let layer = |number: usize| format!("layerID: {}", image["Layers"][number].as_str().expect("a digest"));
    let expected = [("./app/node_modules/b/package.json", layer(2)), ("./var/lib/dpkg/status", layer(1))];
    assert_eq!(files, expected.map(|(path, layer)| (path.into(), layer.into())));
    assert_eq!(told["predicate"]["creationInfo"]["creators"].as_array().map(Vec::len), Some(1));
}
