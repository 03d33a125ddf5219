//! Builders: engines with names, and builds over several of them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use oci::Digest;
use serde_json::{Value, json};

use crate::harness::{Engine, Folder, Process, Registry, assert_has, busybox, output_of, run_tool, tool};

/// Two engines on this machine that claim platforms of their own, and a builder `two` of both, which the first one's
/// client knows.
struct Two {
    engines: [Engine; 2],
}

impl Two {
    fn new() -> Self {
        let claim =
            |platform: &str| Engine::with_config(&format!("[worker.oci]\nplatforms = [\"{platform}\"]\n"));
        let two = Two { engines: [claim("linux/amd64"), claim("linux/arm64")] };
        two.ok(&format!("builder create --name two {}", address(&two.engines[0])));
        two.ok(&format!("builder create --name two --append {}", address(&two.engines[1])));
        two
    }

    fn kiln(&self, words: &str) -> Command {
        self.engines[0].kiln(words.split(' '))
    }

    /// What a command prints that has to succeed.
    fn ok(&self, words: &str) -> String {
        String::from_utf8_lossy(&run_tool(&mut self.kiln(words), b"")).into_owned()
    }

    fn build(&self, context: &Folder, args: &[&str]) -> Command {
        let mut command =
            self.kiln("--builder two build --progress=plain --platform linux/amd64,linux/arm64");
        command.args(args).args(["--build-context", &busybox().named("busybox")]).arg(context.path());
        command
    }

    /// What a build tells that has to succeed.
    fn builds(&self, context: &Folder, args: &[&str]) -> String {
        let output = output_of(&mut self.build(context, args), b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}\n{told}");
        told
    }

    fn home(&self) -> &Folder {
        self.engines[0].home()
    }
}

fn address(engine: &Engine) -> String {
    format!("unix://{}", engine.root().join("engine.sock").display())
}

/// A file whose name tells the platform, from a stage that each engine builds for itself.
fn context() -> Folder {
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY f /f-${TARGETARCH}\n";
    Folder::with_dockerfile(dockerfile, &[("f", "sent to all")])
}

fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().expect("a digest").replace(':', "/");
    let bytes = std::fs::read(layout.join("blobs").join(digest)).expect("the blob is there");
    assert_eq!(Digest::of(&bytes).to_string(), descriptor["digest"]);
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Platforms of an index, without those of attestations.
fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().expect("a list");
    let told = manifests
        .iter()
        .map(|m| format!("{}/{}", m["platform"]["os"], m["platform"]["architecture"]).replace('"', ""));
    told.filter(|platform| platform != "unknown/unknown").collect()
}

