//! Signatures of commits, tags and files from the web.

use std::path::Path;
use std::process::{Command, Stdio};

use errdefs::Result;
use frontend::{ChecksumAlgorithm, ChecksumRequest, SourceMeta, SourceOptions};
use oci::Digest;

use crate::git::serve;
use crate::server::{Web, answer};
use crate::world::{World, write};

/// Runs a program, and gives what it prints.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A new key ring of OpenPGP with one key, of which the agent ends with it.
struct Ring(tempfile::TempDir);

impl Ring {
    fn new() -> Self {
        let ring = Ring(tempfile::tempdir().expect("a folder"));
        run(ring.gpg().args([
            "--passphrase",
            "",
            "--quick-gen-key",
            "me <me@example.com>",
            "ed25519",
            "sign",
            "1y",
        ]));
        ring
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.0.path()).args([
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        ]);
        command
    }

    fn public(&self) -> String {
        run(self.gpg().args(["--armor", "--export"]))
    }

    /// A detached signature of a file.
    fn sign(&self, path: &Path) -> String {
        run(self.gpg().args(["--armor", "--detach-sign", "--output", "-"]).arg(path))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let kill =
            Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
        assert!(kill.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A new key of SSH, as a file.
fn ssh_key(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f"]).arg(&path));
    std::fs::read_to_string(path.with_extension("pub")).expect("was made")
}

/// Makes a repository of a commit without a signature, one signed by SSH, one by OpenPGP, and tags of each kind.
fn repository(dir: &Path, ring: &Ring) -> String {
    let ssh = ssh_key(dir, "key");
    let git = |args: &str| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=me", "-c", "user.email=me@example.com"]).current_dir(dir);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GNUPGHOME", ring.0.path());
        run(git.args(args.split(' ')))
    };
    let by_ssh = format!("-c gpg.format=ssh -c user.signingkey={}", dir.join("key.pub").display());
    git("init -q -b plain");
    write(dir, "file.txt", "text");
    git("add file.txt");
    git("commit -q -m plain");
    git("tag -a -m annotated unsigned-tag");
    git(&format!("{by_ssh} tag -s -m signed ssh-tag"));
    git("tag -s -m signed pgp-tag -u me@example.com");
    git("checkout -q -b ssh");
    git(&format!("{by_ssh} commit -q --allow-empty -S -m ssh"));
    git("tag -a -m annotated unsigned-tag-of-ssh");
    git("checkout -q -b pgp");
    git("commit -q --allow-empty -Sme@example.com -m pgp");
    git("update-server-info");
    ssh
}

/// The words of an error, or nothing.
fn told<T>(result: Result<T>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn commits_and_tags_have_to_be_signed() {
    let (dir, ring) = (tempfile::tempdir().expect("a folder"), Ring::new());
    let ssh = repository(dir.path(), &ring);
    let (pgp, other) = (ring.public(), ssh_key(dir.path(), "other"));
    let web = serve(dir.path()).await;
    let url = format!("http://{}/.git", web.host);
    let both = format!("{}\n{pgp}", Ring::new().public());
    let unsigned = "git object is not signed";
    let wrong = "the signature is not one of the key that was given, for git";
    for (reference, key, more, want) in [
        ("ssh", &ssh, "", ""),
        ("pgp", &pgp, "", ""),
        ("pgp", &both, "", ""),
        ("ssh-tag", &ssh, "", ""),
        ("pgp-tag", &pgp, "git.sig.requiresignedtag", ""),
        ("unsigned-tag-of-ssh", &ssh, "", ""),
        ("plain", &ssh, "", unsigned),
        ("unsigned-tag", &ssh, "", unsigned),
        ("ssh-tag", &ssh, "git.sig.ignoresignedtag", unsigned),
        ("unsigned-tag-of-ssh", &ssh, "git.sig.requiresignedtag", unsigned),
        ("ssh", &ssh, "git.sig.requiresignedtag", "signed tag required but no signed tag found"),
        ("ssh", &other, "", wrong),
        ("ssh", &pgp, "", "failed to parse ssh public key"),
        ("pgp", &ssh, "", "failed to read armored public key"),
        ("pgp", &Ring::new().public(), "", "no such key was given"),
    ] {
        let world = World::new().await;
        let id = format!("git://{}/.git#{reference}", web.host);
        let mut attrs = vec![("git.fullurl", url.as_str()), ("git.sig.pubkey", key.as_str())];
        attrs.extend((!more.is_empty()).then_some((more, "true")));
        let error = told(world.get(&world.context(&[]), &id, &attrs).await);
        assert!(error == want || (!want.is_empty() && error.ends_with(want)), "{reference} {more}: {error}");
    }
}

#[tokio::test]
async fn files_have_to_be_signed() {
    let (dir, ring) = (tempfile::tempdir().expect("a folder"), Ring::new());
    write(dir.path(), "file", "text");
    let signature = ring.sign(&dir.path().join("file"));
    let world = World::new().await;
    let web =
        Web::start(|request| answer(200, &[], if request.uri() == "/good" { "text" } else { "bad" })).await;
    let keys = ring.public();
    for (path, checked, want) in
        [("good", true, ""), ("good", false, ""), ("bad", false, "it is of other data")]
    {
        let url = format!("http://{}/{path}", web.host);
        let digest = Digest::of("text").to_string();
        let mut attrs = vec![("http.sig.pubkey", keys.as_str()), ("http.sig.signature", &signature)];
        attrs.extend(checked.then_some(("http.checksum", digest.as_str())));
        let cx = world.context(&[]);
        // Before the key is told, so that nothing is found that was not signed.
        let error = told(world.key(&cx, &url, &attrs, 0).await);
        assert!(error == want || (!want.is_empty() && error.ends_with(want)), "{path}: {error}");
    }
    let half = world.source("http://x/", &[("http.sig.pubkey", &keys)]);
    assert_eq!(told(half), "http signature verification requires both pubkey and signature");
}

#[tokio::test]
async fn a_file_is_summed_up_as_it_is_asked_for() {
    let world = World::new().await;
    let web = Web::start(|_| answer(200, &[], "text")).await;
    let source = world.source(&format!("http://{}/f", web.host), &[]).expect("is fine");
    // By `printf textmore | sha384sum`, and so on.
    for (algorithm, suffix, want) in [
        (ChecksumAlgorithm::Sha256, "", Digest::of("text").to_string()),
        (ChecksumAlgorithm::Sha256, "more", Digest::of("textmore").to_string()),
        (ChecksumAlgorithm::Sha384, "more", SHA384.to_owned()),
        (ChecksumAlgorithm::Sha512, "more", SHA512.to_owned()),
    ] {
        let request = ChecksumRequest { algorithm, suffix: suffix.into() };
        let options = SourceOptions { checksum: Some(request.clone()), ..SourceOptions::default() };
        let meta = source.meta(&world.context(&[]), &options).await.expect("is there");
        let SourceMeta::Http(http) = meta else { panic!("{meta:?}") };
        assert_eq!(http.checksum, Some((want, request)));
    }
}

const SHA384: &str =
    "sha384:638cae6c021346028d7ad5428f7154533d4c8c90e62c3364dbe1bc8cec20d778e39fea9ff8af707085ef3797c0aded99";
const SHA512: &str = "sha512:73edf93a6be90015e3c60e11f5e7c67ace04a84f160a36317735922a4968d124041f15d2edce42e1be311ac7e4865d250dc66829e5c8a32255d8bcb6f90bbc50";
