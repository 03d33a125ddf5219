//! `kiln imagetools`, beside the real `buildx` where that is on PATH.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use oci::Digest;
use serde_json::{Value, json};

use crate::harness::{BuildKit, Engine, Folder, Registry, assert_has, output_of, run_tool, tool};

/// A registry with `multi:1`, for two platforms and with provenance, and the plain images `amd:1` and `arm:1`.
struct World {
    engine: Engine,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let world = World { engine: Engine::new(), registry: Registry::open() };
        let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\nENV A=1 B=\"<&>\"\nLABEL l=m\nCMD [\"/f\"]\n";
        let context = Folder::with_dockerfile(dockerfile, &[("f", "data\n")]);
        let push = |name: &str, args: &[&str]| {
            world.engine.build(&context).args(["--push", "-t", &world.name(name)]).args(args).ok();
        };
        push("multi:1", &["--platform", "linux/amd64,linux/arm64"]);
        push("attested:1", &["--platform", "linux/amd64"]);
        push("amd:1", &["--platform", "linux/amd64", "--provenance=false"]);
        push("arm:1", &["--platform", "linux/arm64", "--provenance=false"]);
        world
    }

    fn name(&self, name: &str) -> String {
        self.registry.name(name)
    }

    fn kiln(&self, words: &[&str]) -> Command {
        let mut command = self.engine.kiln(["imagetools"]);
        command.args(words);
        command
    }

    /// The real one, where there is one.
    fn buildx(&self, words: &[&str]) -> Option<Command> {
        let mut command = Command::new(BuildKit::find("buildx")?);
        command.arg("imagetools").args(words).env_clear().current_dir(self.engine.home().path());
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.engine.home().path());
        command.env("DOCKER_HOST", "unix:///nope.sock");
        Some(command)
    }

    /// What Kiln prints. buildx prints the same, but for the order of lines, as it tells maps in no order.
    fn same(&self, words: &[&str]) -> String {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let told = text(run_tool(&mut self.kiln(words), b""));
        if let Some(mut buildx) = self.buildx(words) {
            let expected = text(run_tool(&mut buildx, b""));
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            let sorted = |text: &str| lines(text).into_iter().collect::<BTreeSet<_>>();
            assert_eq!(lines(&told).len(), lines(&expected).len(), "{words:?}\n{told}\n{expected}");
            assert_eq!(sorted(&told), sorted(&expected), "{words:?}");
        }
        told
    }

    /// Both fail, and say this.
    fn fail(&self, words: &[&str], told: &str) {
        for mut command in [Some(self.kiln(words)), self.buildx(words)].into_iter().flatten() {
            let output = output_of(&mut command, b"");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && stderr.contains(told),
                "{command:?}: `{told}` is not in:\n{stderr}"
            );
        }
    }

    fn raw(&self, name: &str) -> Value {
        serde_json::from_str(&self.same(&["inspect", "--raw", &self.name(name)])).expect("JSON")
    }
}

#[test]
fn images_are_inspected() {
    let world = World::new();
    let names = ["multi:1", "attested:1", "amd:1"].map(|name| world.name(name));
    for name in &names {
        world.same(&["inspect", name]);
        let raw = world.same(&["inspect", "--raw", name]);
        let digest = Digest::of(&raw).to_string();
        let told = world.same(&["inspect", "--format", "{{.Manifest.Digest}} {{.Name}}", name]);
        assert_eq!(told, format!("{digest} {name}"));
        for format in [
            "{{.Manifest}}",
            "{{json .Manifest}}",
            "{{json .Image}}",
            "{{json .}}",
            "{{json .SBOM}}",
            "{{json .Provenance}}",
            "{{.Manifest.MediaType}} {{.Manifest.Size}}",
        ] {
            world.same(&["inspect", "--format", format, name]);
        }
    }
    let [multi, attested, amd] = &names;
    world.same(&[
        "inspect",
        "--format",
        "{{range .Manifest.Manifests}}{{.Digest}} {{.Platform.OS}}\n{{end}}",
        multi,
    ]);
    world.same(&["inspect", "--format", "{{json (index .Image \"linux/arm64\").Config}}", multi]);
    world.same(&["inspect", "--format", "{{json .Provenance.SLSA.buildDefinition.buildType}}", attested]);
    let image = world.same(&["inspect", "--format", "{{json .Image}}", amd]);
    assert_has(
        &serde_json::from_str(&image).expect("JSON"),
        &json!({"architecture": "amd64", "os": "linux"}),
    );
    world.same(&[
        "inspect",
        "--format",
        "{{.Image.OS}}/{{.Image.Architecture}} {{index .Image.Config.Labels \"l\"}}",
        amd,
    ]);
    world.fail(&["inspect", "--raw", "--format", "x", amd], "format and raw cannot be used together");
    world.fail(&["inspect", &world.name("none:1")], "not found");
    world.fail(&["inspect", "A b"], "invalid reference format");
}