#[test]
fn each_platform_is_built_by_its_node() {
    let two = Two::new();
    let told = two.builds(&context(), &["-o", "out"]);
    for step in [
        "building with \"two\" instance using remote driver",
        "[two0 linux/amd64 1/1] COPY f /f-amd64",
        "[two1 linux/arm64 1/1] COPY f /f-arm64",
        "[two1 internal] load build context",
    ] {
        assert!(told.contains(step), "`{step}` is not in:\n{told}");
    }
    assert!(!told.contains("two0 linux/arm64"), "{told}");
    assert_eq!(two.home().read("out/linux_amd64/f-amd64"), "sent to all");
    assert_eq!(two.home().read("out/linux_arm64/f-arm64"), "sent to all");
    // Each engine has its own part in its history, under one name.
    let record = |engine: &Engine| {
        let output = engine.run("--builder default history ls --format {{.Ref}}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(record(&two.engines[0]), record(&two.engines[1]));
    // What one node builds alone is as without the other.
    let mut alone = two.kiln("--builder two build --progress=plain --platform linux/arm64 -o alone");
    let output = output_of(alone.arg(context().path()), b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("two1 "), "{told}");
    assert_eq!(two.home().read("alone/f-arm64"), "sent to all");
}

#[test]
fn targets_of_a_bake_meet_on_their_nodes() {
    let file = r#"target "base" {
  dockerfile-inline = "FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n"
  platforms = ["linux/amd64", "linux/arm64"]
}
target "both" {
  dockerfile-inline = "FROM base\nARG TARGETARCH\nCOPY f /both-$TARGETARCH\n"
  contexts = { base = "target:base" }
  platforms = ["linux/amd64", "linux/arm64"]
  output = ["out"]
}
target "apart" {
  dockerfile-inline = "FROM base\n"
  contexts = { base = "target:base" }
  platforms = ["linux/arm64"]
}
"#;
    let two = Two::new();
    let folder = Folder::new(&[("docker-bake.hcl", file), ("f", "sent to all")]);
    let bake = |words: &str| {
        let mut command = two.kiln(&format!("--builder two bake --progress=plain {words}"));
        let output = output_of(command.current_dir(folder.path()), b"");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = bake("both");
    assert_eq!(code, Some(0), "{told}");
    for step in [
        "[both two0 linux/amd64 1/2] COPY",
        "[both two1 linux/arm64 1/2] COPY",
        "[base two1 linux/arm64 1/1]",
    ] {
        assert!(told.contains(step), "`{step}` is not in:\n{told}");
    }
    for path in
        ["linux_amd64/f-amd64", "linux_amd64/both-amd64", "linux_arm64/f-arm64", "linux_arm64/both-arm64"]
    {
        assert_eq!(folder.read(&format!("out/{path}")), "sent to all", "{path}");
    }
    let (code, told) = bake("apart --set base.platform=linux/amd64");
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("failed to use base as a context of apart because they build on different nodes"),
        "{told}"
    );
}

#[test]
fn disk_is_counted_and_freed_on_all_nodes() {
    let two = Two::new();
    two.builds(&context(), &["-o", "out"]);
    let count = |words: &str| two.ok(words).lines().count();
    let own = |engine: &Engine| {
        let output = engine.run("--builder default du --format json");
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    let both = two.engines.iter().map(own).sum::<usize>();
    assert!(two.engines.iter().all(|engine| own(engine) > 0));
    assert_eq!(count("--builder two du --format json"), both);
    two.ok("--builder two prune --all --force");
    assert_eq!(two.engines.iter().map(own).sum::<usize>(), 0);
}

#[test]
fn platforms_that_the_user_gave_come_first() {
    let two = Two::new();
    two.ok("builder create --name two --node two1 --platform linux/amd64,linux/arm64");
    let told = two.builds(&context(), &["-o", "out"]);
    assert!(told.contains("[linux/amd64 1/1] COPY") && !told.contains("[two"), "one node has both:\n{told}");
    // Nobody has this one: it goes to the first, which may emulate it.
    let mut command = two.kiln("--builder two build --progress=plain --platform linux/riscv64 -o other");
    run_tool(command.arg(context().path()), b"");
    assert_eq!(two.home().read("other/f-riscv64"), "sent to all");
    assert!(two.engines[0].run("--builder default history ls").stdout.len() > 80);
}

#[test]
fn one_archive_holds_what_all_have_built() {
    let two = Two::new();
    two.builds(&context(), &["-t", "app:1", "--metadata-file", "meta", "-o", "type=oci,dest=app.tar"]);
    let folder = Folder::new(&[]);
    run_tool(tool("tar").arg("-xf").arg(two.home().join("app.tar")).arg("-C").arg(folder.path()), b"");
    let read = |layout: &Path| {
        let index: Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).expect("an index"))
                .expect("JSON");
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1), "{index}");
        let root = index["manifests"][0].clone();
        (blob(layout, &root), root)
    };
    let (index, root) = read(folder.path());
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    assert_eq!(root["annotations"]["io.containerd.image.name"], "docker.io/library/app:1");
    for manifest in index["manifests"].as_array().expect("a list") {
        let image = blob(folder.path(), manifest);
        blob(folder.path(), &image["config"]);
    }
    let meta: Value = serde_json::from_str(&two.home().read("meta")).expect("JSON");
    assert_has(
        &meta,
        &json!({"containerimage.digest": root["digest"], "image.name": "docker.io/library/app:1"}),
    );
    let reference = meta["buildx.build.ref"].as_str().expect("a name");
    assert!(reference.starts_with("two/two0/"), "{reference}");
    for platform in ["linux/amd64", "linux/arm64"] {
        assert!(meta[format!("buildx.build.provenance/{platform}")].is_object(), "{meta}");
    }
    // The same as a folder, and to stdout.
    two.builds(&context(), &["-t", "app:1", "-o", "type=oci,tar=false,dest=layout"]);
    assert_eq!(platforms(&read(&two.home().join("layout")).0), ["linux/amd64", "linux/arm64"]);
    // What is said of the images hangs on them, where that is wanted.
    two.builds(
        &context(),
        &["-t", "app:1", "-o", "type=oci,tar=false,dest=hung,attestation-storage=referrers"],
    );
    let hung: Value = serde_json::from_str(&two.home().read("hung/index.json")).expect("JSON");
    let subjects =
        |manifest: &Value| Some(manifest["annotations"].get("io.containerd.manifest.subject")?.clone());
    let subjects: Vec<_> =
        hung["manifests"].as_array().expect("a list").iter().filter_map(subjects).collect();
    let index = blob(&two.home().join("hung"), &hung["manifests"][0]);
    assert_eq!(subjects, [index["manifests"][0]["digest"].clone(), index["manifests"][1]["digest"].clone()]);
    let output = output_of(&mut two.build(&context(), &["-o", "type=oci,dest=-"]), b"");
    assert!(output.status.success());
    assert!(run_tool(tool("tar").arg("-t"), &output.stdout).starts_with(b"blobs/\n"));
    let hidden = two.home().names().into_iter().filter(|name| name.starts_with(".kiln"));
    assert_eq!(hidden.collect::<Vec<_>>(), [""; 0], "temporary folders are gone");
}

