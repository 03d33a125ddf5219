//! Images in the store, and pushed to Debian's docker-registry.

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::sync::Arc;

use bytes::Bytes;
use errdefs::Result;
use oci::{Descriptor, media};
use refs::{BlobProvider, BlobStream, Compression, LayerBlob};

use crate::world::{World, by_platform, run, single};
use base64::Engine as _;

/// The real registry, on a port of its own.
struct Debian {
    host: String,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Debian {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {host}\n\
             validation: {{manifests: {{urls: {{allow: ['^https://host.example/']}}}}}}\n",
            data.display()
        );
        let path = dir.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", path.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&host).is_err() {
            assert!(Instant::now() < deadline, "the registry does not start");
            std::thread::yield_now();
        }
        Debian { host, child, _dir: dir }
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(world: &World) -> Vec<String> {
    world.refs.images().list().unwrap().into_iter().map(|image| image.name).collect()
}

#[tokio::test]
async fn names_are_kept() {
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let result = single(Some(&layer), None);
    let response = world
        .export("image", "name=x,host.example/y:2 name-canonical=true unpack=true", &result)
        .await
        .unwrap();
    let digest = &response["containerimage.digest"];
    assert_eq!(response["image.name"], "x,host.example/y:2");
    assert_eq!(
        names(&world),
        [
            "docker.io/library/x:latest".to_owned(),
            format!("docker.io/library/x@{digest}"),
            "host.example/y:2".to_owned(),
            format!("host.example/y:2@{digest}")
        ]
    );
    let image = world.refs.images().get("host.example/y:2").unwrap().unwrap();
    assert_eq!(image.target.digest.to_string(), *digest);
    let descriptor =
        base64::engine::general_purpose::STANDARD.decode(&response["containerimage.descriptor"]).unwrap();
    assert_eq!(serde_json::from_slice::<oci::Descriptor>(&descriptor).unwrap(), image.target);
    let told = world.told.all();
    for expected in ["exporting to image", "naming to x", "unpacking to host.example/y:2"] {
        assert!(told.iter().any(|name| name == expected), "{expected} in {told:?}");
    }
}

#[tokio::test]
async fn names_are_found_where_they_are_to_be() {
    let world = World::new(Vec::new()).await;
    let mut result = single(None, None);
    result.metadata.insert("image.name".into(), "from.example/front:end".into());
    for (attrs, expected) in [
        ("name=*", Some("from.example/front:end")),
        ("", None),
        ("name=x dangling-name-prefix=none danging-name-empty-only=true", Some("x")),
        ("dangling-name-prefix=none", Some("none@")),
        ("name=x dangling-name-prefix=none", Some("x,none@")),
    ] {
        let response = world.export("image", attrs, &result).await.unwrap();
        let name = response.get("image.name").map(|name| name.split("sha256:").next().unwrap());
        assert_eq!(name, expected, "{attrs}");
    }
    let before = names(&world).len();
    world.export("image", "name=other store=false", &result).await.unwrap();
    assert_eq!(names(&world).len(), before);
}

#[tokio::test]
async fn the_same_again_is_the_same() {
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let above = world.layer(Some(&layer), "b=2", 20).await;
    let result = single(Some(&above), None);
    let first = world.export("image", "name=x", &result).await.unwrap();
    let second = world.export("image", "name=x", &result).await.unwrap();
    assert_eq!(first, second);
    let clamped = world.export("image", "name=x source-date-epoch=5", &result).await.unwrap();
    assert_ne!(first["containerimage.digest"], clamped["containerimage.digest"]);
    let docker = world.export("image", "name=x oci-mediatypes=false", &result).await.unwrap();
    assert_eq!(first["containerimage.config.digest"], docker["containerimage.config.digest"]);
}

#[tokio::test]
async fn what_is_pushed_is_there() {
    let registry = Debian::start();
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let above = world.layer(Some(&layer), "b=2", 20).await;
    let (host, result) = (&registry.host, single(Some(&above), None));
    let response =
        world.export("image", &format!("name={host}/x:1,{host}/y push=true"), &result).await.unwrap();
    for name in ["x:1", "y:latest"] {
        let url = format!("docker://{host}/{name}");
        let seen = run("skopeo", &["inspect", "--tls-verify=false", &url]);
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["Digest"], response["containerimage.digest"].as_str());
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
    }
    let told: HashSet<_> = world.told.all().into_iter().collect();
    let digest = &response["containerimage.digest"];
    for expected in ["pushing layers".to_owned(), format!("pushing manifest for {host}/x:1@{digest}")] {
        assert!(told.contains(&expected), "{expected} in {told:?}");
    }
}

