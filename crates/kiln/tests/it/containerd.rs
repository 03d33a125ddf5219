//! `-o type=containerd` into a real containerd.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Engine, Folder, Process, run_tool, tool};

/// A containerd with a store and a socket of its own, without the parts that nobody needs here.
struct Containerd {
    folder: Folder,
    _process: Process,
}

impl Containerd {
    /// Nothing where the machine cannot run one, as inside of most containers.
    fn start() -> Option<Self> {
        let folder = Folder::new(&[]);
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            at("sock"),
        );
        folder.write("config.toml", config);
        let mut containerd = tool("containerd");
        containerd.args(["--config", &at("config.toml")]);
        containerd.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        match Process::try_start(&mut containerd, |line| {
            line.contains("containerd successfully booted").then_some(())
        }) {
            Ok((process, ())) => Some(Containerd { folder, _process: process }),
            Err(said) => {
                println!("skipped: containerd does not run here:\n{said}");
                None
            }
        }
    }

    fn socket(&self) -> String {
        self.folder.join("sock").display().to_string()
    }

    /// What containerd's own command line prints.
    fn ctr(&self, words: &[&str]) -> String {
        let output =
            run_tool(tool("ctr").args(["--address", &self.socket(), "--namespace", "kim"]).args(words), b"");
        String::from_utf8(output).expect("UTF-8")
    }

    fn output(&self) -> String {
        format!("type=containerd,address={},namespace=kim,snapshotter=native", self.socket())
    }
}

#[test]
fn only_blobs_that_containerd_lacks_are_sent() {
    let Some(containerd) = Containerd::start() else { return };
    let engine = Engine::new();
    let build = |last: &str| {
        let context = Folder::with_dockerfile(&format!("FROM busybox\nRUN echo a >/a\nRUN {last}"), &[]);
        let output = containerd.output();
        engine.build(&context).args(["-t", "kim/app:1", "-o", &output, "--provenance=false"]).ok().stderr
    };
    let image = "docker.io/kim/app:1";
    let check = || {
        // All blobs are there, and unpacked.
        let told = containerd.ctr(&["images", "check", "--snapshotter", "native"]);
        let line = told.lines().last().unwrap_or_default().trim_end().to_owned();
        assert!(line.contains(image) && line.contains("complete (4/4)") && line.ends_with("true"), "{told}");
    };
    let blobs = || {
        let list = containerd.ctr(&["content", "ls", "-q"]);
        list.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let told = build("echo b >/b");
    assert!(told.contains("importing to containerd"), "{told}");
    check();
    let before = blobs();
    build("echo c >/b");
    check();
    // A layer, a config, a manifest; the base and the first step are there once.
    let after = blobs();
    assert_eq!(after.difference(&before).count(), 3, "{after:?}");
    let mounted = containerd.folder.join("mounted");
    std::fs::create_dir(&mounted).expect("made");
    let mounted = mounted.display().to_string();
    containerd.ctr(&["images", "mount", "--snapshotter", "native", image, &mounted]);
    let read = std::fs::read_to_string(format!("{mounted}/b"));
    containerd.ctr(&["images", "unmount", &mounted]);
    assert_eq!(read.expect("a file"), "c\n");
}

#[test]
fn what_is_said_of_an_image_goes_along() {
    let Some(containerd) = Containerd::start() else { return };
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN echo a >/a", &[]);
    let output = containerd.output() + ",unpack=false";
    engine.build(&context).args(["-t", "kim/app", "-o", &output, "--provenance=true"]).ok();
    let index = containerd.ctr(&["images", "ls", "-q"]);
    assert_eq!(index.trim(), "docker.io/kim/app:latest");
    let list = containerd.ctr(&["images", "ls"]);
    let digest = list.split_whitespace().find(|word| word.starts_with("sha256:")).expect("a digest");
    let index: Value = serde_json::from_str(&containerd.ctr(&["content", "get", digest])).expect("JSON");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(2), "{index}");
    let statement = index["manifests"][1]["digest"].as_str().expect("a digest");
    let statement: Value =
        serde_json::from_str(&containerd.ctr(&["content", "get", statement])).expect("JSON");
    assert_eq!(statement["layers"][0]["mediaType"], "application/vnd.in-toto+json");
}

#[test]
fn no_containerd_is_told_before_the_build() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nRUN false", &[]);
    let output = "type=containerd,address=/nowhere/sock";
    let told = ["failed to reach containerd at `/nowhere/sock`: No such file or directory"];
    engine.build(&context).args(["-t", "app", "-o", output]).fails(1, &told);
}
