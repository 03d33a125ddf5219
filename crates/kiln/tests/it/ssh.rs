//! `--ssh`: steps reach the agents of whoever builds.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::harness::{Build, Engine, Folder, run_tool, tool};

/// A context with OpenSSH's `ssh-add` and all that it needs, and a step that runs it.
fn context(step: &str) -> Folder {
    let context = Folder::new(&[]);
    let add =
        String::from_utf8(run_tool(tool("sh").args(["-c", "command -v ssh-add"]), b"")).expect("a path");
    let linked = String::from_utf8(run_tool(tool("ldd").arg(add.trim()), b"")).expect("a path");
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([add.trim(), "/bin/busybox"]) {
        let found = [file.to_owned(), format!("/usr{file}")];
        let bytes = found.iter().find_map(|path| std::fs::read(path).ok()).expect(file);
        context.write(&format!("root{file}"), bytes);
    }
    // It asks who it is.
    context.write("root/etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
    let dockerfile = format!(
        "FROM scratch AS run\nCOPY --chmod=755 root /\nRUN [\"/bin/busybox\", \"mkdir\", \"/out\"]\n{step}\nFROM scratch\nCOPY --from=run /out /"
    );
    context.write("Dockerfile", dockerfile);
    context
}

/// A key without passphrase, and its public half.
fn key(folder: &Folder, name: &str) -> String {
    let path = folder.join(name);
    run_tool(tool("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path), b"");
    folder.read(&format!("{name}.pub")).trim().to_owned()
}

/// An agent of the user's own.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path) -> Self {
        let mut agent = tool("ssh-agent");
        agent.arg("-D").arg("-a").arg(socket).stdout(Stdio::null());
        let agent = Agent(agent.spawn().expect("ssh-agent runs"));
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LIST: &str = "ssh-add -L > /out/keys";

fn step(mount: &str, command: &str) -> String {
    format!("RUN --mount=type=ssh{mount} [\"/bin/busybox\", \"sh\", \"-c\", \"{command}\"]")
}

#[test]
fn steps_use_keys_and_agents() {
    let engine = Engine::new();
    let keys = Folder::new(&[]);
    let (one, two) = (key(&keys, "one"), key(&keys, "two"));
    let path = |name: &str| keys.join(name).display().to_string();
    let check = |build: Build<'_>, keys: &[&str]| {
        let out = Folder::new(&[]);
        build.args(["-o", &out.path().display().to_string()]).ok();
        assert_eq!(out.read("keys").lines().collect::<Vec<_>>(), keys);
    };

    let by_key = context(&step(",required", LIST));
    let both = format!("default={},{}", path("one"), path("two"));
    check(engine.build(&by_key).args(["--ssh", &both]), &[&one, &two]);

    let socket = keys.join("agent");
    let _agent = Agent::start(&socket);
    run_tool(tool("ssh-add").arg("-q").arg(keys.join("two")).env("SSH_AUTH_SOCK", &socket), b"");
    let by_agent = context(&step(",id=deploy", LIST));
    check(engine.build(&by_agent).args(["--ssh", &format!("deploy={}", socket.display())]), &[&two]);

    // A step may use keys, and not take them away.
    let greedy = context(&step("", &format!("ssh-add -D; {LIST}")));
    check(
        engine.build(&greedy).env("SSH_AUTH_SOCK", &socket.display().to_string()).args(["--ssh", "default"]),
        &[&two],
    );
}

#[test]
fn what_cannot_be_forwarded_is_told() {
    let engine = Engine::new();
    let needs = context(&step(",required", LIST));
    engine
        .build(&needs)
        .fails(1, &["no SSH key \"default\" forwarded from the client", "--ssh default", "Dockerfile:4"]);
    engine
        .build(&needs)
        .env("SSH_AUTH_SOCK", "")
        .args(["--ssh", "default"])
        .fails(1, &["invalid empty ssh agent socket", "ssh-add"]);
    engine.build(&needs).args(["--ssh", "default=/nowhere"]).fails(1, &["/nowhere"]);
    let text = Folder::new(&[("text", "no key")]);
    engine
        .build(&needs)
        .args(["--ssh", &format!("default={}", text.join("text").display())])
        .fails(1, &["failed to read the ssh key"]);
}
