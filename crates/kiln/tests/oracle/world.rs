//! What cases are built from and by.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::{BuildKit, Engine, Folder, Layout, Process, busybox_layer, run_tool, tool};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Stand-ins for tools of languages: each tells what it was asked in a file, and writes the file that `-o` names.
const STAND_IN: &str = r#"#!/bin/sh
echo "${0##*/} $*" >> /asked
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then mkdir -p "$(dirname "$2")"; echo built > "$2"; chmod 755 "$2"; fi
  shift
done
"#;
const TOOLS: &[&str] = &[
    "apk", "apt-get", "bundle", "cargo", "composer", "dotnet", "go", "gradle", "mvn", "node", "npm", "pip",
    "pnpm", "poetry", "python", "ruby", "rustup", "yarn",
];

/// A web server with base images and fixtures.
pub struct World {
    _server: Process,
    folder: Folder,
    /// Address and port of the server.
    pub host: String,
    /// The diff ids of the layers of base images.
    bases: Vec<String>,
}

impl World {
    pub fn start() -> Self {
        let folder = Folder::new(&[("images/", "")]);
        let layers = [busybox_layer(), tools()];
        let layers = [layers[0].as_slice(), &layers[1]];
        for (name, config) in images() {
            let mut copy = tool("cp");
            let layout = Layout::new(if name == "empty" { &[] } else { &layers }, config);
            run_tool(copy.arg("-r").arg(layout.path()).arg(folder.join("images").join(name)), b"");
        }
        script("fixtures.py", &[&folder.join("files").display().to_string()]);
        let mut python = tool("python3");
        python.arg("-u").arg(path_of("server.py")).arg(folder.path());
        let (server, port) = Process::start(&mut python, |line| Some(line.strip_prefix("port ")?.to_owned()));
        let bases = layers.iter().map(|l| oci::Digest::of(l).to_string()).collect();
        World { _server: server, folder, host: format!("127.0.0.1:{port}"), bases }
    }

    pub fn fixtures(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Tells what is in the OCI archives of a folder, in text files beside them.
    pub fn describe(&self, archives: &Folder) {
        let folder = archives.path().display().to_string();
        let bases = self.bases.iter().map(String::as_str);
        script("describe.py", &[folder.as_str()].into_iter().chain(bases).collect::<Vec<_>>());
    }

    /// The configuration of an engine: Docker Hub is the server.
    pub fn config(&self) -> String {
        let host = &self.host;
        format!("[registry.\"docker.io\"]\nmirrors = [\"{host}\"]\n[registry.\"{host}\"]\nhttp = true\n")
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
    run_tool(tar.arg(root.path()).args(["usr/local"]), b"")
}

fn path_of(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script)
}

fn script(name: &str, args: &[&str]) {
    run_tool(tool("python3").arg(path_of(name)).args(args), b"");
}

/// An engine that builds cases. The client is the same for both.
pub enum Side {
    Kiln(Box<Engine>),
    BuildKit { engine: BuildKit, client: Box<Engine> },
}

impl Side {
    pub fn kiln(world: &World) -> Self {
        Side::Kiln(Box::new(Engine::with_config(&world.config())))
    }

    /// BuildKit's engine, where the machine has it.
    pub fn buildkit(world: &World) -> Option<Self> {
        let engine = BuildKit::start(&world.config())?;
        Some(Side::BuildKit { engine, client: Box::new(Engine::new()) })
    }

    pub fn buildctl(&self, args: &[String], folder: &Folder) -> Command {
        let (client, address) = match self {
            Side::Kiln(engine) => (engine, format!("unix://{}", engine.root().join("engine.sock").display())),
            Side::BuildKit { engine, client } => (client, engine.address()),
        };
        let mut command = client.kiln(args);
        command.arg0("buildctl").env("BUILDKIT_HOST", address).current_dir(folder.path());
        command
    }
}
