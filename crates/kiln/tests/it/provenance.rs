//! Builds tell what they were made from.

use serde_json::{Value, json};

use crate::harness::{Engine, FileServer, Folder, assert_has, run_tool, tool};

const DOCKERFILE: &str = "FROM busybox\nARG A\nRUN --network=none --mount=type=secret,id=s,required=false echo $A > /a\nCOPY f /\n";

fn provenance_of_last(engine: &Engine) -> Value {
    let output = engine.run("history inspect attachment --type provenance");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_record_of_a_build_tells_all() {
    let engine = Engine::new();
    let folder = Folder::with_dockerfile(DOCKERFILE, &[("f", "x")]);
    engine.build(&folder).args(["--build-arg", "A=1", "--label", "l=m"]).ok();
    let told = provenance_of_last(&engine);
    let definition = &told["buildDefinition"];
    assert_has(
        definition,
        &json!({
            "externalParameters": {
                "configSource": {},
                "request": {
                    "frontend": "dockerfile.v0",
                    "args": {"build-arg:A": "1", "label:l": "m"},
                    "secrets": [{"id": "s", "optional": true}],
                    "locals": [{"name": "context"}, {"name": "dockerfile"}],
                    "compatibilityVersion": 30,
                },
            },
        }),
    );
    let image = &definition["resolvedDependencies"][0];
    let uri = image["uri"].as_str().expect("a name");
    assert!(uri.starts_with("pkg:oci/") && uri.contains("platform=linux%2F"), "{uri}");
    assert_eq!(image["digest"]["sha256"].as_str().map(str::len), Some(64));
    let steps = definition["internalParameters"]["buildConfig"]["llbDefinition"].as_array().expect("steps");
    let kinds = steps.iter().flat_map(|step| step["op"]["Op"].as_object().expect("an op").keys());
    assert_eq!(kinds.collect::<Vec<_>>(), ["source", "exec", "source", "file"]);
    let metadata = &told["runDetails"]["metadata"];
    let source = &metadata["buildkit_metadata"]["source"];
    assert_eq!(source["locations"]["step1"]["locations"][0]["ranges"][0]["start"]["line"], 3);
    assert_eq!(source["infos"][0]["filename"], "Dockerfile");
    assert_eq!(metadata["buildkit_completeness"], json!({"request": true, "resolvedDependencies": false}));
    // The context is no material with a digest.
    assert_eq!(metadata["buildkit_hermetic"], Value::Null);
}

#[test]
fn a_build_from_pages_and_repositories_is_complete() {
    let engine = Engine::new();
    let files = Folder::new(&[("page", "hello")]);
    let repository = Folder::new(&[]);
    let server = FileServer::start(&files);
    let git = |words: &[&str]| {
        let mut git = tool("git");
        git.current_dir(repository.path()).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(words);
        let output = git.output().expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let page = server.url("page");
    repository.write("Dockerfile", format!("FROM scratch\nADD {page} /p\nADD Dockerfile /\n"));
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "x"]);
    git(&["update-server-info"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let served = FileServer::start(&repository);
    let url = format!("{}#main", served.url(".git"));
    engine.build_from(&url).args(["--provenance=mode=max,complete-materials=true"]).ok();
    let told = provenance_of_last(&engine);
    let definition = &told["buildDefinition"];
    let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
    let expected = json!([
        {"uri": url, "digest": {algorithm: commit}},
        {"uri": page, "digest": {"sha256": sha256("hello")}},
    ]);
    assert_eq!(definition["resolvedDependencies"], expected);
    assert_eq!(definition["externalParameters"]["configSource"]["uri"], url);
    let metadata = &told["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_completeness"]["resolvedDependencies"], true);
    assert_eq!(metadata["buildkit_hermetic"], true);

    let local = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /\n", &[]);
    let told = ["provenance materials are incomplete", "- context\n", "reason: local_source"];
    engine.build(&local).args(["--provenance=complete-materials=true"]).fails(1, &told);
}

fn sha256(text: &str) -> String {
    let told = run_tool(&mut tool("sha256sum"), text.as_bytes());
    String::from_utf8_lossy(&told).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn folders_get_it_when_it_is_asked_for() {
    let engine = Engine::new();
    let folder = Folder::with_dockerfile(DOCKERFILE, &[("f", "x")]);
    let out = Folder::new(&[]);
    let build = |flag: &str| engine.build(&folder).args(["-o", &out.path().display().to_string(), flag]).ok();
    build("--provenance=true");
    let told: Value = serde_json::from_str(&out.read("provenance.json")).expect("JSON");
    assert_has(
        &told,
        &json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}),
    );
    build("--attest=type=provenance,mode=min,version=v0.2,filename=old.json,builder-id=https://me");
    let told: Value = serde_json::from_str(&out.read("old.json")).expect("JSON");
    assert_has(
        &told,
        &json!({
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "predicate": {
                "buildType": "https://mobyproject.org/buildkit@v1",
                "builder": {"id": "https://me"},
                "invocation": {"parameters": {"frontend": "dockerfile.v0"}},
            },
        }),
    );
    assert_eq!(told["predicate"]["buildConfig"], Value::Null);
    let empty = Folder::new(&[]);
    engine.build(&folder).args(["-o", &empty.path().display().to_string()]).ok();
    assert!(!empty.names().iter().any(|name| name.ends_with(".json")), "{:?}", empty.names());
    engine.build(&folder).args(["--provenance=mode=much"]).fails(1, &["invalid mode \"much\""]);
}

