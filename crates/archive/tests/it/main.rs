//! Archives that this crate wrote, that Docker would have, and that nobody should.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use archive::{Image, Named, Reading, Variant};
use errdefs::Result;
use fsutil::tar::{Entry, EntryKind, Writer};
use oci::{Descriptor, Digest, Index, Manifest, Platform, Reference, media};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Names and contents.
type Members = Vec<(String, Vec<u8>)>;

/// A content store of its own.
struct Store {
    content: content::Store,
    _dir: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(redb::Database::create(dir.path().join("metadata")).unwrap());
        Store { content: content::Store::open(dir.path(), db).unwrap(), _dir: dir }
    }

    fn add(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        self.content.write(bytes).unwrap();
        Descriptor::of(media_type, bytes)
    }

    /// An image of one layer.
    fn image(&self, architecture: &str) -> Descriptor {
        let layer = tar(&[("file", architecture.as_bytes())]);
        let config = config(architecture, &layer);
        let config = self.add(media::OCI_CONFIG, &config);
        let layers = vec![self.add(media::OCI_LAYER, &layer)];
        let manifest = oci::json::to_vec(&Manifest::new(media::OCI_MANIFEST, config, layers));
        let mut manifest = self.add(media::OCI_MANIFEST, &manifest);
        manifest.platform = Some(Platform::new("linux", architecture, ""));
        manifest
    }

    fn index(&self, manifests: Vec<Descriptor>) -> Descriptor {
        self.add(media::OCI_INDEX, &oci::json::to_vec(&Index::new(media::OCI_INDEX, manifests)))
    }

    /// Reads an archive, and what is left when nobody holds what came.
    fn read(&self, archive: &[u8], platform: Option<&str>) -> Result<Vec<Image>> {
        let lease = self.content.lease();
        let mut reading = Reading::new(&self.content, &lease);
        let platform = platform.map(|text| text.parse::<Platform>().unwrap());
        let images = reading.read(archive, platform.as_ref());
        if images.is_err() {
            let came = reading.came();
            drop(lease);
            came.iter().for_each(|digest| assert!(self.content.remove(digest).unwrap(), "{digest}"));
            self.content.walk(|digest, _| panic!("{digest} is left")).unwrap();
        }
        images
    }
}

fn config(architecture: &str, layer: &[u8]) -> Vec<u8> {
    let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(layer).as_str()]});
    json!({"os": "linux", "architecture": architecture, "rootfs": rootfs}).to_string().into_bytes()
}

/// A text that is `-> PATH` makes a link.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, bytes) in files {
        let entry = Entry { path: (*path).into(), mode: 0o644, ..Entry::default() };
        match bytes.strip_prefix(b"-> ") {
            Some(link) => {
                writer
                    .ustar_header(&Entry { kind: EntryKind::Symlink, link: link.to_vec(), ..entry })
                    .unwrap();
            }
            None => {
                writer.ustar_header(&Entry { size: bytes.len() as u64, ..entry }).unwrap();
                writer.write_all(bytes).unwrap();
            }
        }
    }
    writer.finish().unwrap()
}

/// The same bytes in every packing.
fn packings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).unwrap();
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(bytes).unwrap();
    vec![
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::stream::encode_all(bytes, 1).unwrap()),
        ("bzip2", bzip2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
    ]
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn what_is_written_reads_back_whole() {
    let store = Store::new();
    let (amd, arm) = (store.image("amd64"), store.image("arm64"));
    let both = store.index(vec![amd.clone(), arm.clone()]);
    let images = [
        Named {
            root: both.clone(),
            referrers: Vec::new(),
            names: vec![name("docker.io/library/a:1"), name("reg.io/b:2")],
        },
        Named { root: arm.clone(), referrers: Vec::new(), names: vec![name("reg.io/arm:latest")] },
    ];
    let mut out = Vec::new();
    archive::write(
        &store.content,
        &images,
        Variant::Docker,
        &BTreeSet::new(),
        &mut out,
        &CancellationToken::new(),
    )
    .unwrap();
    let other = Store::new();
    let told: Vec<_> =
        images.iter().map(|i| Image { target: i.root.clone(), names: i.names.clone() }).collect();
    assert_eq!(other.read(&out, None).unwrap(), told);
    for (packing, packed) in packings(&out) {
        assert_eq!(other.read(&packed, None).unwrap(), told, "{packing}");
    }
    let chosen = other.read(&out, Some("linux/arm64")).unwrap();
    assert!(chosen.iter().all(|image| image.target.digest == arm.digest));
    // What Docker looks at has the image for this machine.
    let mut reader = fsutil::tar::Reader::new(&out[..]);
    let mut text = String::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.path == b"manifest.json" {
            std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        }
    }
    assert!(text.contains(r#""RepoTags":["a:1","reg.io/b:2"]"#), "{text}");
}

/// The files of an archive as Docker wrote it of old.
fn docker_files(layer: &[u8]) -> Vec<(String, Vec<u8>)> {
    let config = config("amd64", layer);
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": config_name, "RepoTags": ["a:1", "a"], "Layers": ["x/layer.tar"]}]);
    vec![
        (config_name, config),
        ("y.tar".into(), layer.to_vec()),
        ("x/layer.tar".into(), b"-> ../y.tar".to_vec()),
        ("manifest.json".into(), manifest.to_string().into_bytes()),
    ]
}

fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
    tar(&files)
}

