//! Images in the hands of other programs: pulled, looked at and run.

use serde_json::{Value, json};

use crate::docker::Docker;
use crate::harness::{Engine, Folder, Registry, assert_has, run_tool, tool};
use crate::registries::fill;

const DOCKERFILE: &str = "FROM base\nRUN mkdir /d && echo hi >/d/f && ln /d/f /d/g && ln -s f /d/h && chown 7:8 /d/f\n\
                          ENV WHO=kim\nWORKDIR /d\nCMD [\"sh\", \"-c\", \"echo $WHO $(cat h) $(pwd) $(stat -c %u:%h g)\"]\n\
                          LABEL a=b\n";
/// What the image prints.
const SAYS: &str = "kim hi /d 7:2";

/// A registry with the image, packed as `attrs` say, and its name there.
fn pushed(attrs: &str) -> (Registry, String) {
    let (engine, registry) = (Engine::new(), Registry::open());
    fill(&registry, "base", &[]);
    let context = Folder::with_dockerfile(&DOCKERFILE.replace("base", &registry.name("base")), &[]);
    let name = registry.name("app:1");
    engine.build(&context).args(["-o", &format!("type=registry,name={name},{attrs}")]).ok();
    (registry, name)
}

fn json_of(output: &[u8]) -> Value {
    serde_json::from_slice(output).expect("JSON")
}

#[test]
fn skopeo_and_buildah() {
    for attrs in ["compression=gzip", "compression=zstd,force-compression=true", "compression=estargz"] {
        let (_registry, name) = pushed(attrs);
        let reference = format!("docker://{name}");
        let seen = run_tool(tool("skopeo").args(["inspect", "--tls-verify=false", &reference]), b"");
        assert_has(&json_of(&seen), &json!({"Labels": {"a": "b"}, "Os": "linux"}));
        let store = Folder::new(&[]);
        let buildah = |words: &[&str]| {
            let mut buildah = tool("buildah");
            buildah.args(["--storage-driver", "vfs", "--root"]).arg(store.join("root"));
            buildah.arg("--runroot").arg(store.join("run"));
            String::from_utf8(run_tool(buildah.args(words), b"")).expect("UTF-8").trim().to_owned()
        };
        let container = buildah(&["from", "--tls-verify=false", &reference]);
        let seen = buildah(&["inspect", "--format", "{{.OCIv1.Config.Env}}", &container]);
        assert!(seen.contains("WHO=kim"), "{seen}");
        let script = "echo $WHO $(cat h) $(pwd) $(stat -c %u:%h g)";
        let said = buildah(&["run", "--isolation", "chroot", &container, "--", "sh", "-c", script]);
        assert_eq!(said, SAYS, "{attrs}");
        buildah(&["rm", &container]);
    }
}

#[test]
fn docker() {
    let Some(docker) = Docker::start() else { return };
    let (_registry, name) = pushed("compression=gzip");
    docker.command(&["pull", "--quiet", &name]);
    assert_has(&docker.get(&format!("/images/{name}/json"))["Config"], &json!({"Labels": {"a": "b"}}));
    assert_eq!(docker.command(&["run", "--rm", "--network=none", &name]).trim(), SAYS);
    // And one that Docker writes is a base image.
    let (engine, out) = (Engine::new(), Folder::new(&[]));
    let archive = out.join("saved.tar");
    docker.command(&["save", "--output", &archive.display().to_string(), &name]);
    run_tool(
        tool("skopeo").args([
            "copy",
            "--quiet",
            &format!("docker-archive:{}", archive.display()),
            &format!("oci:{}:latest", out.join("layout").display()),
        ]),
        b"",
    );
    let context = Folder::with_dockerfile("FROM saved\nRUN [ \"$(cat /d/h)\" = hi ]", &[]);
    let base = format!("saved=oci-layout://{}", out.join("layout").display());
    engine.build(&context).args(["--build-context", &base]).ok();
}

#[test]
fn runc() {
    let (engine, out) = (Engine::new(), Folder::new(&[]));
    let context = Folder::with_dockerfile(&DOCKERFILE.replace("base", "busybox"), &[]);
    let output = format!("type=oci,tar=false,dest={}", out.join("image").display());
    engine.build(&context).args(["-o", &output]).ok();
    let bundle = out.join("bundle");
    let image = format!("{}:latest", out.join("image").display());
    run_tool(tool("umoci").args(["unpack", "--image", &image]).arg(&bundle), b"");
    let path = bundle.join("config.json");
    let mut config = json_of(&std::fs::read(&path).expect("there"));
    config["process"]["terminal"] = false.into();
    // No network, and no cgroups: the machine of the test need not let us make any.
    config["linux"]["resources"] = json!({});
    std::fs::write(&path, config.to_string()).expect("written");
    let id = format!("kiln-test-{}", std::process::id());
    let mut runc = tool("runc");
    runc.arg("--root").arg(out.join("state")).args(["run", "--bundle"]).arg(&bundle).arg(&id);
    let said = String::from_utf8(run_tool(&mut runc, b"")).expect("UTF-8");
    assert_eq!(said.trim(), SAYS);
}
