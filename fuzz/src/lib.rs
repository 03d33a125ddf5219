//! One function for each kind of foreign bytes. Whatever comes, it must neither panic nor hang nor take much memory; an
//! answer that it does not like is an error, and what it likes must hold together.
//!
//! `cargo +nightly fuzz run NAME` looks for hours; `cargo test -p fuzz` throws some thousands of damaged samples.

use std::io::{BufReader, Read, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use dockerfile::{Lexer, NoEnvironment};
use lsp_server::{Message, Notification, Request};
use lsp_types::{TextDocumentContentChangePartial, TextEdit};
use oci::{Digest, Platform, Reference};
use prost::Message as _;
use proto::fsutil::Packet;
use serde_json::json;
use session::files::{FileSink, Stat, SyncReceiver};
use solver::RemoteKeys as _;

mod bridge;
mod software;

pub use software::{apk, cargo, dpkg, npm, program, python, rpm};

/// A target: its name, what it does, and a sample that it likes. Some have several samples.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<u8>);

pub const TARGETS: &[Target] = &[
    ("dockerfile", dockerfile, || include_bytes!("../samples/Dockerfile").to_vec()),
    ("format", format, || include_bytes!("../samples/Dockerfile").to_vec()),
    ("editor", editor, || include_bytes!("../samples/Dockerfile").to_vec()),
    ("ignore", ignore, || b"# all\n**/*.o\n!keep/[a-z]?.o\n/target\\ \n".to_vec()),
    ("policy", policy, || include_bytes!("../samples/commit").to_vec()),
    ("llb", llb, sample_llb),
    ("tar", tar, sample_tar),
    ("layer", layer, sample_tar),
    ("image", image, || include_bytes!("../samples/manifest.json").to_vec()),
    ("archive", archive, sample_archive),
    ("archive", archive, || bzip2(&sample_archive())),
    ("archive", archive, || xz(&sample_archive())),
    ("names", names, || b"localhost:5000/a/b:tag linux/arm64/v8 sha256:ab".to_vec()),
    ("packets", packets, sample_packets),
    ("gateway", gateway, bridge::sample),
    ("cache", cache, || include_bytes!("../samples/cacheconfig.json").to_vec()),
    ("bake", bake, || include_bytes!("../samples/docker-bake.hcl").to_vec()),
    ("dpkg", dpkg, || {
        b"Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDepends: b (>= 1) | c\n\n".to_vec()
    }),
    ("apk", apk, || b"P:a\nV:1-r0\nL:GPL-2.0-only AND MIT\nD:so:x>=1\np:so:y=1\n\n".to_vec()),
    ("rpm", rpm, || include_bytes!("../../crates/sbom/tests/samples/rpmdb.sqlite").to_vec()),
    ("npm", npm, || br#"{"name":"a","version":"1","packages":{"node_modules/b":{"version":"2"}}}"#.to_vec()),
    ("python", python, || b"Name: a\nVersion: 1\nRequires-Dist: b (>=1)\n\ntext".to_vec()),
    ("cargo", cargo, || b"[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"b 2\"]\n".to_vec()),
    ("program", program, software::sample_program),
    ("config", config, || include_bytes!("../samples/buildkitd.toml").to_vec()),
];

/// What policies see of commits, configs, statements and signatures.
pub fn policy(bytes: &[u8]) {
    use ::policy::{Blob, Chain, GitMeta, ImageMeta, Known, Source, openpgp, to_input};
    let platform = Platform::new("linux", "amd64", "");
    let text = String::from_utf8_lossy(bytes);
    let name = bytes.strip_prefix(b"tree ").map(|_| git_name(bytes)).unwrap_or_default();
    let git = GitMeta { commit_object: bytes.to_vec(), checksum: name, ..GitMeta::default() };
    let kind = ("in-toto.io/predicate-type".to_owned(), "https://slsa.dev/provenance/v1".to_owned());
    let blob = Blob { annotations: [kind].into(), data: bytes.to_vec() };
    let chain = Chain { blobs: [(String::new(), blob)].into(), ..Chain::default() };
    let image = ImageMeta { config: bytes.to_vec(), chain: Some(chain), ..ImageMeta::default() };
    for identifier in ["git://h/r.git".to_owned(), "docker-image://a".to_owned(), text.into_owned()] {
        let known = Known {
            source: Source { identifier, ..Source::default() },
            git: Some(git.clone()),
            image: Some(image.clone()),
            ..Known::default()
        };
        if let Ok(input) = to_input(&known, Some(&platform)) {
            assert!((::policy::go_json(&input).len() as u64) < LOTS);
        }
    }
    let _ = openpgp::Signature::parse(bytes).map(|signature| signature.suffix());
    let _ = openpgp::Keys::parse(bytes);
}

/// As git names a commit, so that what is in it is looked at.
fn git_name(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::new().chain_update(format!("commit {}\0", bytes.len())).chain_update(bytes).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// More than any reader here may give for the few bytes of a sample.
const LOTS: u64 = 64 << 20;

pub fn dockerfile(bytes: &[u8]) {
    let parsed = ::dockerfile::parse(bytes, &mut ::dockerfile::lint::Linter::default());
    let _ = format!("{parsed:?}");
    let lexer = Lexer::new(::dockerfile::DEFAULT_ESCAPE);
    for line in String::from_utf8_lossy(bytes).lines() {
        let _ = lexer.expand(line, &NoEnvironment);
        let _ = ::dockerfile::csv::fields(line);
    }
}

/// What is printed of a bake reads as the same bake.
pub fn bake(bytes: &[u8]) {
    for name in ["a.hcl", "a.json", "a.yaml", "a"] {
        let Ok(definition) = load_bake(name, bytes) else { continue };
        // What is asked for is printed as the group `default`, which hides a target of that name.
        let names = definition.targets.iter().map(|t| t.name.clone()).filter(|name| name != "default");
        let names: Vec<String> = names.collect();
        let Ok(resolved) = definition.resolve(&names, &[]) else { continue };
        for name in resolved.targets.keys() {
            let _ = definition.explain(&resolved, name);
        }
        let printed = resolved.print();
        // Templates are escaped in some attributes only, as buildx has it.
        if printed.contains("${") || printed.contains("%{") {
            continue;
        }
        let again = load_bake("again.json", printed.as_bytes()).expect("printed files are well formed");
        let again = again.resolve(&names, &[]).expect("printed targets resolve");
        assert_eq!(again.print(), printed);
    }
}

fn load_bake(name: &str, bytes: &[u8]) -> errdefs::Result<::bake::Definition> {
    let given = ::bake::Given {
        environment: [("TAG".to_owned(), "t".to_owned())].into(),
        vars: Default::default(),
        built_in: Default::default(),
        dotenv: Some(bytes.to_vec()).filter(|_| name == "a.yaml" && bytes.len().is_multiple_of(2)),
        read: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
        file_relative: false,
        remote: None,
        clock: ::bake::Context::new(0, "/", |bytes| bytes.fill(1)),
    };
    let budget = ::bake::Budget::of(100_000, LOTS);
    ::bake::Definition::load_within(vec![::bake::File::new(name, bytes)], given, budget)
}

/// What is formatted once is formatted.
pub fn format(bytes: &[u8]) {
    for commands in [false, true] {
        let options = ::dockerfile::format::Options { commands };
        let Ok(once) = ::dockerfile::format::format(bytes, options) else { continue };
        assert_eq!(::dockerfile::format::format(once.as_bytes(), options), Ok(once));
    }
}

/// A file that an editor has open: questions at many places, and changes that give what they should.
pub fn editor(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut document = dockerfile_lsp::Document::new(text.clone(), 0);
    document.diagnostics(b"a");
    if let Ok(formatted) = ::dockerfile::format::format(text.as_bytes(), Default::default()) {
        let change = |edit: TextEdit| {
            #[allow(deprecated, reason = "the field has no default")]
            TextDocumentContentChangePartial { range: edit.range, range_length: None, text: edit.new_text }
                .into()
        };
        let changes = document.formatting().into_iter().map(change).collect();
        document.change(changes, 1);
        assert_eq!(document.text(), formatted);
    }
    let mut server = dockerfile_lsp::Server::new("", Box::new(|_| Vec::new()));
    let params = json!({"processId": null, "rootUri": null, "capabilities": {}});
    server.handle(Message::Request(Request { id: 0.into(), method: "initialize".into(), params }));
    let file = json!({"uri": "a", "languageId": "dockerfile", "version": 1, "text": text});
    let opened =
        Notification { method: "textDocument/didOpen".into(), params: json!({"textDocument": file}) };
    server.handle(Message::Notification(opened));
    let last = text.lines().count().min(30);
    for (line, character) in (0..=last).flat_map(|line| [0, 3, 7, 12, 20].map(|character| (line, character)))
    {
        let at = json!({
            "textDocument": {"uri": "a"},
            "position": {"line": line, "character": character},
            "context": {"includeDeclaration": true},
            "newName": "new",
        });
        for method in ["hover", "completion", "definition", "references", "rename", "documentSymbol"] {
            let method = format!("textDocument/{method}");
            server.handle(Message::Request(Request { id: 0.into(), method, params: at.clone() }));
        }
    }
}

pub fn ignore(bytes: &[u8]) {
    let patterns = ::dockerfile::ignore::parse(bytes);
    let Ok(matcher) = fsutil::pattern::Matcher::new(&patterns) else { return };
    for path in ["a", "a/b.o", "keep/x1.o", "target", "\u{e4}/\u{10348}"] {
        matcher.matches_or_parent(path.as_bytes());
    }
}

pub fn llb(bytes: &[u8]) {
    let Ok(wire) = proto::pb::Definition::decode(bytes) else { return };
    let Ok(definition) = ::llb::Definition::try_from(wire) else { return };
    let _ = ::llb::Graph::load(&definition);
}

pub fn tar(bytes: &[u8]) {
    let Ok(decoder) = fsutil::Decoder::detect(BufReader::new(bytes)) else { return };
    let mut reader = fsutil::tar::Reader::new(decoder.take(LOTS));
    while let Ok(Some(_)) = reader.next_entry() {
        // Holes are cheap to tell of.
        let _ = std::io::copy(&mut reader.by_ref().take(LOTS), &mut std::io::sink());
    }
}

/// Unpacks into a real store; nothing may come to lie outside it.
pub fn layer(bytes: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let Ok(store) = snapshot::Store::open(&dir.path().join("store"), snapshot::Options::default()) else {
        return;
    };
    let _ = store.apply(BufReader::new(bytes));
    drop(store);
    let names: Vec<_> = std::fs::read_dir(dir.path()).into_iter().flatten().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

/// What is taken of an archive is whole, and what came can be told.
pub fn archive(bytes: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let db = redb::Database::builder().create_with_backend(redb::backends::InMemoryBackend::new());
    let Ok(content) =
        db.map_err(drop).and_then(|db| content::Store::open(dir.path(), Arc::new(db)).map_err(drop))
    else {
        return;
    };
    let lease = content.lease();
    let mut reading = ::archive::Reading::new(&content, &lease);
    for image in reading.read(bytes, None).unwrap_or_default() {
        let blobs = ::archive::reachable(&content, &[image.target]).unwrap_or_default();
        assert!(!blobs.is_empty() && blobs.iter().all(|blob| content.contains(&blob.digest)), "{blobs:?}");
    }
    let came = reading.came();
    drop(lease);
    came.iter().for_each(|digest| _ = content.remove(digest));
    let left = content.walk(|digest, _| Err(errdefs::Error::internal(digest.to_string())));
    assert!(left.is_ok(), "{left:?} is left");
}

pub fn image(bytes: &[u8]) {
    let _ = oci::media::detect(bytes);
    let _ = serde_json::from_slice::<oci::ImageConfig>(bytes);
    if let Ok(index) = serde_json::from_slice::<oci::Index>(bytes) {
        let _ = index.select(&Platform::host());
    }
    let _ = serde_json::from_slice::<oci::Manifest>(bytes);
}

pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for word in text.split(' ') {
        if let Ok(reference) = word.parse::<Reference>() {
            // What was understood reads back as the same.
            assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference));
        }
        if let Ok(platform) = word.parse::<Platform>() {
            assert!(platform.to_string().parse::<Platform>().is_ok(), "{platform}");
        }
        let _ = word.parse::<Digest>();
    }
}

pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = daemon::Config::parse(&text);
    let _ = registry::DockerConfig::parse(bytes);
}

