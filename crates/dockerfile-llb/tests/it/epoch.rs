//! SOURCE_DATE_EPOCH that names a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile_llb::DockerfileFrontend;
use frontend::{Frontend, FrontendRequest, GitMeta, HttpMeta, SourceMeta};
use fsutil::tar::{Entry, Writer};
use oci::Digest;

use crate::bridge::FakeBridge;

const COMMIT: &[u8] = b"tree 1\nauthor A <a@x> 7 +0000\ncommitter C <c@x> 1700000101 +0200\n\ntext\n";

fn page(modified: Option<i64>) -> SourceMeta {
    let digest = Digest::of(b"");
    SourceMeta::Http(HttpMeta { digest, filename: "x".into(), modified, checksum: None })
}

fn archive(times: &[i64]) -> String {
    let mut writer = Writer::new(Vec::new());
    for (number, time) in times.iter().enumerate() {
        let path = format!("file{number}").into_bytes();
        writer.pax_header(&Entry { path, mtime: (*time, 0), ..Entry::default() }).expect("written");
    }
    String::from_utf8(writer.finish().expect("ended")).expect("headers are ASCII")
}

async fn build(dockerfile: &str, opts: &[(&str, &str)]) -> Result<Option<i64>, String> {
    let bridge = FakeBridge {
        files: [("Dockerfile", dockerfile.to_owned()), ("src.tar", archive(&[5, 1_700_000_402, 9]))]
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text))
            .collect(),
        sources: [
            ("https://h/dated", page(Some(1_700_000_201))),
            ("https://h/src.tar", page(None)),
            (
                "git://h/x.git",
                SourceMeta::Git(GitMeta { commit_object: COMMIT.into(), ..GitMeta::default() }),
            ),
        ]
        .into_iter()
        .map(|(name, meta)| (name.to_owned(), meta))
        .collect(),
        ..FakeBridge::default()
    };
    let opts = opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let request = FrontendRequest { opts, inputs: BTreeMap::new() };
    let result = DockerfileFrontend.solve(Arc::new(bridge), request).await.map_err(|e| e.to_string())?;
    let epoch = result.metadata.get("source.date.epoch");
    Ok(epoch.map(|text| std::str::from_utf8(text).expect("text").parse().expect("a number")))
}

#[tokio::test]
async fn the_time_is_that_of_the_source() {
    let check = async |dockerfile: &str, opts: &[(&str, &str)], expected: Option<i64>| {
        assert_eq!(build(dockerfile, opts).await, Ok(expected), "{dockerfile}");
    };
    let stage = |add: &str| {
        format!(
            "ARG SOURCE_DATE_EPOCH=From\nARG where=h\nFROM scratch AS from\nARG file=dated\n{add}\nFROM scratch"
        )
    };
    check(&stage("ADD https://h/$file /"), &[], Some(1_700_000_201)).await;
    check(&stage("ADD https://$where/src.tar /"), &[], Some(1_700_000_402)).await;
    check(&stage("ADD https://h/x.git /"), &[], Some(1_700_000_101)).await;
    check(&stage("ADD https://h/$file /"), &[("build-arg:file", "src.tar")], Some(1_700_000_402)).await;
    check(&stage("ADD https://h/$file /"), &[("build-arg:SOURCE_DATE_EPOCH", "77")], Some(77)).await;
    let named = "ARG SOURCE_DATE_EPOCH=mine\nFROM scratch";
    check(named, &[("context:mine", "https://h/dated")], Some(1_700_000_201)).await;
    check(named, &[("context:mine", "docker-image://scratch")], None).await;
    check(named, &[("context:mine", "https://h/x.git")], Some(1_700_000_101)).await;
    check("ARG SOURCE_DATE_EPOCH=context\nFROM scratch", &[], None).await;
    let git = [("context", "https://h/x.git"), ("build-arg:SOURCE_DATE_EPOCH", "context")];
    check("FROM scratch", &git, Some(1_700_000_101)).await;
}

#[tokio::test]
async fn a_stage_that_is_more_than_a_source_is_refused() {
    let check = async |stage: &str, expected: &str| {
        let dockerfile = format!("ARG SOURCE_DATE_EPOCH=from\n{stage}\nFROM scratch");
        assert_eq!(build(&dockerfile, &[]).await, Err(expected.to_owned()), "{stage}");
    };
    check(
        "FROM scratch AS from\nCOPY Dockerfile /",
        "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported COPY instruction",
    )
    .await;
    check("FROM busybox AS from\nADD https://h/x /", "SOURCE_DATE_EPOCH stage must use FROM scratch").await;
    let not_one = "SOURCE_DATE_EPOCH stage must contain exactly one remote ADD";
    check("FROM scratch AS from\nADD https://h/dated /\nADD https://h/dated /", not_one).await;
    check("FROM scratch AS from", not_one).await;
    check(
        "FROM scratch AS from\nADD file /",
        "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD",
    )
    .await;
    check("FROM scratch AS other", "invalid SOURCE_DATE_EPOCH: from").await;
}
