//! What is said about results: in images and beside files.

use std::collections::BTreeMap;

use bytes::Bytes;
use exporter::{Attestation, AttestationBody, Exportable};
use frontend::{AttestationKind, Subject};
use oci::{Descriptor, Digest, Index, Manifest};
use refs::ImmutableRef;
use serde_json::Value;
use session::{DirMode, Output};

use crate::world::{World, by_platform, single};

const ARM: &str = r#"{"architecture":"arm64","os":"linux"}"#;
const SPDX: &str = "https://spdx.dev/Document";

fn in_toto(body: AttestationBody, predicate_type: &str, subjects: Vec<Subject>) -> Attestation {
    let kind = AttestationKind::InToto { predicate_type: predicate_type.into(), subjects };
    Attestation { kind, metadata: BTreeMap::new(), body }
}

fn inline(name: &str, content: &'static str) -> Attestation {
    let body = AttestationBody::Inline(Bytes::from_static(content.as_bytes()));
    with(in_toto(body, "https://slsa.dev/provenance/v1", vec![Subject::Result]), "filename", name)
}

fn with(mut attestation: Attestation, key: &str, value: &str) -> Attestation {
    attestation.metadata.insert(key.into(), Bytes::copy_from_slice(value.as_bytes()));
    attestation
}

fn file(reference: &ImmutableRef, path: &str) -> AttestationBody {
    AttestationBody::File { reference: Some(reference.clone()), path: path.into() }
}

fn attested(mut result: Exportable, platform: &str, attestations: Vec<Attestation>) -> Exportable {
    result.attestations.insert(platform.into(), attestations);
    result
}

impl World {
    fn json<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> T {
        serde_json::from_slice(&self.refs.content().read(digest).unwrap()).unwrap()
    }

    /// The entries of the index that an export made.
    async fn index(&self, kind: &str, attrs: &str, result: &Exportable) -> Index {
        let response = self.export(kind, attrs, result).await.unwrap();
        self.json(&response["containerimage.digest"].parse().unwrap())
    }
}

#[tokio::test]
async fn an_image_comes_with_what_is_said_of_it() {
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let said = inline("provenance.json", "{\"b\": [1, 2], \"a\": \"<\"}\n");
    let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", vec![said]);
    let index = world.index("image", "name=x,host.example/y:2", &result).await;
    let [image, attestation] = &index.manifests[..] else { panic!("{index:?}") };
    assert_eq!(image.platform.as_ref().unwrap().to_string(), "linux/arm64");
    assert_eq!(attestation.platform.as_ref().unwrap().to_string(), "unknown/unknown");
    assert_eq!(attestation.annotations["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(attestation.annotations["vnd.docker.reference.digest"], image.digest.as_str());
    let manifest: Manifest = world.json(&attestation.digest);
    assert_eq!(manifest.artifact_type, "application/vnd.docker.attestation.manifest.v1+json");
    assert_eq!(
        (manifest.config.media_type.as_str(), manifest.config.data.as_str()),
        (oci::media::OCI_EMPTY, "e30=")
    );
    assert_eq!(world.refs.content().read(&manifest.config.digest).unwrap(), b"{}");
    let subject = manifest.subject.unwrap();
    assert_eq!((&subject.digest, subject.size, subject.platform), (&image.digest, image.size, None));
    let [statement] = &manifest.layers[..] else { panic!("{:?}", manifest.layers) };
    assert_eq!(statement.annotations["in-toto.io/predicate-type"], "https://slsa.dev/provenance/v1");
    let hex = image.digest.hex();
    let expected = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{{"name":"pkg:docker/x@latest?platform=linux%2Farm64","digest":{{"sha256":"{hex}"}}}},{{"name":"pkg:docker/host.example/y@2?platform=linux%2Farm64","digest":{{"sha256":"{hex}"}}}}],"predicate":{{"b":[1,2],"a":"\u003c"}}}}"#
    );
    assert_eq!(world.refs.content().read(&statement.digest).unwrap(), expected.as_bytes());
    let told = world.told.all();
    assert!(told.contains(&format!("exporting attestation manifest {}", attestation.digest)), "{told:?}");
}