#[test]
fn the_metadata_file_has_it() {
    let engine = Engine::new();
    let folder = Folder::with_dockerfile("from busybox\nRUN true\n", &[]);
    let file = engine.home().join("metadata.json");
    let build = |mode: &str| -> Value {
        let build = engine.build(&folder).args(["--metadata-file", &file.display().to_string()]);
        build.env("BUILDX_METADATA_PROVENANCE", mode).env("BUILDX_METADATA_WARNINGS", "1").ok();
        serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON")
    };
    let told = build("");
    let provenance = &told["buildx.build.provenance"];
    assert_has(
        provenance,
        &json!({
            "buildType": "https://mobyproject.org/buildkit@v1",
            "invocation": {"parameters": {"frontend": "dockerfile.v0"}},
        }),
    );
    assert_eq!((&provenance["buildConfig"], &provenance["metadata"]), (&Value::Null, &Value::Null));
    assert!(build("max")["buildx.build.provenance"]["buildConfig"]["llbDefinition"].is_array());
    assert_eq!(build("disabled")["buildx.build.provenance"], Value::Null);
}

#[test]
fn an_owner_of_an_engine_tells_more() {
    let told = Folder::new(&[("a.json", r#"{"team": "x"}"#)]);
    let engine = Engine::with_config(&format!("provenanceEnvDir = {:?}\n", told.path()));
    engine.build(&Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /\n", &[])).ok();
    let parameters = &provenance_of_last(&engine)["buildDefinition"]["internalParameters"];
    assert_eq!(parameters["team"], "x");
    assert!(parameters["dockerfileVersion"].is_string());
}

#[test]
fn what_steps_and_the_machine_used_is_told_where_that_is_asked_for() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox\nRUN i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done\nRUN true\n";
    let folder = Folder::with_dockerfile(dockerfile, &[]);
    let usage = |provenance: &str| {
        engine.build(&folder).args(["--no-cache", provenance]).ok();
        let told = provenance_of_last(&engine);
        let config = &told["buildDefinition"]["internalParameters"]["buildConfig"];
        let steps = config["llbDefinition"].as_array().expect("steps").iter();
        let of_steps: Vec<Value> = steps.map(|step| step["resourceUsage"].clone()).collect();
        (of_steps, told["runDetails"]["metadata"]["buildkit_metadata"]["sysUsage"].clone())
    };
    let (of_steps, of_machine) = usage("--provenance=mode=max");
    assert!(of_steps.iter().all(Value::is_null) && of_machine.is_null(), "{of_steps:?} {of_machine}");

    let (of_steps, of_machine) = usage("--provenance=mode=max,capture-usage=true");
    let measured: Vec<&Value> = of_steps.iter().filter(|usage| !usage.is_null()).collect();
    assert_eq!(measured.len(), 2, "{of_steps:?}");
    let last = measured[0]["samples"].as_array().and_then(|samples| samples.last()).expect("a sample");
    assert!(last["cpuStat"]["usageNanos"].as_u64() > Some(1_000_000), "{last}");
    assert!(last["memoryStat"]["pgfault"].as_u64() > Some(0), "{last}");
    assert!(measured[0]["sysCPUStat"]["user"].as_f64().is_some(), "{measured:?}");
    let machine = of_machine.as_array().and_then(|samples| samples.last()).expect("a sample");
    assert!(machine["memoryStat"]["total"].as_u64() > Some(0), "{machine}");
    assert!(machine["cpuStat"]["user"].as_f64() > Some(0.0), "{machine}");
}
