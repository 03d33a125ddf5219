//! The images of Kiln's own store: names, archives, pushes.

use std::path::Path;
use std::process::Output;

use oci::Digest;
use serde_json::{Value, json};

use crate::docker::Docker;
use crate::harness::{
    Engine, Folder, Image, LOGIN, Process, Registry, assert_has, list_tar, output_of, run_tool, tool,
};

const BOTH: &str = "linux/amd64,linux/arm64";

/// An engine whose store has `multi`, for two platforms and with provenance, and the plain image `plain:1`.
fn engine() -> Engine {
    let engine = Engine::new();
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY f /d/f-$TARGETARCH\nENV A=1\nCMD [\"/d/f\"]\n";
    let context = Folder::with_dockerfile(dockerfile, &[("f", "data\n")]);
    engine.build(&context).args(["-t", "multi", "--platform", BOTH]).ok();
    engine
        .build(&context)
        .args(["-t", "plain:1", "--platform", "linux/amd64", "--provenance=false", "--label", "a=b"])
        .ok();
    engine
}

/// What `kiln` prints that has to succeed.
fn ok(engine: &Engine, words: &str) -> String {
    String::from_utf8_lossy(&run_tool(&mut engine.kiln(words.split(' ')), b"")).into_owned()
}

/// Runs what has to fail with this text.
fn fails(engine: &Engine, words: &str, told: &str) {
    let Output { status, stderr, .. } = engine.run(words);
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && stderr.contains(told), "{words}: `{told}` is not in:\n{stderr}");
}

fn inspect(engine: &Engine, words: &str) -> Value {
    serde_json::from_str::<Value>(&ok(engine, &format!("image inspect {words}"))).expect("JSON")[0].take()
}

/// The digest that a name stands for.
fn digest(engine: &Engine, name: &str) -> String {
    inspect(engine, name)["Descriptor"]["digest"].as_str().expect("a digest").to_owned()
}

#[test]
fn names_are_given_and_taken_and_survive_a_restart() {
    let engine = engine();
    assert_eq!(ok(&engine, "image tag multi reg.io/me/app:2"), "");
    engine.stop();
    let listed = ok(&engine, "image ls --format {{.Name}}");
    let names = ["docker.io/library/multi:latest", "docker.io/library/plain:1", "reg.io/me/app:2"];
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    assert_eq!(digest(&engine, "multi"), digest(&engine, "reg.io/me/app:2"));
    // An image of two names goes by its digest with force alone.
    let id = digest(&engine, "multi")[7..20].to_owned();
    fails(&engine, &format!("image rm {id}"), "has several names: multi:latest, reg.io/me/app:2");
    fails(&engine, "image rm nothing", "no image `nothing`");
    ok(&engine, "image rm --force nothing");
    assert_eq!(
        ok(&engine, &format!("image rm -f {id}")),
        "Untagged: multi:latest\nUntagged: reg.io/me/app:2\n"
    );
    assert_eq!(ok(&engine, "images rm plain:1"), "Untagged: plain:1\n");
    assert_eq!(ok(&engine, "images -q"), "");
    fails(&engine, "image tag multi a", "no image `multi`");
}

#[test]
fn an_image_is_told_in_the_words_of_docker() {
    let engine = engine();
    let told = inspect(&engine, "multi");
    assert_has(&told, &json!({"RepoTags": ["multi:latest"], "Architecture": "amd64", "Os": "linux"}));
    assert_has(&told["Config"], &json!({"Cmd": ["/d/f"], "WorkingDir": "/"}));
    assert_eq!(told["RepoDigests"], json!([format!("multi@{}", digest(&engine, "multi"))]));
    assert_eq!(told["RootFS"]["Layers"].as_array().map(Vec::len), Some(1));
    let kinds: Vec<_> = told["Manifests"].as_array().expect("a list").iter().map(|m| &m["Kind"]).collect();
    assert_eq!(kinds, ["image", "image", "attestation", "attestation"]);
    assert_eq!(told["Manifests"][2]["AttestationData"]["For"], told["Manifests"][0]["ID"]);
    let other = inspect(&engine, "--platform linux/arm64 multi");
    assert_eq!(other["Architecture"], "arm64");
    assert_ne!(other["Id"], told["Id"]);
    assert_eq!(inspect(&engine, &told["Id"].as_str().expect("a digest")[..20])["Id"], told["Id"]);
    assert_eq!(
        ok(&engine, "image inspect -f {{.Os}}/{{.Architecture}} multi plain:1"),
        "linux/amd64\nlinux/amd64\n"
    );
    fails(&engine, "image inspect --platform linux/s390x multi", "it is there for linux/amd64, linux/arm64");
    // What is there is told all the same.
    let output = engine.run("image inspect -f {{.Os}} none plain:1");
    assert_eq!((output.status.code(), output.stdout), (Some(1), b"linux\n".to_vec()));
}

