//! `--load` into a real Docker engine.

use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Engine, Folder, Process, assert_has, run_tool, tool};

/// A Docker engine with a store and a socket of its own.
pub(crate) struct Docker {
    folder: Folder,
    process: Process,
}

impl Docker {
    /// Nothing where the machine cannot run one, as inside of most containers.
    pub(crate) fn start() -> Option<Self> {
        let folder = Folder::new(&[("daemon.json", "{}")]);
        let at = |name: &str| folder.join(name).display().to_string();
        let mut dockerd = tool("dockerd");
        dockerd.args([
            "--config-file",
            &at("daemon.json"),
            "--data-root",
            &at("data"),
            "--exec-root",
            &at("exec"),
        ]);
        dockerd.args(["--pidfile", &at("pid"), "--host", &format!("unix://{}", at("docker.sock"))]);
        dockerd.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]);
        dockerd.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        match Process::try_start(&mut dockerd, |line| line.contains("API listen on").then_some(())) {
            Ok((process, ())) => Some(Docker { folder, process }),
            Err(said) => {
                println!("skipped: dockerd does not run here:\n{said}");
                None
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What the engine's API answers.
    pub(crate) fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.call("GET", path, b"")).expect("JSON")
    }

    /// Calls the engine's API.
    pub(crate) fn call(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let script = "import http.client,socket,sys\nc=http.client.HTTPConnection('docker')\n\
                      c.sock=socket.socket(socket.AF_UNIX)\nc.sock.connect(sys.argv[1])\n\
                      c.request(sys.argv[2],sys.argv[3],body=sys.stdin.buffer.read() or None)\n\
                      sys.stdout.buffer.write(c.getresponse().read())";
        let mut python = tool("python3");
        run_tool(python.args(["-c", script]).arg(self.socket()).args([method, path]), body)
    }
}

impl Docker {
    /// What Docker's own command line prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let output = run_tool(tool("docker").arg("--host").arg(self.host()).args(words), b"");
        String::from_utf8(output).expect("UTF-8")
    }

    /// What a command prints in the image `app`. There are no networks for containers here.
    fn run(&self, command: &[&str]) -> String {
        self.command(&[&["run", "--rm", "--network=none", "app"], command].concat())
    }
}

impl Drop for Docker {
    /// It takes its containerd along only when it is asked to end.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        self.process.wait();
    }
}

#[test]
fn images_are_loaded() {
    let Some(docker) = Docker::start() else { return };
    assert!(docker.socket().metadata().expect("there").file_type().is_socket());
    let engine = Engine::new();
    let dockerfile = "FROM busybox\nRUN mkdir /d && echo hi > /d/f\nENV A=1\nCMD [\"cat\", \"/d/f\"]";
    let context = Folder::with_dockerfile(dockerfile, &[]);
    let iid = engine.home().join("iid");
    let args = ["--load", "-t", "kim/app:1.0", "--iidfile", iid.to_str().expect("UTF-8")];
    let build = || engine.build(&context).env("DOCKER_HOST", &docker.host()).args(args);
    let built = build().ok();
    assert!(built.stderr.contains("importing to docker"), "{}", built.stderr);
    let loaded = docker.get("/images/kim/app:1.0/json");
    assert_has(
        &loaded,
        &json!({"Id": engine.home().read("iid"), "RepoTags": ["kim/app:1.0"], "Os": "linux"}),
    );
    assert_has(&loaded["Config"], &json!({"Cmd": ["cat", "/d/f"]}));
    assert_eq!(loaded["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    // Again, and by the exporter's own name.
    assert_has_text(&build().ok().stderr, "importing to docker: it has the image");
    let output = ["-o", "type=docker", "-t", "kim/other"];
    let other = engine.build(&context).env("DOCKER_HOST", &docker.host()).args(output).ok();
    assert_has_text(&other.stderr, "importing to docker: it has the image");
    assert_eq!(docker.get("/images/kim/other:latest/json")["Id"], loaded["Id"]);
}

#[test]
fn only_layers_that_docker_lacks_are_sent() {
    let Some(docker) = Docker::start() else { return };
    let engine = Engine::new();
    let build = |last: &str| {
        // The same file twice is the same blob in two places.
        let dockerfile = format!("FROM busybox\nCOPY one /x/\nRUN echo a >/a\nCOPY one /x/\nRUN {last}");
        let context = Folder::with_dockerfile(&dockerfile, &[("one", "1")]);
        engine.build(&context).env("DOCKER_HOST", &docker.host()).args(["--load", "-t", "app"]).ok().stderr
    };
    let files = |expect: &str| {
        let image = docker.get("/images/app:latest/json");
        let run = docker.run(&["sh", "-c", "cat /a /x/one /b"]);
        assert_eq!((run.trim(), image["RootFS"]["Layers"].as_array().map(Vec::len)), (expect, Some(5)));
    };
    assert_has_text(&build("echo b >/b"), "importing to docker\n");
    files("a\n1b");
    assert_has_text(&build("echo c >/b"), "importing to docker, which has 4 of 5 layers\n");
    files("a\n1c");
    // Without its name, and after the name has gone.
    docker.command(&["tag", "app", "kept"]);
    docker.command(&["rmi", "app"]);
    assert_has_text(&build("echo d >/b"), "importing to docker, which has 4 of 5 layers\n");
    files("a\n1d");
}

fn assert_has_text(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in {text}");
}

#[test]
fn without_docker_the_image_stays_in_the_store() {
    let engine = Engine::new();
    let context = Folder::with_dockerfile("FROM busybox\nCMD [\"echo\", \"it runs\"]", &[]);
    let built = engine.build(&context).args(["--load", "-t", "app"]).ok();
    assert!(built.stderr.contains("NOTE: Docker does not answer at unix://"), "{}", built.stderr);
}
