//! Git repositories that a real ssh server has: contexts, `ADD`, submodules and pinned host keys.

use std::path::Path;

use crate::harness::{Build, Engine, Folder, Net, Process, list_tar, run_tool, tool};

/// An ssh server with repositories, at `git@127.0.0.1:` in a network of its own.
struct Host {
    net: Net,
    _server: Process,
    /// Its keys, and the repositories `top.git` and `sub.git`.
    home: Folder,
}

/// There is no `sshd` on every machine.
fn host() -> Option<Host> {
    if !Path::new("/usr/sbin/sshd").exists() {
        println!("skipped: there is no sshd; `./setup test` installs it");
        return None;
    }
    Some(Host::start())
}

impl Host {
    fn start() -> Self {
        let home = Folder::new(&[]);
        key(&home, "host_key");
        home.write("authorized_keys", key(&home, "user_key"));
        let path = home.path().display();
        home.write(
            "passwd",
            format!("root:x:0:0::/root:/bin/sh\nsshd:x:74:74::/:/bin/false\ngit:x:0:0::{path}:/bin/sh\n"),
        );
        home.write("shadow", "root:*:1:::::::\ngit:*:1:::::::\n");
        home.write(
            "sshd_config",
            format!(
                "ListenAddress 127.0.0.1:22\nHostKey {path}/host_key\nAuthorizedKeysFile {path}/authorized_keys\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n"
            ),
        );
        repositories(&home);
        let net = Net::new();
        // Users and folders of its own: those of the machine stay as they are.
        let script = "cd \"$0\" && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd \
                      && mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow \
                      && exec /usr/sbin/sshd -D -e -f \"$0/sshd_config\"";
        let mut sshd = net.tool("unshare");
        sshd.args(["--mount", "sh", "-c", script]).arg(home.path());
        let (server, ()) =
            Process::start(&mut sshd, |line| line.contains("Server listening on").then_some(()));
        Host { net, _server: server, home }
    }

    /// An engine that reaches it.
    fn engine(&self) -> Engine {
        let wrapper = self.net.wrapper();
        Engine::new().wrapped(&wrapper.each_ref().map(String::as_str))
    }

    /// Gives a build the user's key.
    fn login<'a>(&self, build: Build<'a>) -> Build<'a> {
        build.args(["--ssh", &format!("default={}", self.home.join("user_key").display())])
    }
}

/// A key without passphrase; gives its public half.
fn key(home: &Folder, name: &str) -> String {
    run_tool(tool("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(home.join(name)), b"");
    home.read(&format!("{name}.pub"))
}

fn git(dir: &Path, args: &[&str]) {
    let mut git = tool("git");
    git.args(["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "protocol.file.allow=always"]);
    run_tool(git.args(args).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null"), b"");
}

/// `top.git` has `sub.git` as its submodule.
fn repositories(home: &Folder) {
    let dockerfile = "FROM scratch\nCOPY . /\n";
    for (name, files) in
        [("sub", &[("file", "below")][..]), ("top", &[("file", "top"), ("Dockerfile", dockerfile)])]
    {
        files.iter().for_each(|(file, text)| home.write(&format!("{name}/{file}"), text));
        let dir = home.join(name);
        git(&dir, &["init", "-q", "-b", "main"]);
        if name == "top" {
            git(&dir, &["submodule", "-q", "add", "--", &home.join("sub").display().to_string(), "sub"]);
            git(&dir, &["config", "-f", ".gitmodules", "submodule.sub.url", "ssh://git@127.0.0.1/~/sub.git"]);
        }
        git(&dir, &["add", "."]);
        git(&dir, &["commit", "-q", "-m", "all"]);
        git(home.path(), &["clone", "-q", "--bare", name, &format!("{name}.git")]);
    }
}

const REMOTES: [&str; 2] = ["git@127.0.0.1:top.git", "ssh://git@127.0.0.1/~/top.git"];

#[test]
fn repositories_come_over_ssh() {
    let Some(host) = host() else { return };
    let known_hosts = Path::new("/root/.ssh/known_hosts");
    let before = std::fs::read(known_hosts).ok();
    let engine = host.engine();
    for remote in REMOTES {
        let context = Folder::with_dockerfile(&format!("FROM scratch\nADD {remote}#main /"), &[]);
        for build in [engine.build(&context), engine.build_from(remote)] {
            let told = list_tar(&host.login(build).tar());
            assert!(told.contains(&"644 0:0 file 'top'".into()), "{remote}: {told:?}");
            assert!(told.contains(&"644 0:0 sub/file 'below'".into()), "{remote}: {told:?}");
        }
    }
    assert_eq!(std::fs::read(known_hosts).ok(), before, "the engine's user learned of a host");
}

#[test]
fn a_host_that_is_another_than_said_is_refused() {
    let Some(host) = host() else { return };
    let engine = host.engine();
    let others = key(&host.home, "other_key");
    let build = |key: &str| {
        let key: Vec<&str> = key.split(' ').take(2).collect();
        let hosts = format!("127.0.0.1 {}\\n", key.join(" "));
        host.home.write(
            "policy.json",
            format!(
                r#"{{"version":1,"rules":[{{"action":"CONVERT","selector":{{"identifier":"git://127.0.0.1/*"}},
                     "updates":{{"attrs":{{"git.knownsshhosts":"{hosts}"}}}}}}]}}"#
            ),
        );
        let policy = host.home.join("policy.json").display().to_string();
        host.login(engine.build_from(REMOTES[0])).env("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", &policy)
    };
    build(&others).fails(1, &["Host key verification failed"]);
    build(&host.home.read("host_key.pub")).ok();
}

#[test]
fn without_a_key_nobody_is_let_in() {
    let Some(host) = host() else { return };
    let engine = host.engine();
    let context = Folder::with_dockerfile(&format!("FROM scratch\nADD {} /", REMOTES[0]), &[]);
    engine.build(&context).fails(1, &["no SSH key \"default\" forwarded from the client", "--ssh default"]);
    key(&host.home, "strange_key");
    let strange = format!("default={}", host.home.join("strange_key").display());
    engine
        .build(&context)
        .args(["--ssh", &strange])
        .fails(1, &["Permission denied (publickey)", "Dockerfile:2"]);
}
