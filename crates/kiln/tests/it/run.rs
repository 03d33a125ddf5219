//! Images of the store: `kiln run` and `kiln images`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::{Engine, Folder, run_tool, tool};

const DOCKERFILE: &str = r#"FROM busybox
ENV A=1 B=2
USER kim
WORKDIR /srv
ENTRYPOINT ["sh", "-c"]
CMD ["echo $A $B; id -u; pwd"]
"#;

/// An engine whose store has the image `app`, and one of the name `bare` that says nothing of a command.
fn engine() -> Engine {
    let engine = Engine::new();
    engine.build(&Folder::with_dockerfile(DOCKERFILE, &[])).args(["-t", "app"]).ok();
    let bare = Folder::with_dockerfile("FROM busybox\nCMD []", &[]);
    engine.build(&bare).args(["-t", "reg.io/me/bare:1"]).ok();
    engine
}

/// Runs `kiln run` with these words, and looks at its exit code, its output, and for a text in its stderr.
fn check(engine: &Engine, words: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = engine.kiln(["run"]).args(words).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), &*out), (Some(code), stdout), "{words:?}: {err}");
    assert!(err.contains(stderr) && (err.is_empty() || !stderr.is_empty()), "{words:?}: {err}");
}

#[test]
fn what_an_image_says_and_what_is_given_over_it() {
    let engine = &engine();
    check(engine, &["app"], 0, "1 2\n1000\n/srv\n", "");
    check(engine, &["--rm", "-e", "A=x", "-u", "0", "-w", "/new", "app"], 0, "x 2\n0\n/new\n", "");
    check(engine, &["app", "exit 7"], 7, "", "");
    check(engine, &["app", "echo out; echo err >&2"], 0, "out\n", "err\n");
    check(engine, &["--entrypoint", "echo", "app", "-n", "x"], 0, "x", "");
    check(engine, &["--entrypoint", "", "app", "echo", "x"], 0, "x\n", "");
    check(engine, &["bare:1"], 125, "", "no image `bare:1` in Kiln's store");
    check(engine, &["reg.io/me/bare:1"], 125, "", "no command");
    check(engine, &["--hostname", "h", "reg.io/me/bare:1", "hostname"], 0, "h\n", "");
    check(engine, &["--entrypoint", "/no/such", "app"], 127, "", "no such file or directory");
    check(engine, &["--entrypoint", "/srv", "app"], 126, "", "is a directory");
    check(engine, &["-u", "nobody", "app"], 125, "", "unable to find user nobody");
    check(engine, &["--platform", "linux/s390x", "app"], 125, "", "it is there for linux/");
    check(engine, &["nothing"], 125, "", "`kiln images` lists what is there");
}

#[test]
fn files_and_networks() {
    let engine = &engine();
    let folder = Folder::new(&[("f", "from the host\n")]);
    let mount = |options: &str| format!("{}:/mnt{options}", folder.path().display());
    check(engine, &["-v", &mount(""), "app", "cat /mnt/f"], 0, "from the host\n", "");
    check(engine, &["-u", "0", "-v", &mount(""), "app", "echo x > /mnt/g"], 0, "", "");
    assert_eq!(folder.read("g"), "x\n");
    check(
        engine,
        &["-u", "0", "-v", &mount(":ro"), "app", "echo x > /mnt/h"],
        1,
        "",
        "Read-only file system",
    );
    // Below the folder that the command is started in.
    engine.home().write("sub/f", "here\n");
    check(engine, &["-v", "./sub:/mnt", "app", "cat /mnt/f"], 0, "here\n", "");
    check(engine, &["-v", "./none:/mnt", "app"], 125, "", "make the folder first");
    check(engine, &["-v", "./sub:/", "app"], 125, "", "a mount cannot take the place of `/`");
    // Nothing that a container writes is there the next time.
    check(engine, &["-u", "0", "app", "echo x > /srv/new; ls /srv"], 0, "new\n", "");
    check(engine, &["-u", "0", "app", "ls /srv"], 0, "", "");
    check(engine, &["-u", "0", "--read-only", "app", "echo x > /srv/new"], 1, "", "Read-only file system");
    check(engine, &["--network", "none", "app", "grep -c : /proc/net/dev"], 0, "1\n", "");
    check(engine, &["--add-host", "a:10.1.2.3", "app", "grep 10.1 /etc/hosts"], 0, "10.1.2.3\ta\n", "");
}

#[test]
fn input_and_output() {
    let engine = &engine();
    let pipe = |words: &[&str], input: &[u8]| run_tool(engine.kiln(["run"]).args(words), input);
    assert_eq!(pipe(&["-i", "app", "cat; echo done"], b"input "), b"input done\n");
    assert_eq!(pipe(&["app", "cat; echo done"], b"input "), b"done\n");
    // Far more than any buffer on the way holds, and not text.
    let much = Vec::from_iter((0..3_000_000u32).flat_map(u32::to_le_bytes));
    assert!(pipe(&["-i", "app", "cat"], &much) == much);
    // Input that nobody reads is no fault.
    assert_eq!(pipe(&["-i", "app", "exec true"], &much), b"");
    let mut child = spawn(engine, &["app", "exec yes"]);
    let mut first = [0; 2];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("read");
    assert_eq!((first, child.wait().expect("it ends").code()), (*b"y\n", Some(128 + 13)));
}

fn spawn(engine: &Engine, words: &[&str]) -> Child {
    engine.kiln(["run"]).args(words).stdin(Stdio::piped()).spawn().expect("it starts")
}