#[test]
fn older_archives_of_docker_become_images() {
    let (store, layer) = (Store::new(), tar(&[("file", b"data")]));
    let images = store.read(&pack(&docker_files(&layer)), Some("linux/amd64")).unwrap();
    let [Image { target, names }] = &images[..] else { panic!("{images:?}") };
    assert_eq!(names[..], [name("docker.io/library/a:1"), name("docker.io/library/a:latest")]);
    let manifest: Manifest = serde_json::from_slice(&store.content.read(&target.digest).unwrap()).unwrap();
    assert_eq!(manifest.layers[..], [Descriptor::of(media::OCI_LAYER, &layer)]);
    assert!(store.content.contains(&manifest.config.digest) && store.content.contains(&Digest::of(&layer)));
}

#[test]
fn layers_of_older_archives_may_be_packed_in_any_way() {
    let layer = tar(&[("file", b"data")]);
    for (packing, packed) in packings(&layer) {
        let store = Store::new();
        let mut files = docker_files(&layer);
        files[1].1.clone_from(&packed);
        let images = store.read(&pack(&files), None).unwrap();
        let manifest = store.content.read(&images[0].target.digest).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let expected = match packing {
            "gzip" => Descriptor::of(media::OCI_LAYER_GZIP, &packed),
            "zstd" => Descriptor::of(media::OCI_LAYER_ZSTD, &packed),
            _ => Descriptor::of(media::OCI_LAYER, &layer),
        };
        assert_eq!(manifest.layers[..], [expected], "{packing}");
        assert!(store.content.contains(&manifest.layers[0].digest), "{packing}");
    }
}

#[test]
fn what_is_damaged_is_refused_and_leaves_nothing() {
    let check = |archive: &[u8], told: &str| {
        let error = Store::new().read(archive, None).expect_err(told).to_string();
        assert!(error.contains(told), "`{told}` is not in {error}");
    };
    let layer = tar(&[("file", b"data")]);
    let docker = |change: &dyn Fn(&mut Members)| {
        let mut files = docker_files(&layer);
        change(&mut files);
        pack(&files)
    };
    check(b"", "neither `index.json` nor `manifest.json`");
    check(&[7; 600], "failed to read the archive");
    check(&docker(&|files| files[1].1[600] ^= 1), "`x/layer.tar`: its digest is");
    check(&docker(&|files| files[0].1.push(b' ')), "its digest is another one");
    for (packing, packed) in packings(&layer) {
        let whole = docker(&|_| {});
        let (_, archive) = packings(&whole).into_iter().find(|(name, _)| *name == packing).unwrap();
        check(&archive[..archive.len() / 2], "failed to");
        check(&archive[..archive.len() - 3], &format!("the {packing} stream ends too early"));
        if packing == "bzip2" || packing == "xz" {
            let early = &format!(
                "failed to unpack `x/layer.tar` of the archive: the {packing} stream ends too early"
            );
            check(&docker(&|files| files[1].1 = packed[..packed.len() - 3].to_vec()), early);
            let other = packings(&tar(&[("file", b"DATA")])).into_iter().find(|(name, _)| *name == packing);
            check(&docker(&|files| files[1].1 = other.clone().unwrap().1), "`x/layer.tar`: its digest is");
        }
    }
    check(&docker(&|files| _ = files.remove(1)), "`x/layer.tar` is missing");
    check(&docker(&|files| files[2].1 = b"-> layer.tar".to_vec()), "`x/layer.tar` is missing");
    check(&docker(&|files| files[3].1 = b"[]".to_vec()), "has no image");
    check(&docker(&|files| files[3].1 = b"{}".to_vec()), "invalid JSON");
    check(&docker(&|files| files[3].1 = br#"[{"Config":"../../etc/passwd"}]"#.to_vec()), "is missing");
    check(&pack(&[("a".repeat(5000), Vec::new())]), "too large");

    let whole = Store::new();
    let image = whole.image("amd64");
    let mut out = Vec::new();
    let named = [Named { root: image.clone(), referrers: Vec::new(), names: vec![name("reg.io/a:1")] }];
    archive::write(
        &whole.content,
        &named,
        Variant::Oci,
        &BTreeSet::new(),
        &mut out,
        &CancellationToken::new(),
    )
    .unwrap();
    check(&out[..out.len() / 2], "failed to");
    let index = |manifests| oci::json::to_vec(&Index::new(media::OCI_INDEX, manifests));
    check(&tar(&[("index.json", &index(vec![image.clone()]))]), "is missing");
    let blob = format!("blobs/{}", image.digest.to_string().replace(':', "/"));
    check(&tar(&[(&blob, b"other bytes")]), "unexpected commit digest");
    let bytes = whole.content.read(&image.digest).unwrap();
    let small = Descriptor { size: 3, ..image };
    check(&tar(&[(&blob, &bytes), ("index.json", &index(vec![small]))]), "bytes, not 3");
    let text = Descriptor::of("text/plain", b"text");
    let path = format!("blobs/{}", text.digest.to_string().replace(':', "/"));
    check(&tar(&[(&path, b"text"), ("index.json", &index(vec![text]))]), "of type `text/plain`");
}