/// Two platforms in one archive are the same bytes, whoever built them.
#[test]
fn one_tarball_is_what_one_engine_would_write() {
    let two = Two::new();
    let both = Engine::with_config("[worker.oci]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
    let long = "long-name-".repeat(20);
    let dockerfile = format!(
        "FROM scratch\nARG TARGETARCH\nCOPY --chown=7:8 f /$TARGETARCH/f\nCOPY f /{long}\nCOPY f /z\n"
    );
    let context = Folder::with_dockerfile(&dockerfile, &[("f", "sent to all")]);
    let args = ["--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=1700000000", "-o"];
    let told = two.builds(&context, &[&args[..], &["type=tar,dest=x.tar"]].concat());
    assert!(told.contains("merging tarballs"), "{told}");
    let mut alone = both.kiln(["build", "--platform", "linux/amd64,linux/arm64"]);
    run_tool(alone.args(args).arg("type=tar,dest=x.tar").arg(context.path()), b"");
    let bytes = |home: &Folder| std::fs::read(home.join("x.tar")).expect("written");
    assert!(bytes(two.home()) == bytes(both.home()), "the archives differ");
    let list = run_tool(tool("tar").arg("-tf").arg(two.home().join("x.tar")), b"");
    let list = String::from_utf8_lossy(&list);
    for path in ["linux_amd64/amd64/f", "linux_arm64/arm64/f", "linux_arm64/z"] {
        assert!(list.lines().any(|line| line == path), "{path} is not in\n{list}");
    }
    let output = output_of(&mut two.build(&context, &[&args[..], &["type=tar,dest=-"]].concat()), b"");
    assert!(output.stdout == bytes(two.home()), "stdout has something else");
    let hidden = two.home().names().into_iter().filter(|name| name.starts_with(".kiln"));
    assert_eq!(hidden.collect::<Vec<_>>(), [""; 0], "temporary folders are gone");
}

/// What is told of builds is told of all nodes.
#[test]
fn histories_of_all_nodes_are_one() {
    let mut two = Two::new();
    two.builds(&context(), &["-o", "out"]);
    let list = |words: &str| two.ok(&format!("--builder two history {words}"));
    let refs = list("ls --format {{.FullRef}}");
    let refs: Vec<&str> = refs.lines().collect();
    let id = refs[0].rsplit('/').next().expect("an id").to_owned();
    let mut sorted = refs.clone();
    sorted.sort();
    assert_eq!(sorted, [format!("two/two0/{id}"), format!("two/two1/{id}")]);
    assert_eq!(list(&format!("ls --format {{{{.Ref}}}} --filter ref={id}")), format!("{id}\n{id}\n"));
    // One of them is meant by its whole name, whichever builder is in use.
    let logs = |name: &str, builder: &str| {
        let output = output_of(&mut two.kiln(&format!("--builder {builder} history logs {name}")), b"");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (node, own, other) in [("two0", "f-amd64", "f-arm64"), ("two1", "f-arm64", "f-amd64")] {
        for builder in ["two", "default"] {
            let told = logs(&format!("two/{node}/{id}"), builder);
            assert!(told.contains(own) && !told.contains(other), "{node}: {told}");
        }
    }
    assert!(logs(&format!("two/nope/{id}"), "two").contains("builder two has no node nope"));
    assert!(logs("nope", "two").contains("no record found for ref \"nope\""));
    assert!(list(&format!("inspect two/two1/{id} --format {{{{.Ref}}}}")).contains(&id));
    two.ok(&format!("--builder two history export {id} -o both.dockerbuild"));
    let index =
        run_tool(tool("tar").arg("-xzOf").arg(two.home().join("both.dockerbuild")).arg("index.json"), b"");
    assert!(String::from_utf8_lossy(&index).contains("image.index"), "both parts are exported");

    // A node that is not there does not hide the others.
    let [first, second] = two.engines;
    let socket = address(&second);
    drop(second);
    let mut command = first.kiln("--builder two history ls --format {{.FullRef}}".split(' '));
    let output = output_of(&mut command, b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("two/two0/{id}\n"), "{told}");
    let expected = format!("WARNING: node two1 is left out: failed to connect to the engine at `{socket}`");
    assert!(told.contains(&expected), "{told}");
    two = Two { engines: [first, Engine::new()] };
    run_tool(&mut two.kiln(&format!("--builder two history rm {id}")), b"");
    assert_eq!(two.ok("--builder two history ls --format {{.Ref}}"), "");
}

/// Each node has its own images, and those of all are looked after.
#[test]
fn images_of_all_nodes_are_looked_after() {
    let two = Two::new();
    let plain = |platform: &str, name: &str| {
        let mut command = two.kiln("--builder two build --provenance=false");
        run_tool(command.args(["--platform", platform, "-t", name]).arg(context().path()), b"");
    };
    two.builds(&context(), &["--provenance=false", "-t", "both:1"]);
    plain("linux/arm64", "arm:1");
    let image = |words: &str| two.ok(&format!("--builder two image {words}"));
    let fails = |words: &str, told: &str| {
        let output = output_of(&mut two.kiln(&format!("--builder two image {words}")), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains(told), "{words}: {stderr}");
    };
    let mut rows: Vec<String> =
        image("ls --format {{.Repository}}@{{.Node}}").lines().map(str::to_owned).collect();
    rows.sort();
    assert_eq!(rows, ["arm@two1", "both@two0", "both@two1"]);
    assert!(image("ls").lines().next().is_some_and(|head| head.ends_with("NODE")));
    assert!(!two.ok("--builder default image ls").contains("NODE"));
    assert_eq!(image("inspect arm:1 --format {{.Metadata.Node}}={{.Architecture}}"), "two1=arm64\n");
    assert_eq!(image("inspect both:1 --format {{.Architecture}}"), "amd64\narm64\n");
    assert!(image("save arm:1 -o -").contains("oci-layout"));
    assert!(image("save both:1 --platform linux/arm64 -o -").contains("oci-layout"));
    fails("save both:1 -o x.tar", "nodes two0, two1 have different images of this name");
    fails("save nope:1 -o x.tar", "nope");
    let registry = Registry::open();
    let name = registry.name("arm:1");
    image(&format!("tag arm:1 {name}"));
    image(&format!("push {name}"));
    let raw = run_tool(
        tool("skopeo").args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]),
        b"",
    );
    assert!(String::from_utf8_lossy(&raw).contains("layers"));
    assert_eq!(image("rm both:1"), "Untagged: both:1\n");
    image(&format!("rm arm:1 {name}"));
    assert_eq!(image("ls -q"), "");
    fails("rm arm:1", "arm:1");
}

