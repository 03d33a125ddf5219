//! An engine of another machine: TCP, and who is let in.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::harness::{Engine, Folder, Process, output_of, run_tool, tool};

/// An authority, with certificates of a server and a client.
fn certificates() -> Folder {
    let folder = Folder::new(&[("ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")]);
    let openssl = |words: &str| {
        let mut command = tool("openssl");
        command.args(words.split(' ')).current_dir(folder.path());
        run_tool(&mut command, b"");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority"));
    openssl(&format!("req -x509 {key} -keyout other.key -out other.pem -subj /CN=stranger"));
    for name in ["server", "client"] {
        openssl(&format!(
            "req {} -keyout {name}.key -out {name}.csr -subj /CN={name}",
            &key[..key.len() - 8]
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.pem"
        ));
    }
    let copy = |from: &str, to: &str| folder.write(to, folder.read(from));
    for (from, to) in [("ca.pem", "me/ca.pem"), ("client.pem", "me/cert.pem"), ("client.key", "me/key.pem")] {
        copy(from, to);
    }
    for (from, to) in [("ca.pem", "you/ca.pem"), ("other.pem", "you/cert.pem"), ("other.key", "you/key.pem")]
    {
        copy(from, to);
    }
    folder
}

/// The engine as `buildkitd`, and its port.
fn serve(engine: &Engine, certificates: &Folder) -> (Process, String) {
    let file = |name: &str| certificates.join(name).display().to_string();
    let mut daemon = engine.kiln(["--root", &engine.root().display().to_string()]);
    daemon.arg0("buildkitd").args(["--addr", "tcp://127.0.0.1:0", "--group", "0"]);
    daemon.args(["--addr", &format!("unix://{}", engine.root().join("engine.sock").display())]);
    daemon.args([
        "--tlscacert",
        &file("ca.pem"),
        "--tlscert",
        &file("server.pem"),
        "--tlskey",
        &file("server.key"),
    ]);
    Process::start(&mut daemon, |line| {
        let rest = line.split("listening on tcp://127.0.0.1:").nth(1)?;
        Some(format!("tcp://127.0.0.1:{}", rest.trim()))
    })
}

fn fails(command: &mut Command) {
    let output = output_of(command, b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn only_those_with_a_certificate_are_let_in() {
    let engine = Engine::new();
    let certificates = certificates();
    let (mut daemon, address) = serve(&engine, &certificates);
    let kiln = |dir: Option<&str>, words: &[&str]| {
        let mut command = engine.kiln(words);
        command.env("KILN_HOST", &address);
        if let Some(dir) = dir {
            command.arg("--tls-dir").arg(certificates.join(dir));
        }
        command
    };
    let context = Folder::with_dockerfile("FROM scratch\nCOPY f /\n", &[("f", "over the wire")]);
    let dir = context.path().display().to_string();
    run_tool(&mut kiln(Some("me"), &["build", "-o", "out", &dir]), b"");
    assert_eq!(engine.home().read("out/f"), "over the wire");
    fails(&mut kiln(None, &["du"]));
    fails(&mut kiln(Some("you"), &["du"]));
    fails(kiln(Some("me"), &["du"]).args(["--tls-server-name", "elsewhere"]));

    let buildctl = |dir: &str| {
        let mut command = engine.kiln(["debug", "info", "--tlsdir"]);
        command.arg0("buildctl").arg(certificates.join(dir)).env("BUILDKIT_HOST", &address);
        command
    };
    run_tool(&mut buildctl("me"), b"");
    fails(&mut buildctl("you"));
    engine.stop();
    daemon.wait();
}