/// A frontend that asks its bridge whatever it likes.
pub fn gateway(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    runtime.block_on(bridge::ask(bytes));
}

/// A cache of which every layer is there.
pub fn cache(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<remote_cache::CacheConfig>(bytes) else { return };
    let layer =
        |digest: &Digest| (digest.clone(), oci::Descriptor::new(oci::media::OCI_LAYER, digest.clone(), 1));
    let blobs = config.layers.iter().map(|l| layer(&l.blob)).collect();
    let mut keys = remote_cache::Keys::default();
    if keys.add("name", &config, &blobs).is_err() {
        return;
    }
    for record in config.records.iter().filter(|record| record.inputs.is_empty()) {
        let key = solver::KeyId::from_stored(record.digest.as_str());
        assert!(keys.contains(&key), "a key without inputs is known by its digest");
        for record in keys.records(&key) {
            assert!(keys.layers(&record.result).is_some_and(|layers| !layers.is_empty()));
        }
    }
}

/// Takes every file and keeps none.
struct Everything;
struct Nowhere;

impl SyncReceiver for Everything {
    fn entry(&mut self, _: Stat) -> errdefs::Result<Option<Box<dyn FileSink>>> {
        Ok(Some(Box::new(Nowhere)))
    }
}

impl FileSink for Nowhere {
    fn write(&mut self, _: &[u8]) -> errdefs::Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> errdefs::Result<()> {
        Ok(())
    }
}