#[test]
fn one_index_of_all_is_pushed() {
    let (two, registry) = (Two::new(), Registry::open());
    let (one, other) = (registry.name("app:1"), registry.name("app:2"));
    let args = ["-t", &one, "-t", &other, "--push", "--metadata-file", "meta"];
    let told = two.builds(&context(), &args);
    assert!(told.contains(&format!("merging manifest list {one},{other}")), "{told}");
    let meta: Value = serde_json::from_str(&two.home().read("meta")).expect("JSON");
    for name in [&one, &other] {
        let mut skopeo = tool("skopeo");
        skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
        let raw = run_tool(&mut skopeo, b"");
        assert_eq!(Digest::of(&raw).to_string(), meta["containerimage.digest"]);
        let index: Value = serde_json::from_slice(&raw).expect("JSON");
        assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
        // What is said of each image is there too.
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(4));
    }
    let tags = run_tool(
        tool("skopeo").args([
            "list-tags",
            "--tls-verify=false",
            &format!("docker://{}", registry.name("app")),
        ]),
        b"",
    );
    let tags: Value = serde_json::from_slice(&tags).expect("JSON");
    let mut tags: Vec<_> = tags["Tags"].as_array().expect("a list").iter().map(Value::to_string).collect();
    tags.sort();
    assert_eq!(tags, ["\"1\"", "\"2\""], "the parts have no names");
}

