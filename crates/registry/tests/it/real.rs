//! Against Debian's docker-registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use errdefs::{Class, Code};
use oci::{Descriptor, Digest, Manifest, json, media};
use registry::{Anonymous, HostConfig, KeyPair, Pushed, Registry};

use crate::server::{Debian, Setup, certificate, free_port};
use crate::{anonymous, config, layer, noise, push, read, reference};

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let server = Debian::start(&Setup::default());
    let registry = anonymous();
    let name = reference(&server.host, "a/b:v1");
    let (config, blob) = (b"{}".as_slice(), noise(100_000));

    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let mut first = push(&name, &blob);
    first.on_bytes = Arc::new(move |n| count.store(n, Ordering::Relaxed));
    assert_eq!(registry.push_blob(&first).await.expect("pushed"), Pushed::Uploaded);
    assert_eq!(sent.load(Ordering::Relaxed), 100_000);
    assert_eq!(registry.push_blob(&first).await.expect("pushed"), Pushed::Existed);
    registry.push_blob(&push(&name, config)).await.expect("pushed");

    let mut other = push(&reference(&server.host, "c"), &blob);
    other.mount_from = vec!["not/there".into(), "a/b".into()];
    // This registry may open an upload rather than mount from a repository that is not there.
    let how = registry.push_blob(&other).await.expect("pushed");
    assert!(matches!(how, Pushed::Mounted | Pushed::Uploaded));
    other.reference = reference(&server.host, "d");
    other.mount_from = vec!["a/b".into()];
    assert_eq!(registry.push_blob(&other).await.expect("pushed"), Pushed::Mounted);

    let descriptor = Descriptor::of(media::OCI_CONFIG, config);
    let manifest = Manifest::new(media::OCI_MANIFEST, descriptor.clone(), vec![layer(&blob)]);
    let bytes = Bytes::from(json::to_vec_indent(&manifest));
    let digest = registry.push_manifest(&name, media::OCI_MANIFEST, bytes.clone()).await.expect("pushed");
    assert_eq!(digest, Digest::of(&bytes));

    let found = registry.resolve(&name).await.expect("resolved");
    assert_eq!(found, Descriptor::of(media::OCI_MANIFEST, &bytes));
    assert_eq!(registry.manifest(&name, &found).await.expect("read"), bytes);
    assert_eq!(registry.small_blob(&name, &descriptor).await.expect("read"), config);
    assert_eq!(read(registry.blob(&name, &layer(&blob)).await).await.expect("read"), blob);
    let pinned = name.clone().with_tag(None).with_digest(digest);
    assert_eq!(registry.resolve(&pinned).await.expect("resolved").digest, found.digest);
}

#[tokio::test]
async fn a_large_blob_comes_in_pieces() {
    let server = Debian::start(&Setup::default());
    let name = reference(&server.host, "big");
    let blob = noise(21_000_001);
    anonymous().push_blob(&push(&name, &blob)).await.expect("pushed");
    assert!(read(anonymous().blob(&name, &layer(&blob)).await).await.expect("read") == blob);
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let server = Debian::start(&Setup::default());
    let name = reference(&server.host, "a:v1");
    let e = anonymous().resolve(&name).await.expect_err("not there");
    assert_eq!(
        (e.to_string(), e.code(), e.class()),
        (format!("{name}: not found"), Code::NotFound, Class::User)
    );
    let blob = layer(b"x");
    let e = read(anonymous().blob(&name, &blob).await).await.expect_err("not there");
    assert_eq!(e.to_string(), format!("blob {} of {name}: not found", blob.digest));
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_may_be_dead() {
    let server = Debian::start(&Setup::default());
    let blob = noise(1000);
    let there = reference(&server.host, "library/x");
    anonymous().push_blob(&push(&there, &blob)).await.expect("pushed");
    let manifest = Manifest::new(media::OCI_MANIFEST, layer(&blob), Vec::new());
    let bytes = Bytes::from(json::to_vec_indent(&manifest));
    anonymous().push_manifest(&there, media::OCI_MANIFEST, bytes.clone()).await.expect("pushed");

    let mut config = config();
    let mirrors = vec![free_port().to_string(), server.host.clone()];
    config.hosts.insert("docker.io".into(), HostConfig { mirrors, ..HostConfig::default() });
    let registry = Registry::new(config, Arc::new(Anonymous));
    let name = format!("x@{}", Digest::of(&bytes)).parse().expect("valid");
    assert_eq!(registry.resolve(&name).await.expect("resolved").digest, Digest::of(&bytes));
    assert_eq!(read(registry.blob(&name, &layer(&blob)).await).await.expect("read"), blob);
}

#[tokio::test]
async fn certificates_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let (cert, key) = certificate(dir.path());
    let server = Debian::start(&Setup { tls: Some((&cert, &key)), ..Setup::default() });
    let name = reference(&server.host, "a:v1");
    let with = |host: HostConfig| {
        let mut config = config();
        config.hosts.insert(server.host.clone(), host);
        Registry::new(config, Arc::new(Anonymous))
    };
    let check = async |registry: Registry, expected: &str| {
        let e = registry.resolve(&name).await.expect_err("nothing is there");
        let text = format!("{e} {}", e.hints().join(" "));
        assert!(text.contains(expected), "{text}");
    };
    let https = HostConfig { http: Some(false), ..HostConfig::default() };
    check(with(https.clone()), "failed to verify certificate").await;
    check(with(HostConfig { ca: vec![cert.clone()], ..https.clone() }), "not found").await;
    check(with(HostConfig { insecure: true, ..https }), "not found").await;
    check(anonymous(), "uses encryption").await;
    check(anonymous().insecure(), "not found").await;
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let (dir, own) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = certificate(dir.path());
    let (own_cert, own_key) = certificate(own.path());
    let setup = Setup { tls: Some((&cert, &key)), clients: Some(&own_cert), ..Setup::default() };
    let server = Debian::start(&setup);
    let name = reference(&server.host, "a:v1");
    let check = async |keys: Vec<KeyPair>, expected: &str| {
        let mut config = config();
        let host = HostConfig { http: Some(false), ca: vec![cert.clone()], keys, ..HostConfig::default() };
        config.hosts.insert(server.host.clone(), host);
        let e =
            Registry::new(config, Arc::new(Anonymous)).resolve(&name).await.expect_err("nothing is there");
        let told = format!("{e} {}", e.hints().join(" "));
        assert!(told.contains(expected), "{told}");
    };
    check(vec![], "wants to see a certificate").await;
    check(vec![KeyPair { cert: own_cert.clone(), key: own_key }], "not found").await;
    // The registry's own is not one of those.
    check(vec![KeyPair { cert: cert.clone(), key }], "wants to see a certificate").await;
}

#[tokio::test]
async fn insecure_falls_back_to_plain_http() {
    let server = Debian::start(&Setup::default());
    let name = reference(&server.host, "a:v1");
    let e = anonymous().insecure().resolve(&name).await.expect_err("nothing is there");
    assert_eq!(e.to_string(), format!("{name}: not found"));
    let mut config = config();
    config.hosts.insert(server.host.clone(), HostConfig { http: Some(false), ..HostConfig::default() });
    let e = Registry::new(config, Arc::new(Anonymous)).resolve(&name).await.expect_err("no TLS");
    assert!(e.to_string().ends_with("server gave HTTP response to HTTPS client"), "{e}");
    assert!(e.hints()[0].contains("http = true"));
}