#[tokio::test]
async fn what_is_said_may_hang_on_the_image() {
    let export = async |attrs: &str| {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("out.tar");
        let world = World::new(vec![(0, Output::File(path.clone()))]).await;
        let layer = world.layer(None, "a=1", 10).await;
        let said = vec![inline("p.json", "{}")];
        let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", said);
        let attrs = format!("name=x:1 attestation-inline=true source-date-epoch=0 {attrs}");
        world.export("oci", &attrs, &result).await?;
        let unpacked = out.path().join("layout");
        std::fs::create_dir(&unpacked).unwrap();
        let tar = std::process::Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(&unpacked).status();
        assert!(tar.unwrap().success());
        let read = |path: &str| std::fs::read(unpacked.join(path)).unwrap();
        let index: Index = serde_json::from_slice(&read("index.json")).unwrap();
        let blob = |d: &Descriptor| read(&format!("blobs/sha256/{}", d.digest.hex()));
        Ok::<_, errdefs::Error>((
            index.manifests.clone(),
            index.manifests.iter().map(blob).collect::<Vec<_>>(),
        ))
    };
    let kinds = |entries: &[Descriptor]| {
        entries.iter().map(|d| (d.media_type.clone(), d.artifact_type.clone())).collect::<Vec<_>>()
    };
    let (index, manifest) = (oci::media::OCI_INDEX.to_owned(), oci::media::OCI_MANIFEST.to_owned());
    let artifact = "application/vnd.docker.attestation.manifest.v1+json".to_owned();
    let (as_buildkit, blobs) = export("").await.unwrap();
    assert_eq!(kinds(&as_buildkit), [(index.clone(), String::new())]);
    assert_eq!(export("attestation-storage=index").await.unwrap(), (as_buildkit.clone(), blobs));

    // An image of one platform is a manifest then, and no index.
    let (entries, blobs) = export("attestation-storage=referrers").await.unwrap();
    assert_eq!(kinds(&entries), [(manifest.clone(), String::new()), (manifest.clone(), artifact.clone())]);
    assert!(!entries[1].annotations.contains_key(oci::manifest::REF_NAME));
    assert_eq!(entries[1].annotations["io.containerd.manifest.subject"], entries[0].digest.to_string());
    let said: Manifest = serde_json::from_slice(&blobs[1]).unwrap();
    assert_eq!(
        (said.artifact_type, said.subject.unwrap().digest),
        (artifact.clone(), entries[0].digest.clone())
    );

    // In both places it is the same.
    let (both, blobs) = export("attestation-storage=both").await.unwrap();
    assert_eq!(both[0].digest, as_buildkit[0].digest);
    assert_eq!(kinds(&both), [(index, String::new()), (manifest, artifact)]);
    let inside: Index = serde_json::from_slice(&blobs[0]).unwrap();
    assert_eq!(inside.manifests[1].digest, both[1].digest);
    assert_eq!(both[1].digest, entries[1].digest);

    for (attrs, expected) in [
        ("attestation-storage=there", "invalid attestation-storage `there`"),
        ("attestation-storage=both oci-artifact=false", "conflicts with \"oci-artifact=false\""),
        ("attestation-storage=referrers oci-mediatypes=false", "\"oci-mediatypes=false\""),
        ("attestation-storage=referrers tar=false", "conflicts with \"tar=false\""),
    ] {
        let e = export(attrs).await.expect_err("refused");
        assert!(e.to_string().contains(expected), "{e}");
    }
}

#[tokio::test]
async fn old_registries_get_images_of_statements() {
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let result = by_platform(&[("linux/amd64", &layer), ("linux/arm64", &layer)]);
    let result = attested(result, "linux/arm64", vec![inline("p.json", "{}")]);
    let index = world.index("image", "name=x oci-artifact=false", &result).await;
    let [_, arm, attestation] = &index.manifests[..] else { panic!("{index:?}") };
    assert_eq!(attestation.annotations["vnd.docker.reference.digest"], arm.digest.as_str());
    let manifest: Manifest = world.json(&attestation.digest);
    assert_eq!((manifest.artifact_type.as_str(), manifest.subject), ("", None));
    let config = world.refs.content().read(&manifest.config.digest).unwrap();
    let expected = format!(
        r#"{{"architecture":"unknown","os":"unknown","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        manifest.layers[0].digest
    );
    assert_eq!(String::from_utf8(config).unwrap(), expected);
}