#[tokio::test]
async fn an_index_is_pushed_with_all_it_names() {
    let registry = Debian::start();
    let world = World::new(Vec::new()).await;
    let (a, b) = (world.layer(None, "a=1", 10).await, world.layer(None, "b=1", 20).await);
    let result = by_platform(&[("linux/amd64", &a), ("linux/arm64", &b)]);
    let host = &registry.host;
    let attrs = format!("name={host}/multi push=true push-by-digest=true registry.insecure=true store=false");
    let response = world.export("image", &attrs, &result).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let source = format!("docker://{host}/multi@{}", response["containerimage.digest"]);
    let target = format!("oci:{}:x", dir.path().join("copy").display());
    run("skopeo", &["copy", "-q", "--all", "--src-tls-verify=false", &source, &target]);
    assert!(names(&world).is_empty());
    let told = world.told.all();
    assert!(told.contains(&format!("pushing manifest for {host}/multi")), "{told:?}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_told() {
    let world = World::new(Vec::new()).await;
    let name =
        format!("127.0.0.1:{}/x", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let e = world
        .export("image", &format!("name={name} push=true"), &single(None, None))
        .await
        .expect_err("nobody listens");
    assert!(
        e.to_string().starts_with(&format!("failed to push {name}:latest: failed to do request: ")),
        "{e}"
    );
}

/// Bytes that lie elsewhere.
struct Elsewhere(Bytes);

#[async_trait::async_trait]
impl BlobProvider for Elsewhere {
    async fn open(&self, _: &Descriptor) -> Result<BlobStream> {
        let bytes = self.0.clone();
        Ok(Box::pin(futures_util::stream::once(async move { Ok(bytes) })))
    }
}

/// A blob as Windows' base layers were.
async fn foreign_blob() -> (LayerBlob, Arc<Elsewhere>) {
    let world = World::new(Vec::new()).await;
    let layer = world.layer(None, "a=1", 10).await;
    let lease = world.refs.content().lease();
    let mut blob = layer.blobs(Compression::gzip(), &lease).await.unwrap().remove(0);
    let bytes = world.refs.content().read(&blob.descriptor.digest).unwrap();
    blob.descriptor.media_type = media::DOCKER_FOREIGN_LAYER_GZIP.into();
    blob.descriptor.urls = vec!["https://host.example/blob".into()];
    (blob, Arc::new(Elsewhere(bytes.into())))
}

#[tokio::test]
async fn foreign_layers_are_pushed_unless_they_are_to_stay_elsewhere() {
    let registry = Debian::start();
    let host = &registry.host;
    let world = World::new(Vec::new()).await;
    let (blob, elsewhere) = foreign_blob().await;
    let digest = blob.descriptor.digest.clone();
    let base = world.refs.lazy_layer(None, blob, elsewhere, "pulled");
    let above = world.layer(Some(&base), "b=2", 20).await;
    for (name, attrs, media_type, urls, status) in [
        (
            "stay",
            "oci-mediatypes=false prefer-nondist-layers=true",
            media::DOCKER_FOREIGN_LAYER_GZIP,
            1,
            "404",
        ),
        ("oci", "prefer-nondist-layers=true", media::OCI_FOREIGN_LAYER_GZIP, 1, "404"),
        ("go", "oci-mediatypes=false", media::DOCKER_LAYER_GZIP, 0, "200"),
    ] {
        let attrs = format!("name={host}/{name} push=true {attrs}");
        world.export("image", &attrs, &single(Some(&above), None)).await.expect(&attrs);
        let url = format!("docker://{host}/{name}");
        let manifest = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &url]);
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], media_type, "{attrs}");
        assert_eq!(layer["urls"].as_array().map_or(0, Vec::len), urls, "{attrs}");
        let blob = format!("http://{host}/v2/{name}/blobs/{digest}");
        let got = run("curl", &["-sI", "-o", "/dev/null", "-w", "%{http_code}", &blob]);
        assert_eq!(got, status, "{attrs}");
    }
}