/// Runs a script, sends signals to `kiln run` once it has said `up`, and gives its exit code.
fn signaled(engine: &Engine, script: &str, signals: &[&str]) -> Option<i32> {
    let mut child = spawn(engine, &["-i", "app", script]);
    let mut up = [0; 3];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut up).expect("read");
    for &name in signals {
        run_tool(tool("kill").args([name, &child.id().to_string()]), b"");
        let mut answer = [0; 1];
        // Signals that come fast are one.
        let _ = child.stdout.as_mut().expect("a pipe").read(&mut answer);
    }
    child.wait().expect("it ends").code()
}

#[test]
fn signals() {
    let engine = &engine();
    let check = |script: &str, signals: &[&str], code: i32| {
        assert_eq!(signaled(engine, script, signals), Some(code), "{script} {signals:?}");
    };
    // The kernel would drop these, as for any first process of a container.
    check("echo up; exec sleep 86501", &["-INT"], 130);
    check("echo up; exec sleep 86501", &["-TERM"], 143);
    check("echo up; exec cat", &["-HUP"], 129);
    check("trap 'exit 3' INT; echo up; while :; do sleep 0.05; done", &["-INT"], 3);
    check("trap 'echo; exit 4' USR1; echo up; while :; do sleep 0.05; done", &["-USR1"], 4);
    check("trap 'echo -n x' INT; echo up; while :; do sleep 0.05; done", &["-INT", "-INT", "-INT"], 130);
    assert_eq!(Engine::processes_with("sleep\x0086501"), [0; 0]);
}

#[test]
fn a_container_ends_with_its_client_and_its_engine() {
    let engine = &engine();
    assert_eq!(signaled(engine, "echo up; exec sleep 86502", &["-KILL"]), None);
    let gone = || Engine::processes_with("sleep\x0086502").is_empty();
    let began = std::time::Instant::now();
    while !gone() {
        assert!(began.elapsed().as_secs() < 10, "it goes on without its client");
        std::thread::yield_now();
    }
    let mut child = spawn(engine, &["app", "echo up; exec sleep 86502"]);
    child.stdout.take().expect("a pipe").read_exact(&mut [0; 3]).expect("read");
    engine.stop();
    assert_eq!(child.wait().expect("it ends").code(), Some(125));
    assert!(gone());
}

/// A terminal of our own with `kiln run` at the other end.
struct Terminal {
    master: File,
    slave: OwnedFd,
    child: Child,
    said: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        rustix::pty::unlockpt(&master).expect("unlocked");
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("its other side");
        tcsetwinsize(&slave, Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 }).expect("sized");
        let end = || Stdio::from(slave.try_clone().expect("copied"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        Terminal { master: master.into(), slave, child, said: String::new() }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).expect("its modes").local_modes.contains(LocalModes::ICANON)
    }

    /// Reads until a text comes that did not come before.
    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        let end = loop {
            match self.said.find(text) {
                Some(at) => break at + text.len(),
                None => {
                    let length = self.master.read(&mut buffer).expect("read");
                    self.said.push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
            }
        };
        // What came along with it may be waited for next.
        self.said.drain(..end);
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    fn end(mut self) -> Option<i32> {
        let code = self.child.wait().expect("it ends").code();
        assert!(!self.is_raw(), "the terminal is not put back");
        code
    }
}

#[test]
fn terminals() {
    let engine = &engine();
    let start = |words: &[&str]| {
        let mut command = engine.kiln(["run", "-it"]);
        command.args(words);
        Terminal::start(command)
    };
    let mut shell = start(&["app", "stty size; exec sh"]);
    shell.wait_for("33 111\r\n");
    shell.wait_for("$ ");
    assert!(shell.is_raw());
    // Ctrl-C is for what runs in the foreground, and leaves the shell.
    // It says so itself: the shell could still be on its way to it.
    shell.type_in("sh -c \"echo u''p; exec sleep 86503\"\r");
    shell.wait_for("up\r\n");
    shell.type_in("\x03");
    shell.wait_for("$ ");
    shell.type_in("exit $?\r");
    assert_eq!(shell.end(), Some(130));

    let mut deaf = start(&["app", "echo up; exec sleep 86503"]);
    deaf.wait_for("up\r\n");
    deaf.type_in("\x03");
    assert_eq!(deaf.end(), Some(130));

    assert_eq!(start(&["nothing"]).end(), Some(125));
}

#[test]
fn images_are_listed_and_removed() {
    let engine = &engine();
    let list = |words: &str| String::from_utf8(engine.run(words).stdout).expect("text");
    let table = list("images");
    let rows = Vec::from_iter(table.lines().map(|l| Vec::from_iter(l.split_whitespace())));
    assert_eq!(rows[0][..4], ["REPOSITORY", "TAG", "IMAGE", "ID"], "{table}");
    assert_eq!((rows[1][0], rows[1][1], rows[2][0], rows[2][1]), ("app", "latest", "reg.io/me/bare", "1"));
    let ids = list("images -q");
    let id = ids.lines().next().expect("an image");
    check(engine, &[id, "echo x"], 0, "x\n", "");
    let json: serde_json::Value =
        serde_json::from_str(list("images --format json").lines().next().expect("an image")).expect("json");
    assert_eq!(json["Name"], "docker.io/library/app:latest");
    check(engine, &[json["ID"].as_str().expect("a digest"), "echo x"], 0, "x\n", "");
    let named = format!("app@{}", json["Digest"].as_str().expect("a digest"));
    check(engine, &[&named, "echo x"], 0, "x\n", "");

    assert_eq!(list("images rm app"), "Untagged: app:latest\n");
    assert!(!engine.run("images rm app").status.success());
    assert_eq!(list("images -q").lines().count(), 1);
    check(engine, &["app"], 125, "", "no image `app` in Kiln's store");
}