#[test]
fn an_archive_is_whole_and_others_read_it() {
    let (engine, other) = (engine(), Engine::new());
    ok(&engine, "image tag multi reg.io/me/app:2");
    ok(&engine, "image save -o all.tar multi plain:1 reg.io/me/app:2");
    let file = |name: &str| engine.home().join(name).display().to_string();
    let hidden = engine.home().names().into_iter().filter(|name| name.starts_with(".kiln"));
    assert_eq!(hidden.collect::<Vec<_>>(), [""; 0]);

    // skopeo: the index with all that is below it, and the image that Docker would take.
    let skopeo = |words: &str| run_tool(tool("skopeo").args(words.split(' ')), b"");
    let raw = skopeo(&format!("inspect --raw oci-archive:{}:2", file("all.tar")));
    assert_eq!(Digest::of(&raw).to_string(), digest(&engine, "multi"));
    skopeo(&format!("copy -q --all oci-archive:{}:2 oci:{}:x", file("all.tar"), file("copied")));
    let told = skopeo(&format!("inspect docker-archive:{}:plain:1", file("all.tar")));
    assert_has(&serde_json::from_slice(&told).expect("JSON"), &json!({"Architecture": "amd64"}));
    // umoci unpacks the plain image.
    let layout = Folder::new(&[]);
    run_tool(tool("tar").arg("-xf").arg(file("all.tar")).arg("-C").arg(layout.path()), b"");
    let mut umoci = tool("umoci");
    umoci.args(["unpack", "--rootless", "--image", &format!("{}:1", layout.path().display())]);
    run_tool(umoci.arg(file("bundle")), b"");
    assert_eq!(engine.home().read("bundle/rootfs/d/f-amd64"), "data\n");

    // Another engine has the same image then, with all names: from the archive, packed in any way, and from the folder.
    let all = ["Loaded image: multi:latest", "Loaded image: reg.io/me/app:2", "Loaded image: plain:1"];
    let check = |words: &str, input: &[u8]| {
        let told = run_tool(&mut other.kiln(words.split(' ')), input);
        let told = String::from_utf8_lossy(&told).into_owned();
        assert_eq!(told.lines().collect::<Vec<_>>(), all, "{words}");
        assert_eq!(digest(&other, "multi"), digest(&engine, "multi"));
        assert_eq!(inspect(&other, "multi")["Manifests"], inspect(&engine, "multi")["Manifests"]);
        ok(&other, "image rm multi plain:1 reg.io/me/app:2");
    };
    let archive = std::fs::read(file("all.tar")).expect("saved");
    check(&format!("image load -i {}", file("all.tar")), b"");
    check(&format!("image load --input={}", layout.path().display()), b"");
    check("image load", &archive);
    check("image load", &run_tool(tool("gzip").args(["-n", "-1"]), &archive));
    check("image load", &run_tool(tool("zstd").args(["-q", "-c"]), &archive));

    // One platform alone is a plain image; so is one that is chosen at the other end.
    ok(&engine, "image save --platform linux/arm64 --format oci -o arm.tar multi");
    let image = Image::open(&engine.home().join("arm.tar"));
    assert_eq!(image.layer(0), ["755 0:0 d/", "644 0:0 d/f-arm64 'data\\n'"]);
    assert!(
        !list_tar(&std::fs::read(file("arm.tar")).expect("saved"))
            .iter()
            .any(|e| e.contains("manifest.json"))
    );
    ok(&other, &format!("image load -q --platform linux/arm64 -i {}", file("arm.tar")));
    assert_eq!(inspect(&other, "multi")["Architecture"], "arm64");
    fails(
        &other,
        &format!("image load --platform linux/s390x -i {}", file("arm.tar")),
        "is not there for linux/s390x",
    );
    fails(&engine, "image save -o x.tar multi none", "no image `none`");
    assert!(!engine.home().join("x.tar").exists());
}