/// A client that sends its folder as it likes.
pub fn packets(mut bytes: &[u8]) {
    let mut sent = Vec::new();
    while let Ok(packet) = Packet::decode_length_delimited(&mut bytes) {
        sent.push(Ok(packet));
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    runtime.block_on(async {
        let (replies, _kept) = tokio::sync::mpsc::unbounded_channel();
        let _ = session::files::receive(tokio_stream::iter(sent), replies, Everything, &mut |_| ()).await;
    });
}

fn sample_llb() -> Vec<u8> {
    let file = ::llb::Node::new(
        ::llb::Op {
            kind: ::llb::OpKind::Source(::llb::SourceOp {
                identifier: "docker-image://docker.io/library/busybox:latest".into(),
                ..Default::default()
            }),
            platform: Some(Platform::host()),
            constraints: Vec::new(),
        },
        Vec::new(),
        ::llb::OpMetadata::default(),
    );
    proto::pb::Definition::from(Arc::new(file).output(0).marshal()).encode_to_vec()
}

fn sample_tar() -> Vec<u8> {
    let mut writer = fsutil::tar::Writer::new(Vec::new());
    let file = fsutil::tar::Entry { path: b"dir/file".to_vec(), size: 5, mode: 0o644, ..Default::default() };
    let mut write = || -> std::io::Result<Vec<u8>> {
        writer.pax_header(&file)?;
        writer.write_all(b"hello")?;
        Ok(Vec::new())
    };
    let _ = write();
    writer.finish().unwrap_or_default()
}

/// As Docker wrote it of old, with layers in all packings.
fn sample_archive() -> Vec<u8> {
    let layer = sample_tar();
    let ids = [(); 3].map(|()| Digest::of(&layer).to_string());
    let rootfs = json!({"type": "layers", "diff_ids": ids});
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).to_string();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["0", "1", "2"]}]).to_string();
    let mut writer = fsutil::tar::Writer::new(Vec::new());
    for (path, bytes) in [
        ("0", &layer),
        ("1", &bzip2(&layer)),
        ("2", &xz(&layer)),
        ("c.json", &config.into_bytes()),
        ("manifest.json", &manifest.into_bytes()),
    ] {
        let size = bytes.len() as u64;
        let file = fsutil::tar::Entry { path: path.into(), size, mode: 0o644, ..Default::default() };
        let _ = writer.ustar_header(&file).and_then(|()| writer.write_all(bytes));
    }
    writer.finish().unwrap_or_default()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    packer.write_all(bytes).and_then(|()| packer.finish()).unwrap_or_default()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let packer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1));
    let pack = |mut packer: lzma_rust2::XzWriter<_>| packer.write_all(bytes).and_then(|()| packer.finish());
    packer.and_then(pack).unwrap_or_default()
}

