//! Images in registries and in layouts of clients.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use errdefs::Code;
use frontend::ResolveOptions;
use fsutil::tar::{Entry, EntryKind, Writer};
use oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference, json, media};
use registry::{Anonymous, Config, PushBlob, Registry};
use session::Attachables;
use source::Context;

use crate::server::Debian;
use crate::world::{World, listing};

/// An image of two layers, for one platform.
pub struct Image {
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
    pub root: Descriptor,
    chain: Digest,
}

fn layer(name: &str, text: &str) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    let entry = Entry {
        path: name.into(),
        kind: EntryKind::File,
        mode: 0o644,
        size: text.len() as u64,
        mtime: (1, 0),
        ..Entry::default()
    };
    tar.pax_header(&entry).expect("memory takes all");
    tar.write_all(text.as_bytes()).expect("memory takes all");
    tar.finish().expect("memory takes all")
}

pub fn image() -> Image {
    let layers = [layer("a", "one"), layer("b", "two")];
    let mut config =
        ImageConfig { architecture: "amd64".into(), os: "linux".into(), ..ImageConfig::default() };
    config.rootfs.diff_ids = layers.iter().map(|l| oci::DiffId(Digest::of(l))).collect();
    let chain = oci::ChainId::of(&config.rootfs.diff_ids).expect("has layers").0;
    let config = json::to_vec(&config);
    let of_layer = |l: &Vec<u8>| Descriptor::of(media::OCI_LAYER, l);
    let manifest = Manifest::new(
        media::OCI_MANIFEST,
        Descriptor::of(media::OCI_CONFIG, &config),
        layers.iter().map(of_layer).collect(),
    );
    let manifest = json::to_vec_indent(&manifest);
    let mut entry = Descriptor::of(media::OCI_MANIFEST, &manifest);
    entry.platform = Some(Platform::new("linux", "amd64", ""));
    let index = json::to_vec_indent(&Index::new(media::OCI_INDEX, vec![entry.clone()]));
    let root = Descriptor::of(media::OCI_INDEX, &index);
    let mut blobs: Vec<_> = layers.into_iter().map(|l| (of_layer(&l), l)).collect();
    blobs.push((Descriptor::of(media::OCI_CONFIG, &config), config));
    blobs.push((entry, manifest));
    blobs.push((root.clone(), index));
    Image { blobs, root, chain }
}

