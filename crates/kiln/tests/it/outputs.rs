//! Where results go, and what others read there.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Engine, Folder, Image, assert_has, files_below, list_tar, run_tool, tool};

const DOCKERFILE: &str = "FROM busybox\nRUN mkdir /d && echo hi > /d/f && ln /d/f /d/hard && ln -s f /d/soft && chown 5:6 /d/f && chmod 4711 /d/f\n\
                          RUN rm /etc/passwd\nLABEL a=b\nCMD [\"/d/f\"]";

fn context() -> Folder {
    Folder::with_dockerfile(DOCKERFILE, &[])
}

/// What DOCKERFILE puts into `/d`.
const D: &[&str] = &["755 0:0 d/", "4711 5:6 d/f 'hi\\n'", "4711 5:6 d/hard == d/f", "777 0:0 d/soft -> f"];

#[test]
fn an_oci_archive_is_read_by_skopeo_and_umoci() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let archive = out.join("image.tar");
    engine
        .build(&context())
        .args(["-t", "kim/app:1.0", "-o", &format!("type=oci,dest={}", archive.display())])
        .ok();
    let image = Image::open(&archive);
    assert_has(
        &image.index["manifests"][0],
        &json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "annotations": {
                "io.containerd.image.name": "docker.io/kim/app:1.0",
                "org.opencontainers.image.ref.name": "1.0",
            },
        }),
    );
    assert_eq!(image.layer(1), D);
    assert_eq!(image.layer(2), ["755 0:0 etc/", "0 0:0 etc/.wh.passwd ''"]);

    let reference = format!("oci-archive:{}:1.0", archive.display());
    let inspected = run_tool(tool("skopeo").args(["inspect", &reference]), b"");
    let inspected: Value = serde_json::from_slice(&inspected).expect("JSON");
    assert_has(&inspected, &json!({"Digest": image.digest(), "Labels": {"a": "b"}, "Os": "linux"}));

    let layout = format!("oci:{}:latest", out.join("layout").display());
    run_tool(tool("skopeo").args(["copy", "-q", &reference, &layout]), b"");
    let bundle = out.join("bundle");
    let unpack = ["unpack", "--image", &format!("{}:latest", out.join("layout").display())];
    run_tool(tool("umoci").args(unpack).arg(&bundle), b"");
    let rootfs = bundle.join("rootfs");
    assert!(!rootfs.join("etc/passwd").exists());
    let told = files_below(&rootfs).into_iter().filter(|l| l.contains(" d/"));
    assert_eq!(told.collect::<Vec<_>>(), D);
}

#[test]
fn a_folder_of_blobs_is_read_by_skopeo_and_takes_more_images() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let layout = out.join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    engine.build(&context()).args(["-t", "kim/app:1.0", "-t", "kim/app:x", "-o", &output]).ok();
    let other = Folder::with_dockerfile("FROM busybox\nLABEL c=d", &[]);
    engine.build(&other).args(["-t", "kim/app:1.0", "-o", &output]).ok();
    engine.build(&other).args(["-o", &output]).ok();
    let labels = |tag: &str| -> Value {
        let reference = format!("oci:{}:{tag}", layout.display());
        let inspected = run_tool(tool("skopeo").args(["inspect", &reference]), b"");
        serde_json::from_slice::<Value>(&inspected).expect("JSON")["Labels"].clone()
    };
    assert_eq!(labels("x"), json!({"a": "b"}));
    assert_eq!(labels("1.0"), json!({"c": "d"}));
    assert_eq!(labels("latest"), json!({"c": "d"}));
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).expect("an index")).expect("JSON");
    let names = index["manifests"].as_array().expect("entries").iter();
    let names: Vec<_> = names.map(|m| &m["annotations"]["io.containerd.image.name"]).collect();
    assert_eq!(names, [&json!("docker.io/kim/app:x"), &json!("docker.io/kim/app:1.0"), &Value::Null]);
    // What a folder cannot be is said before anything is built.
    let file = format!("type=oci,tar=false,dest={}", layout.join("index.json").display());
    engine.build(&other).args(["-o", &file]).fails(1, &["is a file"]);
}

#[test]
fn a_docker_archive_is_read_by_skopeo() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let archive = out.join("image.tar");
    engine
        .build(&context())
        .args(["-t", "kim/app:1.0", "-o", &format!("type=docker,dest={}", archive.display())])
        .ok();
    let layout = format!("oci:{}:x", out.join("layout").display());
    let reference = format!("docker-archive:{}:kim/app:1.0", archive.display());
    run_tool(tool("skopeo").args(["copy", "-q", &reference, &layout]), b"");
    let image = Image::read(&out.join("layout"));
    assert_has(&image.config, &json!({"config": {"Cmd": ["/d/f"], "Labels": {"a": "b"}}}));
    assert_eq!(image.layer(1), D);
    let manifest = run_tool(tool("tar").arg("-xOf").arg(&archive).arg("manifest.json"), b"");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest[0]["RepoTags"], json!(["kim/app:1.0"]));
}