#[test]
fn images_are_made_of_others() {
    let world = World::new();
    let [amd, arm, multi] = ["amd:1", "arm:1", "multi:1"].map(|name| world.name(name));
    let digest = |name: &str| Digest::of(world.same(&["inspect", "--raw", name])).to_string();
    // What would be made.
    let dry = |words: &[&str]| world.same(&[&["create", "--dry-run"], words].concat());
    dry(&[&amd, &arm]);
    dry(&[&multi]);
    dry(&[&amd]);
    dry(&["--prefer-index=false", &amd]);
    dry(&["-p", "linux/arm64", &multi]);
    dry(&["--platform", "linux/amd64,linux/arm64", &amd, &arm]);
    dry(&["--annotation", "index:a=b", "--annotation", "manifest-descriptor[linux/arm64]:c=d", &amd, &arm]);
    dry(&[&multi, &digest(&multi)]);
    let descriptor = json!({"digest": digest(&arm), "annotations": {"e": "f"}}).to_string();
    world.engine.home().write("descriptor.json", &descriptor);
    dry(&["-t", &arm, "-f", "descriptor.json"]);

    // Both programs make the same, byte for byte.
    let made = world.name("made:1");
    let words = ["create", "--metadata-file", "meta", "--progress=plain", "-t", &made, &amd, &arm];
    let output = output_of(&mut world.kiln(&words), b"");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains(&format!("[internal] pushing {}", world.name("made"))),
        "{told}"
    );
    let raw = world.same(&["inspect", "--raw", &made]);
    let meta = world.engine.home().read("meta");
    assert_has(&serde_json::from_str(&meta).expect("JSON"), &json!({"image.name": world.name("made")}));
    assert!(meta.contains(&Digest::of(&raw).to_string()), "{meta}");
    if let Some(mut buildx) = world.buildx(&words) {
        run_tool(&mut buildx, b"");
        assert_eq!(
            (world.same(&["inspect", "--raw", &made]), world.engine.home().read("meta")),
            (raw.clone(), meta)
        );
    }
    // All of it is there: skopeo takes it.
    let copied = |name: &str| {
        let folder = Folder::new(&[]);
        let to = format!("oci:{}:x", folder.join("layout").display());
        let mut skopeo = tool("skopeo");
        skopeo.args(["copy", "-q", "--all", "--src-tls-verify=false", &format!("docker://{name}"), &to]);
        run_tool(&mut skopeo, b"");
    };
    copied(&made);
    // More is added; an image goes to another repository with what is said of it.
    let platforms = |name: &str| world.raw(name)["manifests"].as_array().map_or(0, Vec::len);
    run_tool(&mut world.kiln(&["create", "-t", &world.name("grown:1"), &amd]), b"");
    run_tool(&mut world.kiln(&["create", "--append", "-t", &world.name("grown:1"), &arm]), b"");
    assert_eq!((platforms("grown:1"), platforms("made:1")), (2, 2));
    let (there, also) = (world.name("there:1"), world.name("there:2"));
    run_tool(&mut world.kiln(&["create", "-t", &there, "-t", &also, &multi]), b"");
    assert_eq!((digest(&there), digest(&also)), (digest(&multi), digest(&multi)));
    copied(&there);
    // A folder is as good as a repository.
    run_tool(&mut world.kiln(&["create", "-t", "oci-layout://folder:v1", &multi]), b"");
    let back = world.name("back:1");
    run_tool(&mut world.kiln(&["create", "-t", &back, "oci-layout://folder:v1"]), b"");
    assert_eq!(digest(&back), digest(&multi));
    copied(&back);
    world.same(&["inspect", "oci-layout://folder:v1"]);

    world.fail(&["create", "-t", &amd], "no sources specified");
    world.fail(&["create", &amd], "can't push with no tags specified, please set --tag or --dry-run");
    world.fail(
        &["create", "--dry-run", "--annotation", "a=b", &amd, &arm],
        "annotations are not supported yet",
    );
    world.fail(&["create", "--dry-run", "-p", "linux/s390x", &multi], "none of the manifests match");
    world.fail(&["create", "--dry-run", &amd, &arm, &digest(&amd)], "multiple repositories specified");
}