impl Image {
    pub fn write(&self, dir: &Path) {
        for (descriptor, bytes) in &self.blobs {
            let path = dir.join("blobs/sha256").join(descriptor.digest.hex());
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
        std::fs::write(dir.join("oci-layout"), oci::manifest::LAYOUT_FILE).expect("written");
    }

    pub async fn push(&self, name: &Reference) {
        let registry = Registry::new(Config::default(), Arc::new(Anonymous));
        let dir = tempfile::tempdir().expect("a folder");
        let db = Arc::new(redb::Database::create(dir.path().join("db")).expect("a database"));
        let store = content::Store::open(dir.path(), db).expect("a store");
        for (descriptor, bytes) in &self.blobs {
            if media::is_manifest(&descriptor.media_type) || media::is_index(&descriptor.media_type) {
                let bytes = Bytes::copy_from_slice(bytes);
                let name = match descriptor.digest == self.root.digest {
                    true => name.clone(),
                    false => name.clone().with_tag(None),
                };
                registry.push_manifest(&name, &descriptor.media_type, bytes).await.expect("pushed");
                continue;
            }
            store.write(bytes).expect("stored");
            let blob = PushBlob {
                reference: name.clone(),
                descriptor: descriptor.clone(),
                source: Arc::new(store.clone()),
                mount_from: Vec::new(),
                unasked: false,
                on_bytes: Arc::new(|_| {}),
            };
            registry.push_blob(&blob).await.expect("pushed");
        }
    }

    fn manifest_key(&self) -> String {
        Digest::of(format!(r#"{{"Digest":"{}","OS":"linux","Arch":"amd64"}}"#, self.root.digest)).to_string()
    }

    /// What a vertex tells while all is fetched.
    fn parts(&self, name: &str) -> Vec<String> {
        let mut parts = vec![format!("resolve {name}")];
        for (layer, _) in &self.blobs[..2] {
            parts.push(layer.digest.to_string());
            parts.push(format!("extracting {}", layer.digest));
        }
        parts
    }
}

pub async fn layout_client(world: &World, id: &str, dir: &Path) -> Context {
    world.client(id, Attachables::new().oci_layout("oci:store", dir)).await
}

const ATTRS: [(&str, &str); 2] = [("oci.session", "s"), ("oci.store", "store")];

#[tokio::test]
async fn an_image_of_a_layout_is_fetched_when_its_files_are_needed() {
    let (world, image, dir) = (World::new().await, image(), tempfile::tempdir().expect("a folder"));
    image.write(dir.path());
    let cx = layout_client(&world, "s", dir.path()).await;
    let id = format!("oci-layout://docker.io/library/base@{}", image.root.digest);

    let first = world.key(&cx, &id, &ATTRS, 0).await.expect("told");
    assert_eq!((first.text, first.done), (image.manifest_key(), false));
    let second = world.key(&cx, &id, &ATTRS, 1).await.expect("told");
    assert_eq!((second.text, second.done), (image.chain.to_string(), true));

    let state = world.get(&cx, &id, &ATTRS).await.expect("there");
    let layers = image.blobs[..2].iter().map(|(d, _)| d.digest.clone());
    assert!(layers.clone().all(|l| !world.content.contains(&l)));
    assert_eq!(listing(&state).await, ["a = one 644 0:0", "b = two 644 0:0"]);
    assert!(layers.clone().all(|l| world.content.contains(&l)));
    let mut parts = world.parts();
    parts[1..].sort();
    let mut expected = image.parts(id.trim_start_matches("oci-layout://"));
    expected[1..].sort();
    assert_eq!(parts, expected);
    let (descriptor, bytes) = &image.blobs[0];
    assert_eq!(world.part(descriptor.digest.as_str()), Some((bytes.len() as i64, true)));
}

#[tokio::test]
async fn an_image_of_a_registry_is_the_same_as_that_of_a_layout() {
    let (world, image, server) = (World::new().await, image(), Debian::start());
    let name: Reference = format!("{}/base:v1", server.host).parse().expect("valid");
    image.push(&name).await;
    let cx = world.context(&[]);
    let id = format!("docker-image://{name}");
    assert_eq!(world.key(&cx, &id, &[], 0).await.expect("told").text, image.manifest_key());
    assert_eq!(world.key(&cx, &id, &[], 1).await.expect("told").text, image.chain.to_string());
    let found = world.sources.resolve_image_config(&name.to_string(), &ResolveOptions::default(), &cx).await;
    let found = found.expect("resolved");
    assert_eq!((&found.digest, &found.config[..]), (&image.root.digest, &image.blobs[2].1[..]));

    let state = world.get(&cx, &id, &[]).await.expect("there");
    assert_eq!(listing(&state).await, ["a = one 644 0:0", "b = two 644 0:0"]);
    let lower = world.get(&cx, &id, &[("image.layerlimit", "1")]).await.expect("there");
    assert_eq!(listing(&lower).await, ["a = one 644 0:0"]);
    let label = format!("containerd.io/distribution.source.{}", server.host);
    let layers = state.layers();
    let known = layers[0].known_blobs(refs::Compression::default());
    let annotations = &known[0].as_ref().expect("came as a blob").descriptor.annotations;
    assert_eq!(annotations.get(&label).map(String::as_str), Some("base"));

    // What a digest stands for is known without asking again.
    drop(server);
    let pinned = name.clone().with_digest(image.root.digest.clone());
    world.key(&cx, &format!("docker-image://{pinned}"), &[], 0).await.expect("known");
    let elsewhere = pinned.to_string().replace("/base", "/other");
    world.key(&cx, &format!("docker-image://{elsewhere}"), &[], 0).await.expect_err("that is not theirs");
    world.key(&cx, &id, &[], 0).await.expect_err("a tag may have moved");
}

#[tokio::test]
async fn a_damaged_layer_leaves_nothing() {
    let image = image();
    let (layer, bytes) = &image.blobs[1];
    let check = async |damaged: Vec<u8>, expected: &str| {
        let (world, dir) = (World::new().await, tempfile::tempdir().expect("a folder"));
        image.write(dir.path());
        std::fs::write(dir.path().join("blobs/sha256").join(layer.digest.hex()), damaged).expect("written");
        let cx = layout_client(&world, "s", dir.path()).await;
        let id = format!("oci-layout://x/base@{}", image.root.digest);
        let state = world.get(&cx, &id, &ATTRS).await.expect("not read yet");
        let e = state.view().await.expect_err("damaged");
        let start = format!("failed to extract layer {}: ", layer.digest);
        assert!(e.to_string().starts_with(&start) && e.to_string().contains(expected), "{e}");
        assert!(!world.content.contains(&layer.digest));
    };
    let mut changed = bytes.clone();
    let at = changed.windows(3).position(|w| w == b"two").expect("is there");
    changed[at] = b'T';
    check(changed.clone(), &format!("{}", Digest::of(&changed))).await;
    check(bytes[..700].to_vec(), "").await;
    check([&bytes[..], b"more"].concat(), &format!("longer than the {} bytes", bytes.len())).await;
}

#[tokio::test]
async fn what_cannot_be_is_told() {
    let (world, image, dir) = (World::new().await, image(), tempfile::tempdir().expect("a folder"));
    image.write(dir.path());
    let cx = layout_client(&world, "s", dir.path()).await;
    let digest = &image.root.digest;
    let id = format!("oci-layout://x/base@{digest}");
    let check = async |id: &str, attrs: &[(&str, &str)], expected: &str| {
        let all = [&ATTRS[..], attrs].concat();
        let e = match world.source(id, &all) {
            Err(e) => e,
            Ok(source) => source.key(&cx, 0).await.expect_err(expected),
        };
        assert_eq!(e.to_string(), expected, "{id}");
    };
    check("oci-layout://x/base:v1", &[], "reference \"docker.io/x/base:v1\" must have digest").await;
    let other = Digest::of("other");
    check(&format!("oci-layout://x/base@{other}"), &[], &format!("content digest {other}: not found")).await;
    let text = format!(
        "image digest {digest} for docker.io/x/base@{digest} does not match expected checksum {other}"
    );
    check(&id, &[("image.checksum", other.as_str())], &text).await;
    let text = "layer limit 3 is greater than the number of layers in the image 2";
    check(&id, &[("oci.layerlimit", "3")], text).await;
    check(&id, &[("oci.layerlimit", "0")], "invalid layer limit 0").await;
    check("docker-image://a", &[("image.resolvemode", "x")], "invalid resolvemode: x").await;
    check("docker-image://a", &[("image.recordtype", "x")], "invalid record type x").await;
    check("docker-image://A", &[], "failed to parse image reference `A`: invalid reference format: repository name (library/A) must be lowercase").await;
    check("ftp://a", &[], "unknown source scheme `ftp`").await;
    check("a", &[], "failed to parse source identifier \"a\"").await;

    let options = ResolveOptions {
        platform: Some(Platform::new("linux", "s390x", "")),
        store_id: "store".into(),
        ..ResolveOptions::default()
    };
    let e = world.sources.resolve_image_config(&id, &options, &cx).await.expect_err("not for that");
    let text = format!(
        "failed to resolve source metadata for x/base@{digest}: no match for platform in manifest: not found"
    );
    assert_eq!((e.to_string(), e.code()), (text, Code::NotFound));
    assert_eq!(e.hints(), ["wanted linux/s390x; the image is there for linux/amd64"]);
}

#[tokio::test]
async fn an_image_that_is_not_there() {
    let (world, server) = (World::new().await, Debian::start());
    let name = format!("{}/none:v1", server.host);
    let cx = world.context(&[]);
    let e = world.key(&cx, &format!("docker-image://{name}"), &[], 0).await.expect_err("not there");
    assert_eq!((e.to_string(), e.code()), (format!("{name}: not found"), Code::NotFound));
    let e = world
        .sources
        .resolve_image_config(&name, &ResolveOptions::default(), &cx)
        .await
        .expect_err("not there");
    assert_eq!(e.to_string(), format!("failed to resolve source metadata for {name}: {name}: not found"));
}

#[tokio::test]
async fn an_image_of_the_own_store_stands_in() {
    let (world, image, dir) = (World::new().await, image(), tempfile::tempdir().expect("a folder"));
    for (_, bytes) in &image.blobs {
        world.content.write(bytes).expect("stored");
    }
    world.refs.images().tag("localhost:1/own:latest", &image.root).expect("tagged");
    let cx = layout_client(&world, "s", dir.path()).await;
    for (mode, there) in [("default", true), ("local", true), ("pull", false)] {
        let key = world.key(&cx, "docker-image://localhost:1/own", &[("image.resolvemode", mode)], 0).await;
        assert_eq!(key.is_ok(), there, "{mode}");
    }
    let state = world.get(&cx, "docker-image://localhost:1/own", &[]).await.expect("there");
    assert_eq!(listing(&state).await, ["a = one 644 0:0", "b = two 644 0:0"]);
}

#[tokio::test]
async fn one_blob_is_a_file() {
    let (image, server) = (image(), Debian::start());
    let dir = tempfile::tempdir().expect("a folder");
    image.write(dir.path());
    let name: Reference = format!("{}/base:v1", server.host).parse().expect("valid");
    image.push(&name).await;
    let (config, bytes) = &image.blobs[2];
    let (digest, text) = (&config.digest, String::from_utf8_lossy(bytes));
    let by_registry = format!("docker-image+blob://{}/base@{digest}", server.host);
    let by_layout = format!("oci-layout+blob://docker.io/not/real@{digest}");
    let named =
        [("http.filename", "dir/c.json"), ("http.perm", "0640"), ("http.uid", "12"), ("http.gid", "34")];
    for (id, attrs) in [(&by_registry, &[][..]), (&by_layout, &ATTRS[..])] {
        let world = World::new().await;
        let cx = layout_client(&world, "s", dir.path()).await;
        let key = world.key(&cx, id, attrs, 0).await.expect("told");
        let json = format!(r#"{{"Digest":"{digest}","Filename":"","Perm":0,"UID":0,"GID":0}}"#);
        assert_eq!((key.text, key.done), (Digest::of(json).to_string(), true));
        let state = world.get(&cx, id, attrs).await.expect("there");
        assert_eq!(listing(&state).await, [format!("{} = {text} 600 0:0", digest.hex())]);
        let state = world.get(&cx, id, &[attrs, &named[..]].concat()).await.expect("there");
        assert_eq!(listing(&state).await, [format!("c.json = {text} 640 12:34")]);
    }
    let world = World::new().await;
    let cx = layout_client(&world, "s", dir.path()).await;
    let check = async |id: &str, attrs: &[(&str, &str)], expected: &str| {
        let e = match world.source(id, attrs) {
            Err(e) => e,
            Ok(source) => source.snapshot(&cx).await.expect_err(expected),
        };
        assert_eq!(e.to_string(), expected, "{id}");
    };
    let other = Digest::of("other");
    let text = "checksum required in blob reference `x/base:v1`";
    check("docker-image+blob://x/base:v1", &[], text).await;
    check(&by_layout, &[], "oci-layout blob source requires store id").await;
    let text = format!("blob {other} of {}/base@{other}: not found", server.host);
    check(&by_registry.replace(digest.as_str(), other.as_str()), &[], &text).await;
    let text = format!("content digest {other}: not found");
    check(&by_layout.replace(digest.as_str(), other.as_str()), &ATTRS, &text).await;
    // A layout that has other bytes under the digest.
    std::fs::write(dir.path().join("blobs/sha256").join(digest.hex()), "{}").expect("written");
    let text =
        format!("digest mismatch for docker.io/not/real@{digest}: {} (expected: {digest})", Digest::of("{}"));
    check(&by_layout, &ATTRS, &text).await;
}