#[test]
fn compressions() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let check = |attrs: &str, media_type: &str| {
        let archive = out.join("image.tar");
        let _ = fs::remove_file(&archive);
        engine
            .build(&context())
            .args(["-o", &format!("type=oci,dest={},force-compression=true,{attrs}", archive.display())])
            .ok();
        let image = Image::open(&archive);
        assert_eq!(image.manifest["layers"][1]["mediaType"], media_type, "{attrs}");
        assert_eq!(image.layer(1), D, "{attrs}");
        image.config["rootfs"]["diff_ids"][1].clone()
    };
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let first = check("compression=gzip", &format!("{layer}+gzip"));
    assert_eq!(check("compression=zstd", &format!("{layer}+zstd")), first);
    assert_eq!(check("compression=uncompressed", layer), first);
    assert_eq!(check("compression=gzip,compression-level=9", &format!("{layer}+gzip")), first);
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    assert_eq!(check("oci-mediatypes=false", docker), first);
    let docker = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    assert_eq!(check("oci-mediatypes=false,compression=zstd", docker), first);
    // The table of files is part of what the layer unpacks to.
    assert_ne!(check("compression=estargz", &format!("{layer}+gzip")), first);
    assert_eq!(check("compression=gzip", &format!("{layer}+gzip")), first);
}

#[test]
fn estargz_layers_tell_of_their_tables_and_are_read_by_all() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let output = format!("type=oci,dest={},tar=false,compression=estargz", out.join("image").display());
    engine.build(&context()).args(["-t", "kim/app", "-o", &output]).ok();
    let image = Image::read(&out.join("image"));
    let told = &image.manifest["layers"][1]["annotations"];
    assert!(
        told["containerd.io/snapshot/stargz/toc.digest"].as_str().is_some_and(|d| d.starts_with("sha256:"))
    );
    assert!(told["io.containers.estargz.uncompressed-size"].is_string(), "{told}");
    let layout = format!("{}:latest", out.join("image").display());
    run_tool(tool("umoci").args(["unpack", "--rootless", "--image", &layout]).arg(out.join("bundle")), b"");
    assert_eq!(out.read("bundle/rootfs/d/f"), "hi\n");
}

#[test]
fn the_same_build_is_the_same_image() {
    let dockerfile = "FROM busybox\nARG SOURCE_DATE_EPOCH\nCOPY f /f\nRUN touch -d @1000 /g && chmod 640 /g";
    let context = Folder::with_dockerfile(dockerfile, &[("f", "f")]);
    let build = || {
        let engine = Engine::new();
        let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];
        engine.build(&context).args(epoch).image().digest().to_owned()
    };
    assert_eq!(build(), build());
}

#[test]
fn steps_that_run_at_other_times_make_the_same_image() {
    let dockerfile = "FROM busybox\nARG SOURCE_DATE_EPOCH\nCOPY f /f\nRUN mkdir /d && touch /d/g";
    let context = Folder::with_dockerfile(dockerfile, &[("f", "f")]);
    let build = || {
        let engine = Engine::new();
        let out = Folder::new(&[]);
        let archive = out.join("image.tar");
        let output = format!("type=oci,rewrite-timestamp=true,dest={}", archive.display());
        engine.build(&context).args(["--build-arg", "SOURCE_DATE_EPOCH=1500000000", "-o", &output]).ok();
        Image::open(&archive).manifest
    };
    let first = build();
    assert_eq!(first, build());
    assert_eq!(first["layers"].as_array().map(Vec::len), Some(3));
}

#[test]
fn files_are_as_old_as_the_epoch() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /f", &[("f", "f")]);
    let out = Folder::new(&[]);
    let output = format!("type=local,dest={}", out.join("out").display());
    let check = |args: &[&str], output: &str, expected: bool| {
        engine.build(&context).args(args.iter().copied().chain(["-o", output])).ok();
        let written = fs::metadata(out.join("out/f")).expect("written").modified().expect("a time");
        let epoch = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
        assert_eq!(written == epoch, expected, "{args:?} {output}");
    };
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1500000000"];
    check(&[], &output, false);
    check(&epoch, &output, true);
    check(&epoch, &format!("{output},source-date-epoch="), false);
    check(&[], &format!("{output},source-date-epoch=1500000000"), true);
}

#[test]
fn tar_archives() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile(
        "FROM busybox AS b\nRUN mkdir /o && echo 1 > /o/f\nFROM scratch\nCOPY --from=b /o /",
        &[],
    );
    assert_eq!(list_tar(&engine.build(&context).args(["-o", "-"]).ok().stdout), ["644 0:0 f '1\\n'"]);
    let out = Folder::new(&[]);
    let dest = out.join("a.tar");
    engine.build(&context).args(["-o", &format!("type=tar,dest={}", dest.display())]).ok();
    assert_eq!(list_tar(&fs::read(&dest).expect("written")), ["644 0:0 f '1\\n'"]);
    assert_eq!(out.names(), ["a.tar"]);
}

