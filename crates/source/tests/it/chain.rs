//! What is said of images in registries and in layouts.

use std::sync::Arc;

use bytes::Bytes;
use frontend::{AttestationChain, ResolveOptions};
use oci::{Descriptor, Digest, Index, Manifest, Reference, json, media};
use registry::{Anonymous, Config, Registry};

use crate::image::{Image, image, layout_client};
use crate::server::Debian;
use crate::world::World;

const SIGNATURE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An image with two statements, and the digests of them and of their manifest.
struct Attested {
    image: Image,
    of_image: Digest,
    manifest: Descriptor,
    statements: [Digest; 2],
}

fn attested() -> Attested {
    let mut image = image();
    image.blobs.pop();
    let entry = image.blobs.last().expect("a manifest").0.clone();
    let statement = |kind: &str| {
        let bytes = format!(r#"{{"predicateType":"{kind}"}}"#).into_bytes();
        let mut named = Descriptor::of(media::IN_TOTO, &bytes);
        named.annotations.insert("in-toto.io/predicate-type".into(), kind.into());
        (named, bytes)
    };
    let empty = (Descriptor::of(media::OCI_EMPTY, b"{}"), b"{}".to_vec());
    let statements = [statement("sbom"), statement("provenance")];
    let layers = statements.iter().map(|(named, _)| named.clone()).collect();
    let manifest = json::to_vec_indent(&Manifest::new(media::OCI_MANIFEST, empty.0.clone(), layers));
    let mut about = Descriptor::of(media::OCI_MANIFEST, &manifest);
    for (key, value) in [
        ("vnd.docker.reference.type", "attestation-manifest"),
        ("vnd.docker.reference.digest", entry.digest.as_str()),
    ] {
        about.annotations.insert(key.into(), value.into());
    }
    about.platform = Some("unknown/unknown".parse().expect("valid"));
    let index = Index::new(media::OCI_INDEX, vec![entry.clone(), about.clone()]);
    let index = json::to_vec_indent(&index);
    image.root = Descriptor::of(media::OCI_INDEX, &index);
    let digests = statements.each_ref().map(|(named, _)| named.digest.clone());
    image.blobs.extend(statements);
    image.blobs.extend([empty, (about.clone(), manifest), (image.root.clone(), index)]);
    Attested { image, of_image: entry.digest, manifest: about, statements: digests }
}

fn asking(types: &[&str]) -> ResolveOptions {
    let attestations = Some(types.iter().map(|t| (*t).to_owned()).collect());
    ResolveOptions { no_config: true, attestations, store_id: "store".into(), ..ResolveOptions::default() }
}

fn digests(chain: &AttestationChain) -> Vec<&Digest> {
    chain
        .blobs
        .iter()
        .map(|(named, bytes)| {
            assert_eq!(named.digest, Digest::of(bytes));
            &named.digest
        })
        .collect()
}

#[tokio::test]
async fn an_image_of_a_layout_comes_with_what_is_said_of_it() {
    let (world, it, dir) = (World::new().await, attested(), tempfile::tempdir().expect("a folder"));
    it.image.write(dir.path());
    let cx = layout_client(&world, "s", dir.path()).await;
    let id = format!("oci-layout://x/base@{}", it.image.root.digest);
    for (types, statements) in [
        (&[][..], &[][..]),
        (&["provenance", "none"], &it.statements[1..]),
        (&["sbom", "provenance"], &it.statements),
    ] {
        let found = world.sources.resolve_image_config(&id, &asking(types), &cx).await.expect("resolved");
        assert_eq!((&found.digest, found.config.len()), (&it.image.root.digest, 0));
        let chain = found.chain.expect("has one");
        assert_eq!((&chain.root, &chain.image_manifest), (&it.image.root.digest, &it.of_image));
        assert_eq!(chain.attestation_manifest.as_ref(), Some(&it.manifest.digest));
        let expected: Vec<_> =
            [&it.image.root.digest, &it.manifest.digest].into_iter().chain(statements).collect();
        assert_eq!(digests(&chain), expected);
    }
    let options = ResolveOptions { platform: Some("linux/s390x".parse().expect("valid")), ..asking(&[]) };
    let e = world.sources.resolve_image_config(&id, &options, &cx).await.expect_err("not for that");
    assert!(e.to_string().ends_with(": no manifest for platform linux/s390x: not found"), "{e}");
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_looked_for() {
    let (world, it, dir) = (World::new().await, attested(), tempfile::tempdir().expect("a folder"));
    it.image.write(dir.path());
    let cx = layout_client(&world, "s", dir.path()).await;
    let id = format!("oci-layout://x/base@{}", it.image.root.digest);
    let options = ResolveOptions { attestations: None, no_config: false, ..asking(&[]) };
    let found = world.sources.resolve_image_config(&id, &options, &cx).await.expect("resolved");
    assert_eq!((found.chain, found.config.is_empty()), (None, false));
    assert!(!world.content.contains(&it.manifest.digest));
}

#[tokio::test]
async fn a_registry_has_signatures_too() {
    let (world, it, server) = (World::new().await, attested(), Debian::start());
    let name: Reference = format!("{}/base:v1", server.host).parse().expect("valid");
    it.image.push(&name).await;
    let cx = world.context(&[]);
    let ask = async || {
        let found = world.sources.resolve_image_config(&name.to_string(), &asking(&["sbom"]), &cx).await;
        found.expect("resolved").chain.expect("has one")
    };
    assert_eq!(ask().await.signature_manifests, []);

    // Debian's registry knows no referrers: clients keep the list under a tag.
    let registry = Registry::new(Config::default(), Arc::new(Anonymous));
    let empty = Descriptor::of(media::OCI_EMPTY, b"{}");
    let mut signature = Manifest::new(media::OCI_MANIFEST, empty.clone(), vec![empty.clone()]);
    signature.subject = Some(it.manifest.clone());
    let signature = json::to_vec(&signature);
    let mut entry = Descriptor::of(media::OCI_MANIFEST, &signature);
    entry.artifact_type = SIGNATURE.into();
    let list = json::to_vec(&Index::new(media::OCI_INDEX, vec![entry.clone()]));
    let tag = format!("sha256-{}", it.manifest.digest.hex());
    for (tag, kind, bytes) in [(None, media::OCI_MANIFEST, signature), (Some(tag), media::OCI_INDEX, list)] {
        let name = name.clone().with_tag(tag);
        registry.push_manifest(&name, kind, Bytes::from(bytes)).await.expect("pushed");
    }
    let chain = ask().await;
    assert_eq!(chain.signature_manifests, [entry.digest.clone()]);
    let expected =
        [&it.image.root.digest, &it.manifest.digest, &entry.digest, &empty.digest, &it.statements[0]];
    assert_eq!(digests(&chain), expected);
}

/// What hangs on an image instead of standing in its index is found as well, by the list under a tag.
#[tokio::test]
async fn what_hangs_on_an_image_is_said_of_it() {
    const ATTESTATIONS: &str = "application/vnd.docker.attestation.manifest.v1+json";
    let (world, server) = (World::new().await, Debian::start());
    let registry = Registry::new(Config::default(), Arc::new(Anonymous));
    let it = attested();
    // The same with nothing about it in the index, and without an index.
    let mut plain = image();
    let (entry, _) = plain.blobs[plain.blobs.len() - 2].clone();
    assert_eq!(entry.digest, it.of_image);
    plain.blobs.extend(it.image.blobs.into_iter().filter(|(d, _)| d.media_type != media::OCI_INDEX));
    for (tag, root) in [("index", plain.root.clone()), ("manifest", entry.clone())] {
        let name: Reference = format!("{}/{tag}:v1", server.host).parse().expect("valid");
        plain.root = root.clone();
        plain.push(&name).await;
        let cx = world.context(&[]);
        let ask = async || {
            let found = world.sources.resolve_image_config(&name.to_string(), &asking(&["sbom"]), &cx).await;
            found.expect("resolved").chain
        };
        let silent = ask().await;
        assert_eq!(silent.is_some(), tag == "index", "an image without an index has no chain");
        assert_eq!(silent.and_then(|chain| chain.attestation_manifest), None);
        let mut hanging = it.manifest.clone();
        hanging.artifact_type = ATTESTATIONS.into();
        let list = json::to_vec(&Index::new(media::OCI_INDEX, vec![hanging]));
        let under = name.clone().with_tag(Some(format!("sha256-{}", entry.digest.hex())));
        registry.push_manifest(&under, media::OCI_INDEX, Bytes::from(list)).await.expect("pushed");
        let chain = ask().await.expect("has one");
        assert_eq!((&chain.root, &chain.image_manifest), (&root.digest, &entry.digest));
        assert_eq!(chain.attestation_manifest.as_ref(), Some(&it.manifest.digest));
        assert_eq!(digests(&chain), [&root.digest, &it.manifest.digest, &it.statements[0]]);
    }
}