#[tokio::test]
async fn some_are_for_registries_alone() {
    let export = async |kind: &str, attrs: &str| {
        let out = tempfile::tempdir().unwrap();
        let world = World::new(vec![(0, Output::File(out.path().join("out.tar")))]).await;
        let layer = world.layer(None, "a=1", 10).await;
        let said = with(inline("p.json", "{}"), "inline-only", "true");
        let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", vec![said]);
        world.export(kind, attrs, &result).await
    };
    for (kind, attrs, is_index) in [
        ("image", "", true),
        ("image", "attestation-inline=false", false),
        ("oci", "", false),
        ("docker", "", false),
        ("oci", "attestation-inline=true", true),
        ("docker", "attestation-inline=true", true),
    ] {
        let response = export(kind, attrs).await.unwrap();
        assert_eq!(response.contains_key("containerimage.config.digest"), !is_index, "{kind} {attrs}");
    }
    let e = export("image", "oci-mediatypes=false").await.expect_err("no such media types");
    assert_eq!(e.to_string(), "cannot export attestations with \"oci-mediatypes=false\"");
    export("oci", "oci-mediatypes=false").await.expect("there is nothing to hang on");
}

#[tokio::test]
async fn bundles_are_opened() {
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let statement = |kind: &str, n: u8| {
        format!(
            r#"{{"predicateType":"{kind}","subject":[{{"name":"s","digest":{{"sha1":"0{n}"}}}}],"predicate":{n}}}"#
        )
    };
    let bundle = format!("dir/ dir/b={} dir/a={}", statement("t", 2), statement("t", 1));
    let bundle = world.layer(None, &bundle, 10).await;
    let of = |kind: &str| Attestation {
        kind: AttestationKind::Bundle { predicate_type: kind.into() },
        metadata: BTreeMap::new(),
        body: file(&bundle, "/dir"),
    };
    let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", vec![of("")]);
    let index = world.index("image", "", &result).await;
    let manifest: Manifest = world.json(&index.manifests[1].digest);
    let statements: Vec<Value> = manifest.layers.iter().map(|layer| world.json(&layer.digest)).collect();
    assert_eq!(statements.iter().map(|s| s["predicate"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(statements[0]["subject"], serde_json::json!([{"name": "s", "digest": {"sha1": "01"}}]));
    let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", vec![of(SPDX)]);
    let e = world.export("image", "", &result).await.expect_err("another type is wanted");
    assert_eq!(
        e.to_string(),
        "bundle entry t does not match required predicate type https://spdx.dev/Document"
    );
}

#[tokio::test]
async fn what_cannot_be_said_is_told() {
    let world = World::new(Vec::new()).await;
    let layer =
        world.layer(None, "a={} x/ x/p={\"predicateType\":\"https://slsa.dev/provenance/v1\"}", 10).await;
    let bundle = |body| Attestation {
        kind: AttestationKind::Bundle { predicate_type: String::new() },
        metadata: BTreeMap::new(),
        body,
    };
    let nothing = AttestationBody::File { reference: None, path: "/a".into() };
    for (said, expected) in [
        (in_toto(nothing.clone(), "t", Vec::new()), "attestation does not have available content"),
        (bundle(nothing), "attestation does not have available content"),
        (bundle(AttestationBody::Inline(Bytes::new())), "attestation bundle cannot have callback"),
        (bundle(file(&layer, "/x")), "frontend may not bundle provenance attestations"),
        (bundle(file(&layer, "/")), "`/x` is not a regular file"),
        (
            in_toto(file(&layer, "/a"), "https://slsa.dev/provenance/v1", Vec::new()),
            "frontend may not set provenance attestations",
        ),
        (
            in_toto(file(&layer, "/b"), "t", Vec::new()),
            "cannot read in-toto attestation: open /b: no such file or directory",
        ),
        (
            in_toto(file(&layer, "/x"), "t", Vec::new()),
            "cannot read in-toto attestation: `/x` is not a regular file",
        ),
        (
            in_toto(AttestationBody::Inline(Bytes::new()), "t", Vec::new()),
            "attestation does not have set path",
        ),
        (inline("x", "no JSON"), "failed to marshal attestation: expected ident at line 1 column 2"),
        (
            in_toto(
                file(&layer, "/a"),
                "t",
                vec![Subject::Other { name: "n".into(), digests: vec!["x".into()] }],
            ),
            "invalid digest `x` of a subject",
        ),
    ] {
        let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", vec![said]);
        let e = world.export("image", "name=x", &result).await.expect_err(expected);
        assert_eq!(e.to_string(), expected);
    }
}

#[tokio::test]
async fn sboms_tell_the_layers_of_files() {
    let world = World::new(Vec::new()).await;
    let base = world.layer(None, "a=1 b=1", 10).await;
    let above = world.layer(Some(&base), "b=2 c=1", 20).await;
    let sbom = r#"{"spdxVersion":"SPDX-2.3","files":[{"fileName":"/a"},{"fileName":"b"},{"fileName":"/gone"},{"fileName":"c","comment":"own"}],"packages":[{"files":[{"fileName":"c"}]}]}"#;
    let other = world.layer(None, &format!("sbom.spdx.json={sbom} other.spdx.json={sbom}"), 10).await;
    let of = |path: &str| with(in_toto(file(&other, path), SPDX, Vec::new()), "sbom-core", "sbom");
    let said = vec![of("other.spdx.json"), of("sbom.spdx.json")];
    let result = attested(single(Some(&above), Some(ARM)), "linux/arm64", said);
    let index = world.index("image", "", &result).await;
    let image: Manifest = world.json(&index.manifests[0].digest);
    let manifest: Manifest = world.json(&index.manifests[1].digest);
    // That of the image itself comes first.
    let [core, other]: [Value; 2] =
        [0, 1].map(|i: usize| world.json::<Value>(&manifest.layers[i].digest)["predicate"].take());
    let comments = |files: &Value| -> Vec<String> {
        let files = files.as_array().unwrap().iter();
        files.map(|file| file["comment"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let layer = |i: usize| format!("layerID: {}", image.layers[i].digest);
    assert_eq!(comments(&core["files"]), [layer(0), layer(1), String::new(), "own".to_owned()]);
    assert_eq!(comments(&core["packages"][0]["files"]), [layer(1)]);
    let creator = core["creationInfo"]["creators"][0].as_str().unwrap();
    assert!(creator.starts_with("Tool: kiln-v"), "{creator}");
    assert_eq!(other, serde_json::from_str::<Value>(sbom).unwrap());
}

#[tokio::test]
async fn folders_get_statements_about_their_files() {
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("out");
    let world = World::new(vec![(0, Output::Dir { path: dest.clone(), mode: DirMode::Merge })]).await;
    let layer = world.layer(None, "a=1 x.json=0 z/ z/b=2 z/l>b", 10).await;
    let said = vec![inline("x.json", "{}"), with(inline("y.json", "{}"), "inline-only", "true")];
    let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", said.clone());
    world.export("local", "source-date-epoch=5", &result).await.unwrap();
    let read = |path: &str| std::fs::read_to_string(dest.join(path)).unwrap();
    let statement: Value = serde_json::from_str(&read("x.json")).unwrap();
    let subject = |name: &str, text: &str| serde_json::json!({"name": name, "digest": {"sha256": Digest::of(text).hex()}});
    let expected = [subject("a", "1"), subject("x.json", "0"), subject("z/b", "2")];
    assert_eq!(statement["subject"], serde_json::Value::from(expected.to_vec()));
    assert!(read("x.json").starts_with("{\n  \"_type\": \"https://in-toto.io/Statement/v1\",\n"));
    assert!(!dest.join("y.json").exists());
    let modified = dest.join("x.json").metadata().unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 5);

    let result =
        by_platform(&[("linux/amd64", &layer), ("linux/arm64", &world.layer(None, "q=1", 10).await)]);
    let result = attested(result, "linux/arm64", said);
    world.export("local", "attestation-prefix=p.", &result).await.unwrap();
    assert!(dest.join("linux_arm64/p.x.json").exists() && !dest.join("linux_amd64/p.x.json").exists());
    world.export("local", "platform-split=false", &result).await.unwrap();
    assert!(dest.join("x.linux_arm64.json").exists() && dest.join("q").exists());

    let twice = vec![inline("x.json", "{}"), inline("x.json", "{}")];
    let result = attested(single(Some(&layer), Some(ARM)), "", twice);
    let e = world.export("local", "", &result).await.expect_err("one name");
    assert_eq!(e.to_string(), "duplicate attestation path name x.json");
}

#[tokio::test]
async fn archives_get_them_too() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("out.tar");
    let world = World::new(vec![(0, Output::File(path.clone()))]).await;
    let layer = world.layer(None, "a=1 z=1", 10).await;
    let result = attested(single(Some(&layer), Some(ARM)), "linux/arm64", vec![inline("m.json", "{}")]);
    world.export("tar", "", &result).await.unwrap();
    let names = crate::world::run("tar", &["-tf", path.to_str().unwrap()]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["a", "m.json", "z"]);
    let text = crate::world::run("tar", &["-xOf", path.to_str().unwrap(), "m.json"]);
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
}
