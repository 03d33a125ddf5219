//! Scans of results: what they look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockerfile_llb::DockerfileFrontend;
use frontend::{Attestation, AttestationBody, BuildResult, Frontend, FrontendRequest};
use llb::{ExecOp, Graph, OpKind};

use crate::bridge::FakeBridge;

const SCANNER: &str = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["scan"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;

async fn build(dockerfile: &str, opts: &[(&str, &str)]) -> errdefs::Result<BuildResult> {
    let bridge = FakeBridge {
        files: [("Dockerfile".to_owned(), dockerfile.to_owned())].into(),
        images: [("docker.io/me/scan:latest".to_owned(), SCANNER.to_owned())].into(),
        ..FakeBridge::default()
    };
    let opts = opts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    DockerfileFrontend.solve(Arc::new(bridge), FrontendRequest { opts, inputs: BTreeMap::new() }).await
}

/// The step of the scan, and whether it is run in any case.
fn step(attestation: &Attestation) -> (ExecOp, bool) {
    let AttestationBody::File { reference, .. } = &attestation.body else { panic!("{attestation:?}") };
    let graph = Graph::load(&reference.definition).expect("a graph");
    let loaded = &graph.ops[&graph.root.digest];
    let OpKind::Exec(exec) = &loaded.op.kind else { panic!("{loaded:?}") };
    ((**exec).clone(), loaded.metadata.ignore_cache)
}

/// What is mounted below `/run/src`.
fn sources(exec: &ExecOp) -> Vec<&str> {
    exec.mounts.iter().filter_map(|mount| mount.dest.strip_prefix("/run/src/")).collect()
}

const STAGES: &str = "
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
FROM scratch AS file
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY <<EOF /file
data
EOF
FROM scratch AS quiet
COPY --from=file /file /quiet
FROM scratch AS unused
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY --from=file /file /unused
FROM scratch AS base
ARG BUILDKIT_SBOM_SCAN_STAGE=base,other
COPY --from=quiet /quiet /foo
FROM base
";

#[tokio::test]
async fn args_say_what_is_scanned_besides() {
    for (opts, expected) in [
        (&[][..], &["core/sbom", "extras/sbom-base", "extras/sbom-context", "extras/sbom-file"][..]),
        (
            &[("build-arg:BUILDKIT_SBOM_SCAN_CONTEXT", "false")],
            &["core/sbom", "extras/sbom-base", "extras/sbom-file"],
        ),
        (
            &[("build-arg:BUILDKIT_SBOM_SCAN_STAGE", "0"), ("build-arg:BUILDKIT_SBOM_SCAN_CONTEXT", "a")],
            &["core/sbom"],
        ),
        (&[("target", "quiet")], &["core/sbom", "extras/sbom-context", "extras/sbom-file"]),
    ] {
        let opts = [opts, &[("attest:sbom", "generator=me/scan")]].concat();
        let result = build(STAGES, &opts).await.expect("converts");
        let (exec, _) = step(&result.attestations["linux/amd64"][0]);
        assert_eq!(sources(&exec), expected, "{opts:?}");
    }
}

#[tokio::test]
async fn each_platform_is_scanned_by_the_image_of_the_client() {
    let opts = [
        ("attest:sbom", "\"generator=me/scan\",\"WORDS=a,b\""),
        ("platform", "linux/amd64,linux/arm64"),
        ("no-cache", ""),
    ];
    let result = build("FROM scratch\nCOPY . /\n", &opts).await.expect("converts");
    assert_eq!(result.attestations.keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    for attestations in result.attestations.values() {
        let [attestation] = &attestations[..] else { panic!("{attestations:?}") };
        let (exec, ignores_cache) = step(attestation);
        assert_eq!((exec.meta.args.join(" "), ignores_cache), ("scan".to_owned(), true));
        assert!(exec.meta.env.contains(&"BUILDKIT_SCAN_WORDS=a,b".to_owned()), "{:?}", exec.meta.env);
        assert_eq!(sources(&exec), ["core/sbom"]);
    }
}

#[tokio::test]
async fn a_scanner_that_cannot_be_is_told() {
    for (value, expected) in [
        ("generator=none", "docker.io/library/none:latest: not found"),
        ("generator=", "sbom generator cannot be empty"),
    ] {
        let e = build("FROM scratch\nCOPY . /\n", &[("attest:sbom", value)]).await.expect_err(value);
        assert_eq!(e.to_string(), expected);
    }
    let result = build("FROM scratch\nCOPY . /\n", &[]).await.expect("converts");
    assert!(result.attestations.is_empty());
}
