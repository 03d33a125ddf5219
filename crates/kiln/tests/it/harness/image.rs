use std::fs;
use std::path::{Path, PathBuf};

use oci::Digest;
use serde_json::{Value, json};

use super::listing::list_layer;
use super::{Folder, run_tool, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An OCI layout that a test made, with one image under the tag `latest`.
pub struct Layout(Folder);

impl Layout {
    /// An image of these layers, given as tar archives.
    pub fn new(layers: &[&[u8]], config: Value) -> Self {
        let gzipped: Vec<Vec<u8>> =
            layers.iter().map(|l| run_tool(tool("gzip").args(["-n", "-1"]), l)).collect();
        let diff_ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let layout = Layout(Folder::new(&[("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)]));
        let config = json!({
            "created": "2023-05-18T22:34:17Z", "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": layers.iter().map(|_| json!({"created_by": "the tests"})).collect::<Vec<_>>(),
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": layout.blob(CONFIG, config.to_string().as_bytes()),
            "layers": gzipped.iter().map(|l| layout.blob(GZIP_LAYER, l)).collect::<Vec<_>>(),
        });
        let mut manifest = layout.blob(MANIFEST, manifest.to_string().as_bytes());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        layout.0.write("index.json", index.to_string());
        layout
    }

    /// Writes a blob and gives its descriptor.
    fn blob(&self, media_type: &str, data: &[u8]) -> Value {
        let digest = Digest::of(data);
        self.0.write(&format!("blobs/sha256/{}", digest.hex()), data);
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": data.len()})
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// `NAME=oci-layout://…`, for `--build-context`.
    pub fn named(&self, name: &str) -> String {
        format!("{name}=oci-layout://{}", self.path().display())
    }

    /// Where its first layer lies.
    pub fn layer_path(&self) -> PathBuf {
        Image::read(self.path()).layer_paths().remove(0)
    }
}

/// The image of a layout, read by hand.
pub struct Image {
    folder: PathBuf,
    /// What unpacked archives live in.
    _unpacked: Option<Folder>,
    pub index: Value,
    pub manifest: Value,
    pub config: Value,
}

impl Image {
    /// Reads an OCI archive.
    pub fn open(archive: &Path) -> Self {
        let folder = Folder::new(&[]);
        run_tool(tool("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()), b"");
        let image = Image::read(folder.path());
        Image { _unpacked: Some(folder), ..image }
    }

    /// Reads a layout.
    pub fn read(folder: &Path) -> Self {
        let index: Value =
            serde_json::from_slice(&fs::read(folder.join("index.json")).expect("an index")).expect("JSON");
        let blob = |descriptor: &Value| -> Value {
            let data = fs::read(blob_path(folder, descriptor)).expect("the blob is there");
            assert_eq!(Digest::of(&data).to_string(), descriptor["digest"], "the blob has its digest");
            assert_eq!(data.len() as u64, descriptor["size"], "the blob has its size");
            serde_json::from_slice(&data).expect("JSON")
        };
        let manifest = blob(&index["manifests"][0]);
        let config = blob(&manifest["config"]);
        Image { folder: folder.to_owned(), _unpacked: None, index, manifest, config }
    }

    pub fn layer_paths(&self) -> Vec<PathBuf> {
        let layers = self.manifest["layers"].as_array().expect("a list");
        layers.iter().map(|l| blob_path(&self.folder, l)).collect()
    }

    /// The files of one layer, as `list_tar` tells them.
    pub fn layer(&self, number: usize) -> Vec<String> {
        list_layer(&self.layer_paths()[number])
    }

    pub fn digest(&self) -> &str {
        self.index["manifests"][0]["digest"].as_str().expect("a digest")
    }

    pub fn config_digest(&self) -> &str {
        self.manifest["config"]["digest"].as_str().expect("a digest")
    }
}

fn blob_path(folder: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().expect("a digest");
    folder.join("blobs").join(digest.replace(':', "/"))
}