#[test]
fn docker_takes_what_is_saved_and_what_it_saves_is_taken() {
    let engine = engine();
    let Some(docker) = Docker::start() else { return };
    ok(&engine, "image save -o all.tar multi plain:1");
    let archive = std::fs::read(engine.home().join("all.tar")).expect("saved");
    docker.call("POST", "/images/load", &archive);
    for name in ["multi:latest", "plain:1"] {
        let loaded = docker.get(&format!("/images/{name}/json"));
        assert_has(&loaded, &json!({"Id": inspect(&engine, name)["Id"], "RepoTags": [name]}));
        assert_eq!(loaded["RootFS"]["Layers"], inspect(&engine, name)["RootFS"]["Layers"]);
    }
    let saved = docker.call("GET", "/images/plain:1/get", b"");
    let id = inspect(&engine, "plain:1")["Id"].clone();
    ok(&engine, "image rm plain:1");
    let told = run_tool(&mut engine.kiln(["image", "load"]), &saved);
    assert_eq!(String::from_utf8_lossy(&told), "Loaded image: plain:1\n");
    assert_eq!(inspect(&engine, "plain:1")["Id"], id);
    let files = run_tool(&mut engine.kiln(["image", "export", "plain:1"]), b"");
    assert_eq!(list_tar(&files), ["755 0:0 d/", "644 0:0 d/f-amd64 'data\\n'"]);
}

#[test]
fn archives_of_others_are_taken() {
    let engine = engine();
    ok(&engine, "image save -o plain.tar plain:1");
    let file = |name: &str| engine.home().join(name).display().to_string();
    let layers = inspect(&engine, "plain:1")["RootFS"].clone();
    let from = format!("docker-archive:{}:plain:1", file("plain.tar"));
    for (to, path, args, name) in [
        ("docker-archive:FILE:reg.io/a/docker:3", "docker.tar", "", "reg.io/a/docker:3"),
        ("oci-archive:FILE:reg.io/a/oci:4", "oci.tar", "", "reg.io/a/oci:4"),
        ("oci-archive:FILE:v1", "short.tar", " --tag short", "short:latest"),
        ("oci:FILE:v1", "folder", " -t a/folder:5", "a/folder:5"),
    ] {
        let to = to.replace("FILE", &file(path));
        run_tool(tool("skopeo").args(["copy", "-q", &from, &to]), b"");
        let told = ok(&engine, &format!("image load -i {}{args}", file(path)));
        assert_eq!(told, format!("Loaded image: {name}\n"));
        assert_eq!(inspect(&engine, name)["RootFS"], layers, "{name}");
        let files = run_tool(&mut engine.kiln(["image", "export", name]), b"");
        assert_eq!(list_tar(&files), ["755 0:0 d/", "644 0:0 d/f-amd64 'data\\n'"], "{name}");
    }
    fails(&engine, &format!("image load -i {}", file("short.tar")), "give it one with `--tag NAME`");
}

