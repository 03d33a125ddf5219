//! What hangs on manifests.

use bytes::Bytes;
use oci::{Descriptor, Digest, Index, Manifest, json, media};

use crate::server::{Debian, Setup, Told, answer};
use crate::{anonymous, layer, push, reference};

/// An artifact about `subject`, and its bytes.
fn artifact(subject: &Descriptor, kind: &str) -> (Descriptor, Bytes) {
    let mut manifest =
        Manifest::new(media::OCI_MANIFEST, Descriptor::of(media::OCI_EMPTY, b"{}"), Vec::new());
    manifest.artifact_type = kind.into();
    manifest.subject = Some(subject.clone());
    let bytes = Bytes::from(json::to_vec(&manifest));
    let mut descriptor = Descriptor::of(media::OCI_MANIFEST, &bytes);
    descriptor.artifact_type = kind.into();
    (descriptor, bytes)
}

fn digests(list: &[Descriptor]) -> Vec<&Digest> {
    list.iter().map(|d| &d.digest).collect()
}

#[tokio::test]
async fn a_registry_without_a_list_gets_one_under_a_tag() {
    let server = Debian::start(&Setup::default());
    let (registry, name) = (anonymous(), reference(&server.host, "a:v1"));
    registry.push_blob(&push(&name, b"{}")).await.expect("pushed");
    let subject = layer(b"subject");
    assert!(registry.referrers(&name, &subject.digest).await.expect("none").is_empty());

    let kinds = ["one", "two", "three"];
    let all: Vec<_> = kinds.iter().map(|kind| artifact(&subject, kind)).collect();
    let pushes = all
        .iter()
        .map(|(descriptor, bytes)| registry.push_referrer(&name, &subject.digest, descriptor, bytes.clone()));
    // At once: none of them is lost.
    futures_util::future::try_join_all(pushes).await.expect("pushed");
    let (first, bytes) = &all[0];
    registry.push_referrer(&name, &subject.digest, first, bytes.clone()).await.expect("is there");
    let mut found = registry.referrers(&name, &subject.digest).await.expect("listed");
    found.sort_by_key(|d| kinds.iter().position(|kind| *kind == d.artifact_type));
    assert_eq!(found, all.iter().map(|(descriptor, _)| descriptor.clone()).collect::<Vec<_>>());
    let twos = registry.referrers_of_type(&name, &subject.digest, "two").await.expect("listed");
    assert_eq!(digests(&twos), [&all[1].0.digest]);

    // Something else under the tag stays as it is.
    let taken = layer(b"taken");
    let (_, bytes) = artifact(&subject, "x");
    let tag = name.clone().with_tag(Some(format!("sha256-{}", taken.digest.hex())));
    registry.push_manifest(&tag, media::OCI_MANIFEST, bytes.clone()).await.expect("pushed");
    let e = registry.push_referrer(&name, &taken.digest, first, bytes).await.expect_err("taken");
    assert!(e.to_string().contains("is no index"), "{e}");
}

#[tokio::test]
async fn a_registry_with_a_list_keeps_it_itself() {
    let subject = layer(b"subject");
    let (descriptor, bytes) = artifact(&subject, "one");
    let list = json::to_vec(&Index::new(media::OCI_INDEX, vec![descriptor.clone()]));
    let server = Told::start(move |seen, _| match seen.method.as_str() {
        "HEAD" => answer(404, &[], ""),
        "PUT" => answer(201, &[], ""),
        _ if seen.uri.contains("/referrers/") => {
            answer(200, &[("content-type", media::OCI_INDEX)], list.clone())
        }
        _ => answer(404, &[], ""),
    })
    .await;
    let name = reference(&server.host, "a:v1");
    anonymous().push_referrer(&name, &subject.digest, &descriptor, bytes).await.expect("pushed");
    let path = format!("/v2/a/manifests/{}", descriptor.digest);
    let listed = format!("GET /v2/a/referrers/{}", subject.digest);
    assert_eq!(server.lines(), [format!("HEAD {path}"), format!("PUT {path}"), listed]);
    let found = anonymous().referrers_of_type(&name, &subject.digest, "one").await.expect("listed");
    assert_eq!(digests(&found), [&descriptor.digest]);
    assert!(anonymous().referrers_of_type(&name, &subject.digest, "two").await.expect("listed").is_empty());
}