#[test]
fn folders() {
    let engine = Engine::new();
    let dockerfile = "FROM busybox AS b\nRUN mkdir -p /o/d && cd /o && echo 1 > f && ln f d/h && ln -s f l && chmod 751 d && chown 5:6 f\n\
                      FROM scratch\nCOPY --from=b /o /";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    let out = Folder::new(&[("f", "older"), ("own", "stays")]);
    let told = |attrs: &str| {
        let dest = format!("type=local,dest={}{attrs}", out.path().display());
        engine.build(&context).args(["--allow", "buildx.local.delete", "-o", &dest]).ok();
        files_below(out.path())
    };
    let sent = |own: &[&str]| {
        let all = ["751 0:0 d/", "644 0:0 d/h '1\\n'", "644 0:0 f == d/h", "777 0:0 l -> f"];
        all.iter().chain(own).map(|l| (*l).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(""), sent(&["644 0:0 own 'stays'"]));
    out.write("d/stray", "s");
    assert_eq!(told(",mode=delete"), sent(&[]));
    // One more time, over what is there.
    assert_eq!(told(""), sent(&[]));

    // Without leave nothing outside of the working directory is deleted.
    out.write("own", "stays");
    let dest = format!("type=local,mode=delete,dest={}", out.path().display());
    engine.build(&context).args(["-o", &dest]).fails(1, &["requires --allow=buildx.local.delete"]);
    assert_eq!(out.read("own"), "stays");
}

#[test]
fn several_at_once() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let at = |name: &str| out.join(name).display().to_string();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /f", &[]);
    let outputs = [
        format!("type=oci,dest={}", at("oci.tar")),
        format!("type=tar,dest={}", at("files.tar")),
        at("folder"),
    ];
    engine.build(&context).args(outputs.iter().flat_map(|o| ["-o", o])).ok();
    let listing = ["644 0:0 f 'FROM scratch\\nCOPY Dockerfile /f'"];
    assert_eq!(list_tar(&fs::read(at("files.tar")).expect("written")), listing);
    assert_eq!(Image::open(Path::new(&at("oci.tar"))).layer(0), listing);
    assert_eq!(out.read("folder/f"), "FROM scratch\nCOPY Dockerfile /f");
}

#[test]
fn what_scripts_read() {
    let engine = Engine::new();
    let out = Folder::new(&[]);
    let (iid, metadata) = (out.join("iid"), out.join("metadata"));
    let archive = out.join("image.tar");
    let files =
        ["--iidfile", iid.to_str().expect("UTF-8"), "--metadata-file", metadata.to_str().expect("UTF-8")];
    let output = format!("type=oci,dest={}", archive.display());
    let built = engine.build(&context()).args(files).args(["-q", "-t", "app", "-o", &output]).ok();
    let image = Image::open(&archive);
    assert_eq!(out.read("iid"), image.config_digest());
    assert_eq!(String::from_utf8_lossy(&built.stdout).trim(), image.config_digest());
    assert_eq!(built.stderr, "");
    let metadata: Value = serde_json::from_str(&out.read("metadata")).expect("JSON");
    assert_has(
        &metadata,
        &json!({
            "containerimage.digest": image.digest(),
            "containerimage.config.digest": image.config_digest(),
            "image.name": "docker.io/library/app:latest",
            "containerimage.descriptor": {"digest": image.digest()},
        }),
    );
    // A build that fails leaves no ID of one before.
    let broken = Folder::with_dockerfile("FROM busybox\nRUN false", &[]);
    engine.build(&broken).args(files).args(["-q"]).fails(1, &["exit code: 1"]);
    assert!(!iid.exists());
}

#[test]
fn progress_as_plain_text() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo some words; echo to stderr >&2", &[]);
    let built = engine.build(&context).args(["-otype=tar,dest=/dev/null"]).ok();
    for text in [
        "[internal] load build definition from Dockerfile",
        "] RUN echo some words",
        " some words\n",
        " to stderr\n",
        "DONE",
    ] {
        assert!(built.stderr.contains(text), "`{text}` is not in:\n{}", built.stderr);
    }
    let again = engine.build(&context).args(["-otype=tar,dest=/dev/null"]).ok();
    assert!(again.stderr.contains("CACHED"), "{}", again.stderr);
    // Each step is told once, also where its key is known long before its work is done.
    let first = "load build definition from Dockerfile";
    for told in [&built.stderr, &again.stderr] {
        assert_eq!((told.matches(first).count(), told.matches("#1 DONE").count()), (1, 1), "{told}");
    }
}