#[test]
fn a_context_from_stdin_is_read_by_all() {
    let two = Two::new();
    let archive =
        run_tool(tool("tar").arg("-c").arg("-C").arg(context().path()).args(["Dockerfile", "f"]), b"");
    let mut command = two.kiln("--builder two build --platform linux/amd64,linux/arm64 -o out -");
    run_tool(&mut command, &archive);
    assert_eq!(two.home().read("out/linux_amd64/f-amd64"), "sent to all");
    assert_eq!(two.home().read("out/linux_arm64/f-arm64"), "sent to all");
}

#[test]
fn what_several_nodes_cannot_do_is_told() {
    let two = Two::new();
    let check = |output: &str, told: &str| {
        let output = output_of(&mut two.build(&context(), &["--provenance=false", "-o", output]), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&format!("ERROR: {told}")), "{stderr}");
    };
    check("type=local,dest=x,mode=delete", "mode=delete for multi-node builds currently not supported");
    check(
        "type=docker,dest=x.tar",
        "docker exporter does not support exporting manifest lists, use the oci exporter instead",
    );
    assert!(!two.home().join("x.tar").exists() && !two.home().join("x").exists());
}

/// Reads what a build tells until all the texts have come.
fn wait_for(child: &mut Child, texts: &[&str]) -> BufReader<std::process::ChildStderr> {
    let mut reader = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !texts.iter().all(|text| said.contains(text)) {
        assert_ne!(reader.read_line(&mut said).expect("read"), 0, "{texts:?} never came:\n{said}");
    }
    reader
}

#[test]
fn a_node_that_dies_ends_the_build() {
    let mut two = Two::new();
    let dockerfile = "FROM --platform=linux/amd64 busybox\nARG TARGETARCH\n\
                      RUN echo it st''arts on $TARGETARCH; sleep 86421\n";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    let mut child = two.build(&context, &["-o", "type=oci,dest=app.tar"]).spawn().expect("it starts");
    let mut reader = wait_for(&mut child, &["it starts on amd64", "it starts on arm64"]);
    let pid = two.engines[1].pid().expect("it runs");
    run_tool(tool("kill").args(["-9", &pid.to_string()]), b"");
    let status = child.wait().expect("it ends");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("read");
    assert_eq!(status.code(), Some(1), "{rest}");
    let error = rest.lines().find(|line| line.starts_with("ERROR: ")).expect("an error");
    let node = format!("ERROR: node two1 at {} (linux/arm64): ", address(&two.engines[1]));
    assert!(error.starts_with(&node) && error.len() > node.len() + 10, "{error}");
    // The other one has let go of its step, and nothing was written.
    assert_eq!(two.engines[0].mounts(), [""; 0]);
    assert_eq!(Engine::processes_with("sleep\086421"), [0; 0]);
    assert!(!two.home().join("app.tar").exists());

    // One that is not there at all is told as well.
    let output = output_of(&mut two.build(&context, &["-o", "type=oci,dest=app.tar"]), b"");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("ERROR: node two1: failed to connect to the engine at `unix://"), "{told}");
    // What the dead one left is swept by the next.
    let [first, second] = two.engines;
    two.engines = [first, second.configured("")];
}