#[test]
fn the_plugin_has_the_same() {
    let world = World::new();
    let mut plugin = world.engine.kiln(["buildx", "imagetools", "inspect", "--raw", &world.name("amd:1")]);
    assert_eq!(
        run_tool(plugin.arg0("docker-buildx"), b""),
        world.same(&["inspect", "--raw", &world.name("amd:1")]).into_bytes()
    );
}

/// What hangs on an image of a folder is listed in the folder's index, where buildx looks for it too.
#[test]
fn attestations_hang_on_images_of_folders() {
    const ATTESTATION: &str = "application/vnd.docker.attestation.manifest.v1+json";
    let world = World::new();
    let context = Folder::with_dockerfile("FROM scratch\nCOPY Dockerfile /", &[]);
    let output = "type=oci,tar=false,dest=folder,attestation-storage=referrers";
    world.engine.build(&context).args(["--provenance=mode=min", "-t", "app:1", "-o", output]).ok();
    let listed = |folder: &str| -> Vec<Value> {
        let index = world.engine.home().read(&format!("{folder}/index.json"));
        let index: Value = serde_json::from_str(&index).expect("JSON");
        index["manifests"].as_array().expect("a list").clone()
    };
    let check = |folder: &str| {
        let [image, said] = &listed(folder)[..] else { panic!("{:?}", listed(folder)) };
        assert_eq!(image["annotations"]["org.opencontainers.image.ref.name"], "1");
        assert_eq!(said["artifactType"], ATTESTATION);
        assert_eq!(said["annotations"]["io.containerd.manifest.subject"], image["digest"]);
        let blob = said["digest"].as_str().expect("a digest").replace(':', "/");
        assert!(world.engine.home().join(&format!("{folder}/blobs/{blob}")).is_file());
    };
    check("folder");
    let kind = "{{json .Provenance.SLSA.buildDefinition.buildType}}";
    let inspect = |name: &str| {
        let told = run_tool(&mut world.kiln(&["inspect", "--format", kind, name]), b"");
        assert!(String::from_utf8_lossy(&told).contains("slsa-definitions"), "{name}: {told:?}");
    };
    inspect("oci-layout://folder:1");
    let made = run_tool(&mut world.kiln(&["create", "--dry-run", "oci-layout://folder:1"]), b"");
    let made: Value = serde_json::from_slice(&made).expect("JSON");
    assert_eq!(made["manifests"][1]["digest"], listed("folder")[1]["digest"]);
    // From there it comes along, into a registry and into another folder.
    let name = world.name("hanging:1");
    let copy = |from: &str, to: &str| {
        run_tool(&mut world.kiln(&["create", "--prefer-index=false", "-t", to, from]), b"");
    };
    copy("oci-layout://folder:1", &name);
    inspect(&name);
    copy(&name, "oci-layout://other:1");
    inspect("oci-layout://other:1");
}
