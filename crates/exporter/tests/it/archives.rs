//! Images as archives.

use std::path::Path;

use session::{Attachables, Output};

use crate::world::{World, by_platform, run, single};

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=<b>"],"Cmd":["/d"]},"history":[{"created_by":"COPY a"},{"created_by":"LABEL","empty_layer":true},{"created_by":"COPY b"}]}"#;

async fn world_with_file() -> (World, std::path::PathBuf, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("out.tar");
    (World::new(vec![(0, Output::File(file.clone()))]).await, file, out)
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn member(archive: &Path, name: &str) -> serde_json::Value {
    json(&run("tar", &["-xOf", archive.to_str().unwrap(), name]))
}

#[tokio::test]
async fn an_oci_layout_is_read_by_others() {
    let (world, file, out) = world_with_file().await;
    let first = world.layer(None, "a=1 dir/ dir/l>../a", 10).await;
    let second = world.layer(Some(&first), "dir/b=2", 20).await;
    let response = world
        .export(
            "oci",
            "name=x,host.example/y:2 source-date-epoch=1600000000",
            &single(Some(&second), Some(CONFIG)),
        )
        .await
        .unwrap();

    assert_eq!(response["image.name"], "docker.io/library/x:latest,host.example/y:2");
    let index = member(&file, "index.json");
    let names = |key: &str| -> Vec<_> {
        index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["annotations"][key].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("io.containerd.image.name"), ["docker.io/library/x:latest", "host.example/y:2"]);
    assert_eq!(names("org.opencontainers.image.ref.name"), ["latest", "2"]);
    assert_eq!(names("org.opencontainers.image.created"), ["2020-09-13T12:26:40Z"; 2]);
    assert_eq!(index["manifests"][0]["digest"], response["containerimage.digest"]);
    let members = run("tar", &["-tf", file.to_str().unwrap()]);
    let top: Vec<_> =
        members.lines().filter(|line| !line.contains("sha256/") || line.ends_with('/')).collect();
    assert_eq!(top, ["blobs/", "blobs/sha256/", "index.json", "oci-layout"]);

    let seen =
        json(&run("skopeo", &["inspect", "--config", &format!("oci-archive:{}:latest", file.display())]));
    assert_eq!(seen["config"]["Env"][0], "A=<b>");
    let created: Vec<_> =
        seen["history"].as_array().unwrap().iter().map(|h| h["created"].as_str().unwrap()).collect();
    assert_eq!(created, ["1970-01-01T00:00:10.5Z", "1970-01-01T00:00:20.5Z", "1970-01-01T00:00:20.5Z"]);

    let (layout, bundle) = (out.path().join("layout"), out.path().join("bundle"));
    std::fs::create_dir(&layout).unwrap();
    run("tar", &["-xf", file.to_str().unwrap(), "-C", layout.to_str().unwrap()]);
    run("umoci", &["unpack", "--image", &format!("{}:2", layout.display()), bundle.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(bundle.join("rootfs/dir/l")).unwrap(), "1");
    assert_eq!(std::fs::read_to_string(bundle.join("rootfs/dir/b")).unwrap(), "2");
}

#[tokio::test]
async fn a_docker_archive_is_read_by_others() {
    let (world, file, out) = world_with_file().await;
    let layer = world.layer(None, "a=1", 10).await;
    let attrs = "name=app:v1 compression=uncompressed force-compression=true oci-mediatypes=false";
    let response = world.export("docker", attrs, &single(Some(&layer), None)).await.unwrap();

    let manifest = member(&file, "manifest.json");
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["app:v1"]));
    let config = response["containerimage.config.digest"].replace(':', "/");
    assert_eq!(manifest[0]["Config"], format!("blobs/{config}"));
    let copy = format!("docker-archive:{}:app:v1", file.display());
    let seen = json(&run("skopeo", &["inspect", &copy]));
    assert_eq!(seen["Os"], "linux");
    run("skopeo", &["copy", "-q", &copy, &format!("oci:{}:x", out.path().join("copy").display())]);
    // The layout that is in the archive as well names the same.
    let digest = member(&file, "index.json")["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let seen = member(&file, &format!("blobs/{digest}"));
    assert_eq!(seen["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(seen["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar");

    let told = world.told.all();
    let kinds: Vec<_> = told.iter().map(|name| name.split("sha256").next().unwrap().trim()).collect();
    assert_eq!(
        kinds,
        [
            "exporting to docker image format",
            "exporting layers",
            "exporting manifest",
            "exporting config",
            "sending tarball"
        ]
    );
}

#[tokio::test]
async fn several_platforms_make_an_index() {
    let (world, file, _out) = world_with_file().await;
    let (a, b) = (world.layer(None, "a=1", 10).await, world.layer(None, "b=1", 20).await);
    let result = by_platform(&[("linux/amd64", &a), ("linux/arm64", &b)]);
    let e = world.export("docker", "", &result).await.expect_err("one platform only");
    assert_eq!(e.to_string(), "docker exporter does not currently support exporting manifest lists");
    let attrs = "name=x compression=zstd annotation-index.i=1 annotation[linux/arm64].p=2 annotation.all=3";
    let response = world.export("oci", attrs, &result).await.unwrap();
    assert!(!response.contains_key("containerimage.config.digest"));

    let archive = format!("oci-archive:{}:latest", file.display());
    let index = json(&run("skopeo", &["inspect", "--raw", &archive]));
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(index["annotations"], serde_json::json!({"i": "1"}));
    let architectures: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|m| &m["platform"]["architecture"]).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    let digest = index["manifests"][1]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = member(&file, &format!("blobs/{digest}"));
    assert_eq!(manifest["annotations"], serde_json::json!({"all": "3", "p": "2"}));
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");

    let e = world.export("oci", "annotation[linux/s390x].p=2", &result).await.expect_err("no such platform");
    assert_eq!(e.to_string(), "invalid annotation: no platform linux/s390x found in source");
}

/// The day of the files of each layer in an OCI archive, the layers checked against the config.
fn days(archive: &Path) -> Vec<String> {
    let blob = |digest: &serde_json::Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let manifest = member(archive, &blob(&member(archive, "index.json")["manifests"][0]["digest"]));
    let config = member(archive, &blob(&manifest["config"]["digest"]));
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter().zip(diff_ids);
    let day = |(layer, diff_id): (&serde_json::Value, &serde_json::Value)| {
        let unpack = format!("tar -xOf {} {} | gunzip", archive.display(), blob(&layer["digest"]));
        let digest = run("sh", &["-c", &format!("{unpack} | sha256sum")]);
        assert_eq!(format!("sha256:{}", &digest[..64]), diff_id.as_str().unwrap());
        let days = format!("{unpack} | tar -tv --full-time --utc | grep -o '2[0-9]*-[0-9]*-[0-9]*' | uniq");
        run("sh", &["-c", &days]).trim_end().to_owned()
    };
    layers.map(day).collect()
}

/// Exports an image of two layers, the first of which may be that of a base image.
async fn check_days(attrs: &str, has_base: bool, expected: [&str; 2]) {
    let (world, file, _out) = world_with_file().await;
    let base = world.layer(None, "a=1", 10).await;
    let above = world.layer(Some(&base), "b=2 l>b", 20).await;
    let mut result = single(Some(&above), Some(CONFIG));
    if has_base {
        let lease = world.refs.content().lease();
        let known = base.blobs(refs::Compression::gzip(), &lease).await.unwrap();
        let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": [known[0].diff_id]}});
        result.metadata.insert("containerimage.base.config".into(), config.to_string().into());
    }
    world.export("oci", attrs, &result).await.expect(attrs);
    assert_eq!(days(&file), expected, "{attrs}");
}

#[tokio::test]
async fn no_file_of_a_new_layer_is_later_than_the_epoch() {
    let (own, clamped) = ("2020-09-13", "2017-07-14");
    check_days("source-date-epoch=1500000000", false, [own, own]).await;
    check_days("rewrite-timestamp=true", false, [own, own]).await;
    check_days("source-date-epoch=1500000000 rewrite-timestamp=true", false, [clamped, clamped]).await;
    check_days("source-date-epoch=1500000000 rewrite-timestamp=true", true, [own, clamped]).await;
    check_days("source-date-epoch=1700000000 rewrite-timestamp=true", false, [own, own]).await;
}

#[tokio::test]
async fn a_store_of_the_client_gets_the_blobs() {
    let out = tempfile::tempdir().unwrap();
    let world = World::offering(Attachables::new().cache_dir("export", out.path())).await;
    let layer = world.layer(None, "a=1", 10).await;
    for (kind, attrs) in
        [("oci", "tar=false"), ("docker", "tar=false name=x compression=zstd"), ("oci", "tar=0")]
    {
        let response = world.export(kind, attrs, &single(Some(&layer), None)).await.expect(attrs);
        let blob = |digest: &str| {
            let bytes = std::fs::read(out.path().join("blobs").join(digest.replace(':', "/"))).expect(digest);
            assert_eq!(oci::Digest::of(&bytes).to_string(), digest);
            bytes
        };
        let manifest = json(&String::from_utf8(blob(&response["containerimage.digest"])).unwrap());
        blob(manifest["config"]["digest"].as_str().unwrap());
        blob(manifest["layers"][0]["digest"].as_str().unwrap());
        assert!(response.contains_key("containerimage.descriptor"));
    }
    assert!(world.told.all().iter().any(|name| name == "sending blobs"));
    let e = World::new(Vec::new()).await;
    let e = e.export("oci", "tar=false", &single(None, None)).await.expect_err("no store");
    assert_eq!(e.to_string(), "the client has no store `export` for the blobs of an image");
}

#[tokio::test]
async fn an_image_that_is_not_whole_leaves_no_file() {
    let (world, file, out) = world_with_file().await;
    let layer = world.layer(None, "a=1", 10).await;
    let result = single(Some(&layer), None);
    let lease = world.refs.content().lease();
    let blobs = layer.blobs(refs::Compression::gzip(), &lease).await.unwrap();
    world.refs.content().flush().unwrap();
    let hex = blobs[0].descriptor.digest.hex();
    let path = world.path("content-v1/sha256").join(&hex[..2]).join(&hex[2..]);
    let len = std::fs::metadata(&path).unwrap().len() as usize;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, vec![0; len]).unwrap();
    let e = world.export("oci", "", &result).await.expect_err("a layer is damaged");
    assert!(e.to_string().contains("is damaged in the store"), "{e}");
    assert!(!file.exists());
    // The client hears of it by its own stream, which may be a moment later.
    let gone = async {
        while std::fs::read_dir(out.path()).unwrap().count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.expect("nothing stays");
}

#[tokio::test]
async fn scratch_is_an_image() {
    let (world, file, _out) = world_with_file().await;
    let response = world
        .export("docker", "name=x", &single(None, Some(r#"{"architecture":"amd64","os":"linux"}"#)))
        .await
        .unwrap();
    assert_eq!(member(&file, "manifest.json")[0]["Layers"], serde_json::Value::Null);
    assert!(response.contains_key("containerimage.descriptor"));
}