/// A folder that is gone in the end, however that comes.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _it_may_be_gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn builders_are_looked_after() {
    // It goes after the engine, which looks for processes that were left.
    let root = Folder::new(&[]);
    let engine = Engine::at(root.path());
    let stores = PathBuf::from(format!("{}-builders", engine.root().display()));
    let _gone = Gone(stores.clone());
    let ok = |words: &str| {
        String::from_utf8_lossy(&run_tool(&mut engine.kiln(words.split(' ')), b"")).into_owned()
    };
    let fails = |words: &str, told: &str| {
        let output = output_of(&mut engine.kiln(words.split(' ')), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {stderr}");
        assert!(stderr.contains(told), "{words}: {stderr}");
    };
    assert_eq!(
        ok("builder create --name own --buildkitd-flags --oci-worker-platform=linux/s390x --use"),
        "own\n"
    );
    let endpoint = format!("kiln://{}", stores.join("own0").display());
    let listed = ok("builder ls");
    let row = |name: &str| {
        let line = listed.lines().find(|line| line.trim_start_matches([' ', '\\', '_']).starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}: {listed}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("NAME/NODE"), "NAME/NODE DRIVER/ENDPOINT STATUS BUILDKIT PLATFORMS");
    assert_eq!(row("own*"), "own* kiln");
    assert_eq!(row("own0"), format!(r"\_ own0 \_ {endpoint} inactive"));
    assert_eq!(row("default"), "default kiln");
    assert!(!stores.exists(), "nothing is started by a look");

    // It is the current one.
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /\n", &[("f", "x")]);
    let told = output_of(engine.kiln(["build", "-o", "out"]).arg(context.path()), b"");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("building with \"own\" instance using kiln driver"), "{told}");
    let inspected = ok("builder inspect");
    for line in
        ["Name:          own", "Status:                running", "Platforms:             linux/s390x, "]
    {
        assert!(inspected.contains(line), "{inspected}");
    }
    let json: Value =
        serde_json::from_str(ok("builder ls --format json").lines().next().expect("a line")).expect("JSON");
    assert_has(&json, &json!({"Name": "own", "Driver": "kiln", "Current": true}));
    let node = json!({"Name": "own0", "Status": "running", "Flags": ["--oci-worker-platform=linux/s390x"]});
    assert_has(&json["Nodes"][0], &node);
    assert_eq!(
        ok("builder ls --format {{.Name}}={{.Status}}"),
        "own=\nown0=running\ndefault=\ndefault=inactive\n"
    );

    ok("builder stop");
    assert!(ok("builder inspect own").contains("stopped"));
    assert!(ok("builder inspect own --bootstrap").contains("running"));
    ok("builder use default");
    assert!(ok("builder inspect").contains("Name:   default"));
    fails("builder use nope", "failed to find instance \"nope\"");
    fails("builder inspect nope", "no builder \"nope\" found");
    fails("builder rm default", "failed to remove one or more builders");
    ok("builder create --name far tcp://127.0.0.1:1");
    ok("builder rm --all-inactive --force");
    assert!(ok("builder ls").contains("own0") && !ok("builder ls").contains("far"));
    ok("builder rm own");
    assert!(!stores.exists(), "its store is gone");
}

/// The plugin has the commands of buildx.
#[test]
fn docker_buildx_looks_after_builders() {
    use std::os::unix::process::CommandExt as _;
    let engine = Engine::new();
    let buildx = |words: &str| {
        let mut command = engine.kiln(words.split(' '));
        String::from_utf8_lossy(&run_tool(command.arg0("docker-buildx"), b"")).into_owned()
    };
    assert_eq!(buildx("buildx create --name far --use tcp://127.0.0.1:1"), "far\n");
    assert!(buildx("buildx ls").contains("far*"));
    assert!(buildx("buildx --builder far inspect --timeout 2s").contains("tcp://127.0.0.1:1"));
    buildx("buildx use default");
    buildx("buildx stop far");
    buildx("buildx rm far");
    assert!(!buildx("buildx ls").contains("far"));
}

/// A program of others that is on PATH, or nothing.
fn foreign(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("left out: `{name}` is not on PATH");
    }
    found
}