fn sample_packets() -> Vec<u8> {
    use proto::fsutil::packet::PacketType::{PacketData, PacketFin, PacketStat};
    let stat = proto::fsutil::Stat { path: "file".into(), mode: 0o644, size: 5, ..Default::default() };
    let packets = [
        Packet { r#type: PacketStat.into(), stat: Some(stat), ..Default::default() },
        Packet { r#type: PacketStat.into(), ..Default::default() },
        Packet { r#type: PacketData.into(), data: Bytes::from_static(b"hello"), ..Default::default() },
        Packet { r#type: PacketData.into(), ..Default::default() },
        Packet { r#type: PacketFin.into(), ..Default::default() },
    ];
    packets.iter().flat_map(Packet::encode_length_delimited_to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A place, and what becomes of the bytes there.
    #[derive(Debug, Clone)]
    enum Damage {
        Byte(prop::sample::Index, u8),
        Cut(prop::sample::Index),
        Insert(prop::sample::Index, Vec<u8>),
        Again(prop::sample::Index, prop::sample::Index),
    }

    fn damage() -> impl Strategy<Value = Damage> {
        prop_oneof![
            (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
            any::<prop::sample::Index>().prop_map(Damage::Cut),
            (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..20))
                .prop_map(|(at, new)| Damage::Insert(at, new)),
            (any::<prop::sample::Index>(), any::<prop::sample::Index>())
                .prop_map(|(from, to)| Damage::Again(from, to)),
        ]
    }

    fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
        let len = bytes.len().max(1);
        match damage {
            Damage::Byte(at, new) => bytes.get_mut(at.index(len)).into_iter().for_each(|b| *b = *new),
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Insert(at, new) => {
                let at = at.index(len).min(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Damage::Again(from, to) => {
                let (from, to) = (from.index(len).min(bytes.len()), to.index(len).min(bytes.len()));
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
        }
    }

    #[test]
    fn damaged_samples_are_survived() {
        for (name, run, sample) in TARGETS {
            let sample = sample();
            run(&sample);
            // A layer and an archive cost a store each time, and an editor asks much.
            let cases = if matches!(*name, "archive" | "layer" | "editor") { 100 } else { 1000 };
            let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(config, |(all in prop::collection::vec(damage(), 1..8))| {
                let mut bytes = sample.clone();
                all.iter().for_each(|one| apply(&mut bytes, one));
                run(&bytes);
            });
        }
    }
}
