//! Images for Windows: nothing runs, but files are copied and configs are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile_llb::DockerfileFrontend;
use frontend::{BuildResult, Frontend, FrontendRequest, Refs};
use llb::{FileActionKind, Graph, OpKind};
use serde_json::{Value, json};

use crate::bridge::FakeBridge;

async fn build(dockerfile: &str, platform: &str) -> Result<BuildResult, String> {
    let bridge = FakeBridge {
        files: [("Dockerfile".to_owned(), dockerfile.to_owned())].into(),
        ..FakeBridge::default()
    };
    let opts = [("platform".to_owned(), platform.to_owned())].into();
    let request = FrontendRequest { opts, inputs: BTreeMap::new() };
    DockerfileFrontend.solve(Arc::new(bridge), request).await.map_err(|e| e.to_string())
}

fn config(result: &BuildResult, key: &str) -> Value {
    serde_json::from_slice(&result.metadata[key]).expect("JSON")
}

/// Where the file actions of a result write to.
fn destinations(result: &BuildResult) -> Vec<String> {
    let Refs::Single(reference) = &result.refs else { panic!("{result:?}") };
    let graph = Graph::load(&reference.definition).expect("a graph");
    let mut found: Vec<String> = graph
        .ops
        .values()
        .filter_map(|loaded| match &loaded.op.kind {
            OpKind::File(file) => Some(&file.actions),
            _ => None,
        })
        .flatten()
        .filter_map(|action| match &action.kind {
            FileActionKind::Copy(copy) => Some(format!("{} {}", copy.src, copy.dest)),
            FileActionKind::MkDir(dir) => Some(dir.path.clone()),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn each_platform_has_the_shell_and_the_path_of_its_system() {
    let dockerfile = "FROM scratch\nENTRYPOINT foo bar\nCOPY Dockerfile .";
    let result = build(dockerfile, "windows(10.0.17763)/amd64,linux/amd64").await.expect("converts");
    let windows = config(&result, "containerimage.config/windows(10.0.17763)/amd64");
    assert_eq!(windows["config"]["Entrypoint"], json!(["cmd", "/S", "/C", "foo bar"]));
    assert_eq!(windows["config"].get("Env"), None);
    assert_eq!(windows["os.version"], "10.0.17763");
    let linux = config(&result, "containerimage.config/linux/amd64");
    assert_eq!(linux["config"]["Entrypoint"], json!(["/bin/sh", "-c", "foo bar"]));
    assert!(linux["config"]["Env"][0].as_str().is_some_and(|line| line.starts_with("PATH=")));
    let platforms = config(&result, "refs.platforms");
    let ids: Vec<&Value> =
        platforms["Platforms"].as_array().expect("a list").iter().map(|p| &p["ID"]).collect();
    assert_eq!(ids, ["windows(10.0.17763)/amd64", "linux/amd64"]);
}

#[tokio::test]
async fn drives_and_backslashes_are_understood() {
    let dockerfile = "# escape=`\nFROM scratch\nWORKDIR C:\\app\nWORKDIR sub\nCOPY a\\b c:\\x\\\nCOPY d .";
    let result = build(dockerfile, "windows/amd64").await.expect("converts");
    assert_eq!(config(&result, "containerimage.config")["config"]["WorkingDir"], "\\app\\sub");
    assert_eq!(destinations(&result), ["/a/b /x/", "/app", "/app/sub", "/d /app/sub/"]);
    let error = build("# escape=`\nFROM scratch\nCOPY a D:\\x", "windows/amd64").await.expect_err("refused");
    assert_eq!(error, "The specified path is not on the system drive (C:)");
}