#[test]
fn damaged_archives_leave_nothing() {
    let (source, engine) = (engine(), Engine::new());
    ok(&source, "image save -o good.tar multi plain:1");
    let good = std::fs::read(source.home().join("good.tar")).expect("saved");
    // The engine runs, and its store has nothing.
    assert_eq!(ok(&engine, "images -q"), "");
    let content = engine.root().join("content-v1");
    let check = |archive: &[u8], told: &str| {
        let output = output_of(&mut engine.kiln(["image", "load"]), archive);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "`{told}` is not in:\n{stderr}");
        assert_eq!(ok(&engine, "images -q"), "", "{told}");
        assert_eq!(blobs(&content), [""; 0], "{told}");
    };
    check(b"", "this is no archive of images");
    check(b"not an archive at all", "archive");
    check(&good[..1600], "unexpected end of archive");
    check(&good[..good.len() / 2], "archive");
    let packed = run_tool(tool("gzip").arg("-n"), &good);
    check(&packed[..packed.len() - 4], "failed to read the archive");
    // One byte of a blob is another one.
    let remade = |change: &dyn Fn(&Path)| {
        let folder = Folder::new(&[]);
        run_tool(tool("tar").arg("-x").arg("-C").arg(folder.path()), &good);
        change(folder.path());
        run_tool(tool("tar").arg("-c").arg("-C").arg(folder.path()).arg("."), b"")
    };
    let config = inspect(&source, "plain:1")["Id"].as_str().expect("a digest").replace(':', "/");
    let config = &Path::new("blobs").join(config);
    check(&remade(&|dir| damage(&dir.join(config))), "unexpected commit digest");
    check(
        &remade(&|dir| std::fs::remove_file(dir.join(config)).expect("removed")),
        "the archive is not whole",
    );
    check(&remade(&|dir| std::fs::write(dir.join("index.json"), "{").expect("written")), "invalid JSON");
    let nowhere = r#"{"schemaVersion":2,"manifests":[]}"#;
    check(&remade(&|dir| std::fs::write(dir.join("index.json"), nowhere).expect("written")), "has no image");
    // A path that leads elsewhere is nothing but a name.
    let climbs = Folder::new(&[("evil", "x"), ("manifest.json", r#"[{"Config":"../../evil","Layers":[]}]"#)]);
    let mut tar = tool("tar");
    tar.args(["-cP", "--transform", "s,^evil,../../evil,", "-C"])
        .arg(climbs.path())
        .args(["evil", "manifest.json"]);
    check(&run_tool(&mut tar, b""), "invalid JSON");
    assert!(!engine.root().join("../../evil").exists() && !engine.root().join("../evil").exists());
    // And a good one still comes.
    run_tool(&mut engine.kiln(["image", "load", "-q"]), &good);
    assert_eq!(digest(&engine, "multi"), digest(&source, "multi"));
}

/// Files of the content store.
fn blobs(content: &Path) -> Vec<String> {
    let found = run_tool(tool("find").arg(content).args(["-type", "f"]), b"");
    String::from_utf8_lossy(&found).lines().map(str::to_owned).collect()
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a blob");
    bytes[0] ^= 1;
    // Blobs are read only.
    std::fs::remove_file(path).expect("removed");
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn an_image_is_pushed_whole_or_for_one_platform() {
    let engine = engine();
    let registry = Registry::with_login();
    let (whole, arm) = (registry.name("me/app:1"), registry.name("me/app:arm"));
    ok(&engine, &format!("image tag multi {whole}"));
    ok(&engine, &format!("image tag multi {arm}"));
    fails(&engine, &format!("image push --progress=plain {whole}"), "authorization");
    let login = run_tool(tool("base64").arg("-w0"), LOGIN.as_bytes());
    let login = json!({"auths": {registry.host(): {"auth": String::from_utf8_lossy(&login)}}});
    engine.write_docker_config(&login.to_string());
    let raw = |name: &str| {
        let mut skopeo = tool("skopeo");
        skopeo.args([
            "inspect",
            "--raw",
            "--tls-verify=false",
            "--creds",
            LOGIN,
            &format!("docker://{name}"),
        ]);
        run_tool(&mut skopeo, b"")
    };
    let output = output_of(&mut engine.kiln(["image", "push", "--progress=plain", &whole]), b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains(&format!("pushing {whole}")), "{told}");
    assert!(told.contains("pushing layers") && told.contains("pushing manifest for"), "{told}");
    assert_eq!(Digest::of(raw(&whole)).to_string(), digest(&engine, "multi"));

    assert_eq!(ok(&engine, &format!("image push -q --platform linux/arm64 {arm}")), format!("{arm}\n"));
    let manifest = inspect(&engine, "--platform linux/arm64 multi")["Manifests"][1]["ID"].clone();
    assert_eq!(Digest::of(raw(&arm)).to_string(), manifest);

    // All names of a repository.
    let repository = registry.name("you/app");
    for tag in ["1", "2"] {
        ok(&engine, &format!("image tag plain:1 {repository}:{tag}"));
    }
    assert_eq!(
        ok(&engine, &format!("image push -a -q {repository}")),
        format!("{repository}:1\n{repository}:2\n")
    );
    assert_eq!(raw(&format!("{repository}:1")), raw(&format!("{repository}:2")));
    fails(&engine, "image push none", "no image `none`");
    fails(&engine, "image push 127.0.0.1:1/none", "no image");
}

/// Nothing is read or written but by the client.
#[test]
fn an_engine_elsewhere_does_the_same() {
    let (engine, client) = (Engine::new(), engine());
    let root = engine.root().display().to_string();
    let mut daemon = engine.kiln(["daemon", "--root", &root, "--addr", "tcp://127.0.0.1:0"]);
    daemon.args(["--addr", &format!("unix://{root}/engine.sock")]);
    let (_daemon, address) = Process::start(&mut daemon, |line| {
        let rest = line.split("listening on tcp://127.0.0.1:").nth(1)?;
        Some(format!("tcp://127.0.0.1:{}", rest.trim()))
    });
    ok(&client, "image save -o saved.tar multi");
    let far = |words: &str| ok(&client, &format!("--host {address} {words}"));
    assert_eq!(far("image load -i saved.tar"), "Loaded image: multi:latest\n");
    far("image tag multi far");
    far("image save -o again.tar multi");
    let read = |name: &str| std::fs::read(client.home().join(name)).expect("saved");
    assert!(read("saved.tar") == read("again.tar"), "the same to the last byte");
    far("image export -o files.tar --platform linux/arm64 far");
    assert_eq!(list_tar(&read("files.tar")), ["755 0:0 d/", "644 0:0 d/f-arm64 'data\\n'"]);
    let registry = Registry::open();
    let name = registry.name("far:1");
    far(&format!("image tag far {name}"));
    assert_eq!(far(&format!("image push -q {name}")), format!("{name}\n"));
}

/// All levels that annotations may hang on, in an archive.
#[test]
fn annotations_of_all_levels() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /\n", &[]);
    let args = ["--platform", BOTH, "-o", "type=oci,dest=a.tar"];
    let annotations = [
        "plain=0",
        "index:i=1",
        "index-descriptor:id=2",
        "manifest[linux/arm64]:m=3",
        "manifest-descriptor:md=4",
        "index,manifest:both=5",
    ];
    let annotations = annotations.iter().flat_map(|a| ["--annotation", a]);
    engine.build(&context).args(args).args(annotations).ok();
    let folder = Folder::new(&[]);
    let archive = engine.home().join("a.tar");
    run_tool(tool("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()), b"");
    let blob = |descriptor: &Value| -> Value {
        let digest = descriptor["digest"].as_str().expect("a digest").replace(':', "/");
        serde_json::from_str(&folder.read(&format!("blobs/{digest}"))).expect("JSON")
    };
    let layout: Value = serde_json::from_str(&folder.read("index.json")).expect("JSON");
    let index = blob(&layout["manifests"][0]);
    assert_has(&layout["manifests"][0]["annotations"], &json!({"id": "2", "i": null}));
    assert_eq!(index["annotations"], json!({"i": "1", "both": "5"}));
    let [amd, arm] = [0, 1].map(|i| (&index["manifests"][i], blob(&index["manifests"][i])));
    assert_eq!((&amd.0["annotations"], &arm.0["annotations"]), (&json!({"md": "4"}), &json!({"md": "4"})));
    assert_eq!(amd.1["annotations"], json!({"plain": "0", "both": "5"}));
    assert_eq!(arm.1["annotations"], json!({"plain": "0", "both": "5", "m": "3"}));
    let wrong = engine.build(&context).args(["--annotation", "layer:a=b"]);
    wrong.fails(1, &["unknown annotation type \"layer\""]);
}