/// The store is one: what the one program writes, the other reads, and shows the same.
#[test]
fn buildx_and_kiln_share_their_builders() {
    let Some(buildx) = foreign("buildx") else { return };
    let two = Two::new();
    two.ok("builder create --name two --node two1 --platform linux/arm64,linux/arm/v7");
    let buildx = |words: &str| {
        let mut command = Command::new(&buildx);
        let config = two.home().join(".docker");
        command
            .args(words.split(' '))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", two.home().path());
        command.env("DOCKER_CONFIG", config).env("DOCKER_HOST", "unix:///nope.sock");
        let output = output_of(&mut command, b"");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let kiln = |words: &str| {
        let mut command = two.kiln(words);
        command.env("DOCKER_HOST", "unix:///nope.sock");
        String::from_utf8_lossy(&run_tool(&mut command, b"")).into_owned()
    };
    let rows = |text: String| {
        let is_default = |line: &&str| line.contains("default");
        text.lines()
            .filter(|l| !is_default(l))
            .map(|l| l.trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(buildx("inspect two"), kiln("builder inspect two"));
    buildx("create --name theirs --driver remote tcp://127.0.0.1:1 --driver-opt cacert=/ca.pem");
    buildx("use two");
    assert_eq!(rows(buildx("ls")), rows(kiln("builder ls")));
    assert_eq!(rows(buildx("ls --no-trunc")), rows(kiln("builder ls --no-trunc")));
    let json = |text: String| -> Vec<Value> {
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        all.filter(|b| b["Name"] != "default").collect()
    };
    assert_eq!(json(buildx("ls --format json")), json(kiln("builder ls --format json")));
    assert_eq!(buildx("inspect theirs"), kiln("builder inspect theirs"));
    kiln("builder rm theirs");
    kiln("builder create --name two --leave --node two0");
    assert_eq!(buildx("inspect"), kiln("builder inspect"));
    assert!(!buildx("ls").contains("theirs"));
    buildx("rm two");
    assert!(!kiln("builder ls").contains("two"));
}

/// A stock buildkitd takes part like any other node.
#[test]
fn buildkitd_is_a_node() {
    let Some(buildkitd) = foreign("buildkitd") else { return };
    let engine = Engine::with_config("[worker.oci]\nplatforms = [\"linux/amd64\"]\n");
    let folder = Folder::new(&[]);
    let socket = format!("unix://{}", folder.join("bk.sock").display());
    let mut daemon = Command::new(&buildkitd);
    daemon.args(["--root"]).arg(folder.join("root")).args(["--addr", &socket, "--containerd-worker=false"]);
    daemon.args([
        "--oci-worker=true",
        "--oci-worker-platform",
        "linux/arm64",
        "--oci-worker-snapshotter=native",
    ]);
    daemon.args(["--otel-socket-path"]).arg(folder.join("otel.sock"));
    let (_daemon, ()) = Process::start(&mut daemon, |line| line.contains("running server on").then_some(()));
    let ok = |words: &str| run_tool(&mut engine.kiln(words.split(' ')), b"");
    ok(&format!("builder create --name mixed {}", address(&engine)));
    ok(&format!("builder create --name mixed --append --platform linux/arm64 {socket}"));
    let registry = Registry::open();
    let name = registry.name("mixed:1");
    let mut build = engine.kiln(["--builder", "mixed", "build", "--progress=plain"]);
    build.args(["--platform", "linux/amd64,linux/arm64", "-t", &name, "--push", "--metadata-file", "meta"]);
    let context = context();
    let output = output_of(build.arg(context.path()), b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("[mixed1 linux/arm64 1/1] COPY f /f-arm64"), "{told}");
    let mut skopeo = tool("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let index: Value = serde_json::from_slice(&run_tool(&mut skopeo, b"")).expect("JSON");
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    let mut build = engine.kiln(["--builder", "mixed", "build", "--platform", "linux/amd64,linux/arm64"]);
    build.args(["-o", "type=oci,dest=mixed.tar", "-o", "out"]).arg(context.path());
    run_tool(&mut build, b"");
    assert_eq!(engine.home().read("out/linux_amd64/f-amd64"), "sent to all");
    assert_eq!(engine.home().read("out/linux_arm64/f-arm64"), "sent to all");
    let names = run_tool(tool("tar").arg("-tf").arg(engine.home().join("mixed.tar")), b"");
    assert!(String::from_utf8_lossy(&names).contains("index.json"));
}
