//! What cases are built from and by.

use std::any::Any;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{BuildKit, Engine, Folder, Image, Layout, Process, busybox_layer, run_tool, tool};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Stand-ins for tools of languages: each tells what it was asked in a file, and writes the file that `-o` names.
const STAND_IN: &str = r#"#!/bin/sh
echo "${0##*/} $*" >> /asked
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then mkdir -p "$(dirname "$2")"; echo built > "$2"; chmod 755 "$2"; fi
  shift
done
"#;
const TOOLS: &[&str] =
    &["apk", "apt-get", "bundle", "cargo", "composer", "dotnet", "go", "mvn", "npm", "pip", "ruby"];

/// A web server with base images and fixtures.
pub struct World {
    _server: Process,
    _images: [Layout; 6],
    folder: Folder,
    /// Address and port of the server.
    host: String,
    /// The diff ids of the layers of base images.
    bases: Vec<String>,
}

impl World {
    pub fn start() -> Self {
        let folder = Folder::new(&[("images/", ""), ("files/", "")]);
        let layers = [busybox_layer(), tools()];
        let images = images().map(|(name, config)| {
            let layers: &[&[u8]] = if name == "empty" { &[] } else { &[&layers[0], &layers[1]] };
            let layout = Layout::new(layers, config);
            symlink(layout.path(), folder.join("images").join(name)).expect("linked");
            layout
        });
        run_tool(script("fixtures.py").arg(folder.join("files")), b"");
        let mut server = script("server.py");
        server.arg(folder.path());
        let (server, port) = Process::start(&mut server, |line| Some(line.strip_prefix("port ")?.to_owned()));
        let bases = layers.iter().map(|l| oci::Digest::of(l).to_string()).collect();
        World { _server: server, _images: images, folder, host: format!("127.0.0.1:{port}"), bases }
    }

    pub fn fixtures(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Puts into a case what is another each time: the server as `@HOST@`, the folder of fixtures as `@FILES@`, and of the
    /// base image `full` the layout as `@FULL@` and the digest as `@DIGEST@`.
    pub fn fill_in(&self, case: &str) -> String {
        let full = self.folder.join("images/full");
        let digest = Image::read(&full).digest().to_owned();
        let (files, full) = (self.fixtures().display().to_string(), full.display().to_string());
        let case = case.replace("@HOST@", &self.host).replace("@FILES@", &files);
        case.replace("@FULL@", &full).replace("@DIGEST@", &digest)
    }

    /// What came of a case, without that.
    pub fn without_host(&self, told: &str) -> String {
        told.replace(&self.host, "HOST")
    }

    /// Tells what is in the OCI archives of a folder, in text files beside them.
    pub fn describe(&self, archives: &Folder) {
        run_tool(script("describe.py").arg(archives.path()).args(&self.bases), b"");
    }

    /// The configuration of an engine: Docker Hub is the server.
    fn config(&self) -> String {
        let host = &self.host;
        format!(
            "insecure-entitlements = [\"network.host\", \"security.insecure\"]\n\
             [registry.\"docker.io\"]\nmirrors = [\"{host}\"]\n[registry.\"{host}\"]\nhttp = true\n"
        )
    }
}

/// Base images by name; every other name is `busybox`.
fn images() -> [(&'static str, serde_json::Value); 6] {
    let full = json!({
        "Env": [PATH, "FROM_BASE=yes", "EMPTY="], "User": "kim", "WorkingDir": "/home/kim",
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo base"], "Labels": {"base": "label", "other": "x"},
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGQUIT", "Shell": ["/bin/ash", "-ec"],
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64, "Retries": 2},
    });
    [
        ("busybox", json!({"Env": [PATH], "Cmd": ["sh"]})),
        ("full", full),
        ("bare", json!(null)),
        ("empty", json!({"Env": ["A=1"], "Labels": {"only": "config"}})),
        (
            "trigger",
            json!({"Env": [PATH], "OnBuild": ["COPY a.txt /trigger/", "RUN echo $0 > /trigger/ran", "ENV TRIGGERED=yes"]}),
        ),
        (
            "trigger-stage",
            json!({"Env": [PATH], "OnBuild": ["COPY --from=busybox /etc/group /from-image", "USER kim"]}),
        ),
    ]
}

fn tools() -> Vec<u8> {
    let root = Folder::new(&[("+x usr/local/bin/stand-in", STAND_IN)]);
    for name in TOOLS {
        root.add(&format!("usr/local/bin/{name} -> stand-in"), "");
    }
    let mut tar = tool("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@1684449257", "-c", "-C"]);
    run_tool(tar.arg(root.path()).arg("usr"), b"")
}

/// A Python script of this folder.
fn script(name: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut python = tool("python3");
    python.arg("-uB").arg(tests.join("oracle").join(name)).env("PYTHONPATH", tests.join("it/harness"));
    python
}

/// An engine that builds cases. The client is the same for both.
pub struct Side {
    client: Engine,
    address: String,
    _engine: Box<dyn Any + Sync>,
}

impl Side {
    pub fn kiln(world: &World) -> Self {
        // With what umask it was started is not to be seen in what it builds.
        let engine = Engine::new().wrapped(&["sh", "-c", r#"umask 077 && exec "$@""#, "sh"]);
        let engine = engine.configured(&world.config());
        let address = format!("unix://{}", engine.root().join("engine.sock").display());
        Side { client: Engine::new(), address, _engine: Box::new(engine) }
    }

    /// BuildKit's engine, where the machine has it.
    pub fn buildkit(world: &World) -> Option<Self> {
        let engine = BuildKit::start(&world.config())?;
        Some(Side { client: Engine::new(), address: engine.address(), _engine: Box::new(engine) })
    }

    pub fn buildctl(&self, args: &[String], folder: &Folder) -> Command {
        let mut command = self.client.kiln(args);
        command.arg0("buildctl").env("BUILDKIT_HOST", &self.address).current_dir(folder.path());
        command
    }
}
